"""Draws one report and mails it, as a process of its own: `python -m pbxd.reports.deliver`, a job as JSON on standard input.

So the daemon never loads what draws, and no fault of a font or a mail server reaches it. One line of JSON on standard output says
what came of it: {"result": "sent" | "already" | "deferred" | "refused" | "failed", "refused": {address: reason}, "error": text}.
The exit code says it too (sysexits.h).
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
from pbxd.reports.deliveries import Deliveries
from pbxd.reports.letter import compose
from pbxd.reports.mail import Server, send
from pbxd.reports.table import read_report

EXIT = {"sent": 0, "already": 0, "failed": 65, "deferred": 75, "refused": 77}  # EX_DATAERR, EX_TEMPFAIL, EX_NOPERM
NICE = 10  # calls go first


def deliver(job: dict[str, Any]) -> dict[str, Any]:
    """Carry out one job; what came of it, as it is written to standard output."""
    try:
        deliveries = Deliveries(Path(job["state"]))
        name, due, to = str(job["schedule"]), int(job["due"]), [str(address) for address in job["to"]]
        server = Server(**(job["server"] | {"ca_file": job["server"]["ca_file"] and Path(job["server"]["ca_file"])}))
        with deliveries.locked():
            if deliveries.read().get(name, 0) >= due:
                return _outcome("already")
            message = compose(read_report(job["report"]), job["format"], job["sender"], to, due)
            commit = deliveries.prepare({name: due})
            refused = asyncio.run(send(message, to, server))
            commit()
    except MailDeferred as error:
        return _outcome("deferred", error=str(error))
    except MailRefused as error:
        return _outcome("refused", error=str(error))
    except ReportError as error:
        return _outcome("failed", error=str(error))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return _outcome("failed", error=f"this is no job: {type(error).__name__}: {error}")
    return _outcome("sent", refused=refused)


def _outcome(result: str, *, refused: dict[str, str] | None = None, error: str = "") -> dict[str, Any]:
    return {"result": result, "refused": refused or {}, "error": error}


def main() -> None:
    """Entry point."""
    with suppress(OSError):  # the unit may forbid even this (SystemCallFilter=~@resources)
        os.nice(NICE)
    try:
        job = json.load(sys.stdin)
    except ValueError as error:
        found = _outcome("failed", error=f"this is no job: {error}")
    else:
        found = deliver(job)
    try:
        print(json.dumps(found, ensure_ascii=False), flush=True)
    except BrokenPipeError:  # the daemon is gone; what was delivered stands in the state file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(EXIT[found["result"]])


if __name__ == "__main__":
    main()
