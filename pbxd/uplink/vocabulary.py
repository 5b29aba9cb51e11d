"""The words of the uplink's protocol (docs/uplink-protocol.md), and what their values look like. Both ends read them here.

Without I/O. There is nothing else that one end can say to the other: what is not in these tables is refused by both.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from pbxd.errors import FrameError

PROTOCOL = 1
PORT = 22

KEY_EXCHANGES = ("mlkem768x25519-sha256", "curve25519-sha256")
CIPHERS = ("chacha20-poly1305@openssh.com", "aes256-gcm@openssh.com", "aes128-gcm@openssh.com")
MACS = (
    "hmac-sha2-512-etm@openssh.com",
    "hmac-sha2-256-etm@openssh.com",
)  # not used beside these ciphers; a list must not be empty
HOST_KEYS = ("ssh-ed25519-cert-v01@openssh.com", "ssh-ed25519")
SIGNATURES = ("ssh-ed25519",)

ENROL_USER, BOX_USER, SUPPORT_USER = "enrol", "box", "support"
ENROL_SUBSYSTEM, UPLINK_SUBSYSTEM = "pbxd-enrol", "pbxd-uplink"
SUPPORT_LISTENER = ("support", 22)  # what the box asks to be forwarded while a ticket is open

CLASSES = ("config", "stats", "health")
SIGN_IN_WHYS = ("revoked", "expired", "not-yet-valid", "unknown", "clock", "busy")
ENROL_WHYS = ("token", "protocol", "busy")
SKIP_WHYS = ("destroyed",)
REJECT_WHYS = ("sha256", "schema", "class", "size")
BYE_WHYS = ("restart", "revoked", "busy", "replaced", "ledger")
TOPICS = ("product", "security", "service")
BANNER = "pbxd-why: "  # begins the line of an SSH banner that says why a sign-in is refused

LONGEST_LINE = 1000  # characters of a sentence, a title, a version or a key
LONGEST_TEXT = 20_000  # characters of a notice
MOST_CHANGES = 100  # changes in one proposal
LARGEST_NUMBER = 2**53 - 1  # whole numbers that every reader of JSON holds exactly

Check = Callable[[Any], None]  # raises ValueError, saying what is wanted
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?Z")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # all but tab and line feed


def one_of(words: tuple[str, ...]) -> Check:
    """One of these words."""

    def check(value: Any) -> None:  # noqa: ANN401 - JSON
        if not isinstance(value, str) or value not in words:
            raise ValueError(f"one of {', '.join(words)}")

    return check


def whole(value: Any) -> None:  # noqa: ANN401 - JSON
    """A whole number from 0 on."""
    if type(value) is not int or not 0 <= value <= LARGEST_NUMBER:
        raise ValueError("a whole number from 0 on")


def protocol(value: Any) -> None:  # noqa: ANN401 - JSON
    """The protocol's version, any: which of them is spoken is each end's own decision."""
    whole(value)


def matching(pattern: str, what: str) -> Check:
    """Text of exactly this form."""
    form = re.compile(pattern)

    def check(value: Any) -> None:  # noqa: ANN401 - JSON
        if not isinstance(value, str) or not form.fullmatch(value):
            raise ValueError(what)

    return check


def line(value: Any) -> None:  # noqa: ANN401 - JSON
    """A line of text, not empty."""
    text(value)
    if not value or "\n" in value or len(value) > LONGEST_LINE:
        raise ValueError(f"a line of at most {LONGEST_LINE} characters")


def text(value: Any) -> None:  # noqa: ANN401 - JSON
    """Text without control characters: it is shown on terminals."""
    if not isinstance(value, str) or len(value) > LONGEST_TEXT or _CONTROL.search(value) or not _is_unicode(value):
        raise ValueError(f"text of at most {LONGEST_TEXT} characters without control characters")


def _is_unicode(value: str) -> bool:
    """Whether it can be written as UTF-8: JSON can hold half of a surrogate pair."""
    return not any("\ud800" <= character <= "\udfff" for character in value)


def moment(value: Any) -> None:  # noqa: ANN401 - JSON
    """A time of RFC 3339 in UTC: `2026-11-28T07:00:00Z`."""
    time_of(str(value))


def time_of(value: str) -> datetime:
    """The time that such a text stands for. ValueError if it is none."""
    if not _TIME.fullmatch(value):
        raise ValueError("a time as 2026-11-28T07:00:00Z")
    return datetime.fromisoformat(value)


def time_text(at: datetime) -> str:
    """A time as the protocol writes it, to the second."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def digest64(value: Any) -> None:  # noqa: ANN401 - JSON
    """A SHA-256 in base64."""
    try:
        good = isinstance(value, str) and len(base64.b64decode(value, validate=True)) == 32
    except (binascii.Error, ValueError):
        good = False
    if not good:
        raise ValueError("a SHA-256 in base64")


