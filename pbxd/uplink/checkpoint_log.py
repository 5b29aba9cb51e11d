"""Sends the ledger's signed checkpoints to the system's log, from where they can be forwarded to another machine."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from pbxd.config.schema import Config
from pbxd.errors import UplinkError

AUTHPRIV_NOTICE = 10 << 3 | 5  # RFC 3164 §4.1.1: facility and severity
PATIENCE = 2.0  # s for a log whose buffer is full
log = structlog.get_logger("pbxd.uplink")


class CheckpointLog:
    """Sends each checkpoint that is kept, if the customer wants."""

    def __init__(self, config: Callable[[], Config], clock: Callable[[], float]) -> None:
        self.error = ""  # why the log did not take the last one, if so
        self._config = config
        self._clock = clock

    def publish(self, note: str) -> None:
        """A checkpoint is kept. A log that is away is told of, and stops nothing: the next one covers what this one did."""
        uplink = self._config().uplink
        self.error = ""
        if uplink.checkpoints != "syslog":
            return
        try:
            to_syslog(note, uplink.checkpoints_log, self._clock())
        except UplinkError as error:
            self.error = str(error)
            log.error("a checkpoint of the ledger is not in the system's log", error=str(error))


def to_syslog(note: str, target: Path, now: float) -> None:
    """A checkpoint as one line of the log that listens at the socket `target`. UplinkError if it does not take it.

    Written to the socket itself, for syslog(3) says nothing if nobody listens there.
    """
    at = time.strftime("%b %e %H:%M:%S", time.localtime(now))
    line = f"<{AUTHPRIV_NOTICE}>{at} pbxd[{os.getpid()}]: uplink checkpoint {json.dumps(note)}"
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.settimeout(PATIENCE)
            sender.connect(str(target))
            sender.send(line.encode())
    except OSError as error:
        raise UplinkError(
            f"{target} took no checkpoint: {error.strerror or error}; does a syslog listen there?"
        ) from error
