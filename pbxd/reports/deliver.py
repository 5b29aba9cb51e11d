"""Draws one report and mails it, as a process of its own: `python -m pbxd.reports.deliver`, a job as JSON on standard input.

So the daemon never loads what draws, and no fault of a font or a mail server reaches it. What came of it: see `pbxd.mail.errand`.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from pbxd.errors import MailDeferred, MailRefused, ReportError
from pbxd.mail.errand import outcome, tell
from pbxd.mail.server import server_of
from pbxd.mail.smtp import send
from pbxd.reports.deliveries import Deliveries
from pbxd.reports.letter import compose
from pbxd.reports.table import read_report

NICE = 10  # calls go first


def deliver(job: dict[str, Any]) -> dict[str, Any]:
    """Carry out one job; what came of it, as it is written to standard output."""
    try:
        deliveries = Deliveries(Path(job["state"]))
        name, due, to = str(job["schedule"]), int(job["due"]), [str(address) for address in job["to"]]
        server = server_of(job["server"])
        with deliveries.locked():
            if deliveries.read().get(name, 0) >= due:
                return outcome("already")
            message = compose(read_report(job["report"]), job["format"], job["sender"], to, due)
            commit = deliveries.prepare({name: due})
            refused = asyncio.run(send(message, to, server))
            commit()
    except MailDeferred as error:
        return outcome("deferred", error=str(error))
    except MailRefused as error:
        return outcome("refused", error=str(error))
    except ReportError as error:
        return outcome("failed", error=str(error))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return outcome("failed", error=f"this is no job: {type(error).__name__}: {error}")
    return outcome("sent", refused=refused)


def main() -> None:
    """Entry point."""
    with suppress(OSError):  # the unit may forbid even this (SystemCallFilter=~@resources)
        os.nice(NICE)
    try:
        job = json.load(sys.stdin)
    except ValueError as error:
        found = outcome("failed", error=f"this is no job: {error}")
    else:
        found = deliver(job)
    sys.exit(tell(found))


if __name__ == "__main__":
    main()