def identity(value: Any) -> None:  # noqa: ANN401 - JSON
    """A UUID, as RFC 9562 writes it."""
    try:
        good = isinstance(value, str) and str(uuid.UUID(value)) == value
    except ValueError:
        good = False
    if not good:
        raise ValueError("a UUID")


def plain(value: Any) -> None:  # noqa: ANN401 - JSON
    """A value of the configuration: a word, a number, yes or no, nothing, or a list of these."""
    for one in value if isinstance(value, list) else [value]:
        if isinstance(one, str):
            text(one)
        elif not (one is None or isinstance(one, bool | int | float)):
            raise ValueError("a text, a number, true, false, null, or a list of these")


def changes(value: Any) -> None:  # noqa: ANN401 - JSON
    """Changes of the configuration: `[{"path": "a.b.c", "value": …}, …]`."""
    if not isinstance(value, list) or not 0 < len(value) <= MOST_CHANGES:
        raise ValueError(f"a list of 1 to {MOST_CHANGES} changes")
    for change in value:
        check_fields({"path": path, "value": plain}, change, "change")


box = matching("[0-9a-f]{16}", "16 lower-case hex digits")
hash64 = matching("[0-9a-f]{64}", "64 lower-case hex digits")
path = matching(r"[A-Za-z0-9_-]{1,100}(\.[A-Za-z0-9_-]{1,100}){0,9}", "a key of the configuration: a.b.c")
entry_class = one_of(CLASSES)

# Messages down: kind -> its own fields. Beside them each has the fields of ENVELOPE.
ENVELOPE: Mapping[str, Check] = {"id": identity, "box": box, "kind": line, "issued": moment, "expires": moment}
MESSAGES: Mapping[str, Mapping[str, Check]] = {
    "propose-config": {"changes": changes, "reason": line, "by": line},
    "notice": {"title": line, "text": text, "topic": one_of(TOPICS)},
    "offer-update": {"version": line, "summary": text, "sha256": hash64},
    "checkpoint": {"size": whole, "root": digest64},
}
FIRST_LINE = "pbxd message 1"


def check_fields(wanted: Mapping[str, Check], found: Any, what: str) -> None:  # noqa: ANN401 - JSON
    """`found` has exactly these fields, each as it should be. FrameError says which does not hold."""
    if not isinstance(found, dict):
        raise FrameError(f"{what}: an object is wanted")
    if missing := sorted(set(wanted) - set(found)):
        raise FrameError(f"{what}: {missing[0]} is missing")
    if more := sorted(set(found) - set(wanted)):
        raise FrameError(f"{what}: {more[0]!r} is no field of it")
    for name, check in wanted.items():
        try:
            check(found[name])
        except ValueError as error:
            raise FrameError(f"{what}: {name} is not {error}") from error


def message_text(message: Mapping[str, Any]) -> str:
    """A message down as the text that is signed. FrameError if it is none of the vocabulary."""
    check_message(dict(message))
    return f"{FIRST_LINE}\n{json.dumps(message, ensure_ascii=False, separators=(',', ':'), sort_keys=True)}\n"


def message_of(signed: str) -> dict[str, Any]:
    """The message in a text whose signature was checked. FrameError if it is none of the vocabulary."""
    first, _, rest = signed.partition("\n")
    if first != FIRST_LINE or not rest.endswith("\n") or "\n" in rest[:-1]:
        raise FrameError(f"message: it is not the line {FIRST_LINE!r} and one line of JSON")
    message: dict[str, Any] = parsed(rest.encode(), "message")
    check_message(message)
    return message


def check_message(message: Any) -> None:  # noqa: ANN401 - JSON
    """A message has a kind of the vocabulary and exactly its fields. FrameError says what does not hold."""
    kind = message.get("kind") if isinstance(message, dict) else None
    if not isinstance(kind, str) or kind not in MESSAGES:
        raise FrameError(f"message: its kind {str(kind)[:40]!r} is none of {', '.join(MESSAGES)}")
    check_fields({**ENVELOPE, **MESSAGES[kind]}, message, kind)


def parsed(data: bytes, what: str) -> Any:  # noqa: ANN401 - JSON
    """JSON without doubled keys and without NaN. FrameError if it is none."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a key stands there twice")
        return found

    def number(name: str) -> float:
        raise ValueError(f"{name} is no number of JSON")

    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=once, parse_constant=number)
    except (ValueError, RecursionError) as error:
        raise FrameError(f"{what}: it is no JSON: {error}") from error
