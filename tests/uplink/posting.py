"""A process that mails a checkpoint once: `python -m tests.uplink.posting FOLDER MAIL_PORT STEP`; to be killed.

It ends as by kill -9 before its STEPth rename or writing to the disk, counted from when the ledger is open.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from pbxd.config.schema import Config
from pbxd.uplink.checkpoint_mail import CheckpointMail
from pbxd.uplink.ledger import Ledger
from pbxd.uplink.notes import Signer
from tests.voicemail.keeper import die_at

SIGNER = Signer("pbxd-ledger-test", bytes(range(32)))


def configured(folder: Path, mail_port: int) -> Config:
    """Checkpoints are mailed to ledger@example.org."""
    mail = {"host": "127.0.0.1", "port": mail_port, "security": "none", "sender": "pbx@example.org"}
    uplink = {"checkpoints": "mail", "checkpoints_to": "ledger@example.org", "support": str(folder / "support")}
    return Config.model_validate({"reports": {"mail": mail}, "uplink": uplink})


def post_once(folder: Path, mail_port: int, step: int = 0) -> None:
    """One look."""
    ledger = Ledger(folder / "outbox", SIGNER)
    ledger.open()
    if step:
        die_at(step)
    config = configured(folder, mail_port)
    asyncio.run(CheckpointMail(lambda: config, lambda: ledger, time.time).look())
    ledger.close()


if __name__ == "__main__":
    post_once(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
