"""The mail that tells of a voice message: plain text, with its sound or without. No clock, no network.

The same message is the same mail, its Message-ID included, so that a mail program can tell a second copy from a second message.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from email import policy
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime
from zoneinfo import ZoneInfo

from pbxd.voicemail.rules import Rules
from pbxd.voicemail.spool import Message

LARGEST_ATTACHED = 10 * 1024**2  # bytes; mail servers take little more, and base64 adds a third
TYPES = {"wav": "x-wav", "WAV": "x-wav", "wav49": "x-wav", "gsm": "gsm", "ogg": "ogg", "opus": "ogg", "flac": "flac"}


def compose(
    message: Message, recipients: tuple[str, ...], rules: Rules, sound: tuple[str, bytes] | None
) -> EmailMessage:
    """The whole mail. `sound` is the format and the bytes, None leaves it out."""
    text = message.text
    when = datetime.fromtimestamp(text.when, ZoneInfo(rules.zone))
    caller = " ".join(filter(None, (plain(text.caller_name), plain(text.caller)))) or "an unknown caller"
    length = f"{text.duration // 60}:{text.duration % 60:02}"
    mail = EmailMessage(policy=policy.SMTP)
    mail["Subject"] = f"Voice message from {caller} ({length})"
    mail["From"] = rules.sender
    mail["To"] = ", ".join(recipients)
    mail["Date"] = format_datetime(when)
    mail["Message-ID"] = f"<{fingerprint(message)}@{Address(addr_spec=rules.sender).domain}>"
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's absence note answers it
    if text.urgent:
        mail["Importance"] = "high"
    attached = sound is not None and len(sound[1]) <= LARGEST_ATTACHED
    lines = [
        f"Mailbox:  {message.box.mailbox} ({plain(rules.site)})",
        f"From:     {caller}",
        f"When:     {when:%Y-%m-%d %H:%M:%S %Z}",
        f"Length:   {length}",
        *(["Urgent"] if text.urgent else []),
        "",
        "The message is attached." if attached else "Listen to it by phone.",
    ]
    mail.set_content("\n".join(lines) + "\n", cte="base64")
    if sound is not None and attached:
        form, data = sound
        ending = "wav" if form in ("WAV", "wav49") else form
        name = f"message-{when:%Y-%m-%d-%H%M%S}.{ending}"
        mail.add_attachment(data, maintype="audio", subtype=TYPES.get(form, "basic"), filename=name)
        mail.set_boundary(f"=_pbxd_{fingerprint(message)[:24]}")  # else it is drawn at random
    return mail


def fingerprint(message: Message) -> str:
    """One name for one message in one mailbox."""
    return hashlib.sha256(f"{message.box}\n{message.text.id}".encode()).hexdigest()[:40]


def plain(text: str) -> str:
    """What a caller chose to be called, on one line and without anything that acts."""
    return "".join(letter if letter.isprintable() else " " for letter in text)[:80].strip()
