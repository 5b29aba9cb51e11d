"""Sends one mail, as a process of its own: `python -m pbxd.mail.post PARENT`, which ends when its parent does.

On standard input comes a line of JSON, {"server": …, "to": [address, …]}, and behind it the mail as it is to go out. It is tried
once; who sent the job decides when to try again. What came of it: see `errand`.
"""

from __future__ import annotations

import asyncio
import email
import json
import sys
from email.policy import SMTP

from pbxd.errors import MailDeferred, MailRefused
from pbxd.lifeline import die_with
from pbxd.mail.errand import outcome, tell
from pbxd.mail.server import server_of
from pbxd.mail.smtp import send


def main() -> None:
    """Entry point."""
    die_with(int(sys.argv[1]))
    head, _, mail = sys.stdin.buffer.read().partition(b"\n")
    try:
        job = json.loads(head)
        server, to = server_of(job["server"]), [str(address) for address in job["to"]]
        message = email.message_from_bytes(mail, policy=SMTP)
        found = outcome("sent", refused=asyncio.run(send(message, to, server, iter(()))))
    except MailDeferred as error:
        found = outcome("deferred", error=str(error))
    except MailRefused as error:
        found = outcome("refused", error=str(error))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        found = outcome("failed", error=f"this is no job: {type(error).__name__}: {error}")
    sys.exit(tell(found))


if __name__ == "__main__":
    main()
