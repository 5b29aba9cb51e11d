"""What app_voicemail keeps on disk, understood: no I/O, no clock.

A box is `<spool>/<context>/<mailbox>/`, in it a folder for each of `FOLDERS`, in those `msgNNNN.txt` and beside each its sound in
one or more formats. The number NNNN is a place in the folder, and changes when a message before it goes; `msg_id` is the message's
own, and stays when it is moved. A copy that was forwarded to another box has the same one there.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

from pbxd.errors import SpoolError

FOLDERS = (  # in app_voicemail.c's order; no other name is taken by its AMI actions
    "INBOX", "Old", "Work", "Family", "Friends", "Cust1", "Cust2", "Cust3", "Cust4", "Cust5", "Deleted", "Urgent",
)  # fmt: skip
NEW = frozenset({"INBOX", "Urgent"})  # what a message lamp counts as new
READ = "Old"
ASIDE = "Deleted"  # which no lamp counts and no phone's menu shows: where a message of the archive lies while it is forwarded
GREETINGS = {  # what a greeting is for -> its file's name without the format
    "unavailable": "unavail",
    "busy": "busy",
    "name": "greet",
    "temporary": "temp",
}
FORMATS = ("wav", "WAV", "wav49", "gsm", "ulaw", "alaw", "sln", "g722", "flac", "ogg", "opus")  # best for people first
LARGEST_TEXT = 16 * 1024  # bytes of a message's text; Asterisk's have some three hundred
MESSAGE = re.compile(r"msg(\d{4,6})")
NAME = re.compile(
    r"[A-Za-z0-9_.+*#-]{1,80}"
)  # of a context or a mailbox: what can be a folder's name and an AMI header's value
ID = re.compile(r"[0-9A-Za-z-]{1,60}")
CALLER = re.compile(r'\s*(?:"((?:[^"\\]|\\.)*)"|([^<"]*?))\s*<([^<>]*)>\s*')


@dataclass(frozen=True, slots=True, order=True)
class Box:
    """A mailbox by its names in voicemail.conf."""

    context: str
    mailbox: str

    def __str__(self) -> str:
        """`101@default`, as Asterisk writes it."""
        return f"{self.mailbox}@{self.context}"


@dataclass(frozen=True, slots=True)
class Text:
    """What a message's text file says."""

    id: str  # msg_id; empty where an old Asterisk gave it none
    when: int  # epoch seconds at which it was begun
    duration: int  # s
    caller: str  # number; empty if it was not told
    caller_name: str
    urgent: bool
    extension: str  # that was dialled


@dataclass(frozen=True, slots=True)
class Message:
    """One message where it lies now."""

    box: Box
    folder: str
    number: int  # its place in the folder
    text: Text
    formats: tuple[str, ...]  # in which there is its sound, the best for people first

    @property
    def new(self) -> bool:
        """Whether a lamp counts it as new."""
        return self.folder in NEW


def parse_box(name: str) -> Box:
    """The box that `101` or `101@default` names. SpoolError if it can be none."""
    mailbox, _, context = name.partition("@")
    box = Box(context or "default", mailbox)
    if not good_name(box.mailbox) or not good_name(box.context):
        raise SpoolError(f"{name!r} is no mailbox: it is written 101 or 101@default")
    return box


def good_name(name: str) -> bool:
    """Whether a name can be a context's or a mailbox's: never a way out of the spool."""
    return NAME.fullmatch(name) is not None and name.strip(".") != ""


def parse_folder(name: str) -> str:
    """A folder's name, whatever its case. SpoolError if Asterisk knows none such."""
    for folder in FOLDERS:
        if folder.lower() == name.lower():
            return folder
    raise SpoolError(f"{name!r} is no folder; there are {', '.join(FOLDERS)}")


def message_number(file: str) -> int | None:
    """The number in `msg0003`, the name of a message's file without its ending; None if it is another one's."""
    match = MESSAGE.fullmatch(file)
    return int(match[1]) if match else None


def parse_text(data: bytes) -> Text:
    """A message's text file. SpoolError if it is none, or is not written to its end: then it is to be read again later.

    Asterisk writes it when the caller has begun to speak, and adds `duration`, its last line, when the message is whole.
    """
    if len(data) > LARGEST_TEXT:
        raise SpoolError(f"more than {LARGEST_TEXT} bytes")
    head, found, body = data.decode("utf-8", "replace").partition("[message]")
    if not found or any(line.strip() and not line.lstrip().startswith(";") for line in head.splitlines()):
        raise SpoolError("it does not begin with [message]")
    fields: dict[str, str] = {}
    for line in body.splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith(";"):
            fields.setdefault(key.strip(), value.strip())
    if not data.endswith(b"\n") or "duration" not in fields:
        raise SpoolError("it is not whole yet")
    name, number = parse_caller(fields.get("callerid", ""))
    return Text(
        id=fields.get("msg_id", "") if ID.fullmatch(fields.get("msg_id", "")) else "",
        when=_whole(fields, "origtime"),
        duration=_whole(fields, "duration"),
        caller=number,
        caller_name=name,
        urgent=fields.get("flag", "").lower() == "urgent",
        extension=fields.get("exten", ""),
    )


def text_file(box: Box, text: Text) -> bytes:
    """A message's text file as Asterisk writes it; `parse_text` reads the same from it."""
    name, number = (re.sub(r"[\x00-\x1f\x7f]", " ", part) for part in (text.caller_name, text.caller))
    escaped = re.sub(r'(["\\])', r"\\\1", name)
    caller = f'"{escaped}" <{number}>' if name or number else "Unknown"
    date = time.strftime("%a %b %d %I:%M:%S %p UTC %Y", time.gmtime(text.when))
    return f""";
; Message Information file
;
[message]
origmailbox={box.mailbox}
context={box.context}
exten={text.extension}
rdnis=unknown
priority=1
callerchan=pbxd
callerid={caller}
origdate={date}
origtime={text.when}
category=
msg_id={text.id}
flag={"Urgent" if text.urgent else ""}
duration={text.duration}
""".encode()


def _whole(fields: dict[str, str], key: str) -> int:
    value = fields.get(key, "")
    if not re.fullmatch(r"[0-9]{1,15}", value):
        raise SpoolError(f"its {key} is {value[:40]!r}, not a whole number")
    return int(value)


def parse_caller(text: str) -> tuple[str, str]:
    """Name and number of `"Zoë" <101>`, `101` or `Unknown`; each is empty if it is not told."""
    match = CALLER.fullmatch(text)
    if match:
        name = re.sub(r"\\(.)", r"\1", match[1]) if match[1] is not None else (match[2] or "")
        return name.strip(), match[3].strip()
    if re.fullmatch(r"[+*#0-9]+", text):
        return "", text
    return ("" if text.lower() in ("unknown", "anonymous") else text), ""
