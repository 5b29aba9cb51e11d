"""All staged scenarios."""

from __future__ import annotations

from lab.handling import HANDLING
from lab.queueing import QUEUEING
from lab.staged import Staged
from lab.transfers import TRANSFERS

ALL: tuple[Staged, ...] = (*TRANSFERS, *HANDLING, *QUEUEING)
