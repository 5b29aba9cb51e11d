"""The mail with the ledger's signed checkpoint: when one is due, and what is in it. No clock, no network.

The same letter is the same mail, its Message-ID included, so that a second copy can be told from a second letter.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from email import policy
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Any

DAY = 86_400.0  # s between two letters, if nothing is switched
TEXT = """\
This is the signed checkpoint of the ledger in which {site} enters everything that may go to its vendor:
{lines} lines, as of {at}.

Keep it where that machine cannot change it. Whether its ledger still is what it was then is said there by

    pbxctl uplink verify --checkpoints FILE

where FILE is what is attached; several of them may stand in one file, one below the other.
"""


@dataclass(frozen=True, slots=True)
class Letter:
    """One letter that goes out, or went."""

    note: str  # the checkpoint, as C2SP writes it
    at: float  # epoch seconds, when it was decided upon
    sent: bool = False

    @property
    def origin(self) -> str:
        """The ledger's name."""
        return self.note.split("\n")[0]

    @property
    def lines(self) -> int:
        """How many lines of the ledger it is over."""
        return int(self.note.split("\n")[1])

    def fields(self) -> dict[str, Any]:
        """For a file of JSON."""
        return asdict(self)

    @classmethod
    def of(cls, fields: Any) -> Letter:  # noqa: ANN401 - JSON
        """From such a file. ValueError if it is none."""
        try:
            note, at, sent = fields["note"], fields["at"], fields["sent"]
        except (KeyError, TypeError) as error:
            raise ValueError(f"it is no letter: {error}") from error
        if not isinstance(note, str) or not re.match(r".+\n[0-9]+\n", note):
            raise ValueError("it holds no checkpoint")
        return cls(note, float(at), bool(sent))


def is_due(last: Letter | None, note: str, switched: int, now: float) -> bool:
    """Whether a letter with this checkpoint goes out after `last`: each day in which the ledger grew, and after each switch.

    `switched` is how many lines the ledger had with the last line about a switch. A clock that was set back makes no gap.
    """
    if last is None or last.note == note:
        return last is None
    new = Letter(note, now)
    another = new.origin != last.origin or new.lines < last.lines  # ledger, after an enrolment anew
    return another or switched > last.lines or not last.at <= now < last.at + DAY


def compose(letter: Letter, to: str, sender: str, site: str) -> EmailMessage:
    """The whole mail."""
    mail = EmailMessage(policy=policy.SMTP)
    site = " ".join(site.split())
    name = hashlib.sha256(letter.note.encode()).hexdigest()[:40]
    when = datetime.fromtimestamp(letter.at, UTC)
    mail["Subject"] = f"Checkpoint of the uplink's ledger of {site}: {letter.lines} lines"
    mail["From"] = sender
    mail["To"] = to
    mail["Date"] = format_datetime(when)
    mail["Message-ID"] = f"<{name}@{Address(addr_spec=sender).domain}>"
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's absence note answers it
    at = f"{when:%Y-%m-%d %H:%M:%S} UTC"
    mail.set_content(TEXT.format(site=site, lines=letter.lines, at=at), cte="quoted-printable")
    note, file = letter.note.encode(), f"checkpoint-{letter.lines}.txt"
    mail.add_attachment(note, maintype="text", subtype="plain", filename=file, params={"charset": "utf-8"})
    mail.set_boundary(f"=_pbxd_{name[:24]}")  # else it is drawn at random
    return mail
