"""What a message may be, how it is cut for a phone's display, and how it is searched. No I/O."""

from __future__ import annotations

import unicodedata

from pbxd.errors import ChatRefused

PHONE_PART = (
    700  # bytes of one SIP MESSAGE: AMI's line takes 757 (as base64), RFC 3428 §8 advises less than 1,300 over UDP
)
MARK = len(" (99/99)")  # bytes that a part's number takes
MOST_PARTS = 12  # of a long message; a phone's display is no place for a book
REST = " …"
KEPT = "\n\t"  # control characters that a text may hold


def cleaned(raw: str, longest: int) -> str:
    """The text of a message: Unicode, `\\n` for line breaks, no other control characters. ChatRefused if it is empty or too long.

    `raw` may hold surrogates for bytes that are no UTF-8: each becomes U+FFFD. `longest` is in bytes of UTF-8.
    """
    text = _unicode(raw).replace("\r\n", "\n").replace("\r", "\n")
    text = "".join(char for char in text if char in KEPT or unicodedata.category(char) not in ("Cc", "Cs")).strip()
    if not text:
        raise ChatRefused("the message is empty")
    if (size := len(text.encode())) > longest:
        raise ChatRefused(f"the message has {size} bytes; the longest that is taken has {longest} (chat.longest)")
    return text


def _unicode(raw: str) -> str:
    """Text that has bytes, whatever it was made of."""
    try:
        return raw.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    except UnicodeEncodeError:  # a lone surrogate that stands for no byte, as JSON may have it
        return raw.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def parts(text: str, size: int = PHONE_PART) -> list[str]:
    """A text in pieces of at most `size` bytes, numbered if there are several, cut at spaces where there are some.

    What is beyond MOST_PARTS pieces is left out, and that is seen.
    """
    if len(text.encode()) <= size:
        return [text]
    pieces: list[str] = []
    while text and len(pieces) < MOST_PARTS:
        piece = _head(text, size - MARK)
        text = text[len(piece) :].lstrip()
        pieces.append(piece.rstrip())
    if text:
        pieces[-1] = _head(pieces[-1], size - MARK - len(REST.encode())) + REST
    return [f"{piece} ({n}/{len(pieces)})" for n, piece in enumerate(pieces, 1)]


def _head(text: str, size: int) -> str:
    """The longest beginning of `text` with at most `size` bytes, ended at a space if one is in its second half."""
    head = text.encode()[:size].decode("utf-8", "ignore")
    if len(head) == len(text):
        return head
    cut = max(head.rfind(" "), head.rfind("\n"))
    return head[: cut + 1] if cut > len(head) // 2 else head


def folded(text: str) -> str:
    """A text as it is compared in a search: without case and accents."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    return "".join(char for char in plain if not unicodedata.combining(char))


def words_of(text: str) -> list[str]:
    """What is looked for: words, all of which have to occur. ChatRefused if there are none."""
    if not (words := folded(text).split()):
        raise ChatRefused("say what to look for")
    return words


def sender_of(header: str) -> str:
    """The user of a SIP From or To header (`"Phone 101" <sip:101@host;x=y>`, `sip:101@host`); empty if there is none."""
    address = header.rpartition("<")[2]
    scheme, colon, rest = address.partition(":")
    if not colon or scheme.lower() not in ("sip", "sips", "pjsip") or "@" not in rest:
        return ""
    return rest.partition("@")[0].partition(";")[0].partition(":")[0]
