"""Messages as app_voicemail writes them."""

from __future__ import annotations

from pathlib import Path

NOW = 1_795_618_800.0


def text(name: str, when: int = 1795618736, duration: int = 2) -> bytes:
    """The text file of a message, as Asterisk 22.10 wrote it."""
    return f""";
; Message Information file
;
[message]
origmailbox=101
context=phones
exten=401
rdnis=unknown
priority=1
callerchan=PJSIP/121-00000000
callerid="Phone 121" <121>
origdate=Wed Nov 25 02:58:56 PM UTC 2026
origtime={when}
category=
msg_id={name}
flag=
duration={duration}
""".encode()


def put(
    root: Path,
    name: str,
    *,
    mailbox: str = "101",
    folder: str = "INBOX",
    number: int = 0,
    when: int = 1795618736,
    sound: bytes = b"RIFF",
) -> Path:
    """Lay a message into a spool; its folder."""
    place = root / "default" / mailbox / folder
    place.mkdir(parents=True, exist_ok=True)
    (place / f"msg{number:04}.wav").write_bytes(sound)
    (place / f"msg{number:04}.txt").write_bytes(text(name, when))
    return place
