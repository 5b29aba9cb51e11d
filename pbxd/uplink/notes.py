"""Signed notes and checkpoints, as C2SP writes them (signed-note, tlog-checkpoint), with Ed25519. Without I/O.

pbxd ledger 0123456789abcdef          the text: of a checkpoint, the origin,
42                                    the size of the tree,
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2…     its root
                                      an empty line, then a line for each signature:
— pbxd-ledger-… Az3grlgt…             name, base64 of key id (4 bytes) and signature
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from pbxd.errors import NoteError

ED25519 = b"\x01"  # the kind of signature, in a verifier key and in a key id
DASH = "— "
LARGEST = 1024 * 1024  # bytes of a note
MOST_SIGNATURES = 100
_NAME = re.compile(r"[^\s+]+")


def key_id(name: str, public: bytes) -> bytes:
    """The four bytes that tell which key signed."""
    return hashlib.sha256(name.encode() + b"\n" + ED25519 + public).digest()[:4]


@dataclass(frozen=True, slots=True)
class Verifier:
    """A public key with its name."""

    name: str
    public: bytes  # 32 bytes

    @classmethod
    def of(cls, text: str) -> Verifier:
        """From a verifier key, `name+keyid+base64`. NoteError if it is none."""
        name, _, rest = text.strip().partition("+")
        digits, _, encoded = rest.partition("+")
        raw = _decoded(encoded)
        if not _NAME.fullmatch(name) or len(raw) != 33 or raw[:1] != ED25519:
            raise NoteError(f"{text[:100]!r} is no verifier key of an Ed25519 key")
        if key_id(name, raw[1:]).hex() != digits:
            raise NoteError(f"the verifier key of {name} has another id than it says")
        return cls(name, raw[1:])

    @property
    def text(self) -> str:
        """The verifier key, as it is handed on."""
        encoded = base64.b64encode(ED25519 + self.public).decode()
        return f"{self.name}+{key_id(self.name, self.public).hex()}+{encoded}"

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the verifier key, 64 hex digits: what the protocol calls a ledger."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def holds(self, text: str, signature: bytes) -> bool:
        """Whether this key made the signature."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, text.encode())
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True)
class Signer:
    """A private key with its name."""

    name: str
    seed: bytes  # 32 bytes, as RFC 8032 calls the private key

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise NoteError(f"{self.name!r} is no name of a key: it has a space or a plus, or is empty")

    def __repr__(self) -> str:
        return f"Signer({self.name!r})"  # a private key must not come into a log

    @property
    def verifier(self) -> Verifier:
        """The public half."""
        return Verifier(self.name, Ed25519PrivateKey.from_private_bytes(self.seed).public_key().public_bytes_raw())

    def sign(self, text: str) -> str:
        """The text as a signed note. NoteError if it cannot be one."""
        _check(text)
        signature = Ed25519PrivateKey.from_private_bytes(self.seed).sign(text.encode())
        encoded = base64.b64encode(key_id(self.name, self.verifier.public) + signature).decode()
        return f"{text}\n{DASH}{self.name} {encoded}\n"


def opened(note: str | bytes, known: Iterable[Verifier]) -> str:
    """The text of a note that one of the known keys signed. NoteError if none did, or if one that says to be of them is wrong."""
    text, lines = _parts(note)
    keys = {(one.name, key_id(one.name, one.public)): one for one in known}
    good = False
    for line in lines:
        name, _, encoded = line.removeprefix(DASH).partition(" ")
        raw = _decoded(encoded)
        if not line.startswith(DASH) or not _NAME.fullmatch(name) or len(raw) < 5:
            raise NoteError("a line of the note is no signature")
        key = keys.get((name, raw[:4]))
        if key is None:
            continue  # somebody else's, which says nothing to us
        if not key.holds(text, raw[4:]):
            raise NoteError(f"the signature of {name} does not fit the text")
        good = True
    if not good:
        raise NoteError(f"no key that is known signed it; known: {', '.join(name for name, _ in keys) or 'none'}")
    return text


def _parts(note: str | bytes) -> tuple[str, list[str]]:
    """The text, with its last line feed, and the lines of signatures."""
    if len(note) > LARGEST:
        raise NoteError(f"a note has at most {LARGEST} bytes")
    try:
        whole = note.decode() if isinstance(note, bytes) else note
    except UnicodeDecodeError as error:
        raise NoteError("the note is not UTF-8") from error
    place = whole.rfind("\n\n")
    if place < 0 or not whole.endswith("\n"):
        raise NoteError("the note has no signatures")
    text, lines = whole[: place + 1], whole[place + 2 :].split("\n")[:-1]
    _check(text)
    if not 0 < len(lines) <= MOST_SIGNATURES:
        raise NoteError(f"the note has {len(lines)} signatures")
    return text, lines


def _check(text: str) -> None:
    if not text.endswith("\n") or any(character < " " and character != "\n" for character in text):
        raise NoteError("a note's text ends with a line feed, and has no other control character")


def _decoded(encoded: str) -> bytes:
    """The bytes of base64 in its one right form; none if it is not."""
    try:
        raw = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return b""
    return raw if base64.b64encode(raw).decode() == encoded else b""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log says of itself: its name, how many entries it has, the root over them."""

    origin: str
    size: int
    root: bytes  # 32 bytes

    @property
    def text(self) -> str:
        """The text of its note."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    @classmethod
    def of(cls, text: str) -> Checkpoint:
        """From the text of a note. NoteError if it is none. Lines behind the root (extensions) are not read."""
        lines = text.split("\n")
        if len(lines) < 4 or not lines[0] or not re.fullmatch("0|[1-9][0-9]{0,18}", lines[1]):
            raise NoteError("the note is no checkpoint: an origin, a size and a root")
        root = _decoded(lines[2])
        if len(root) != 32:
            raise NoteError("the root of the checkpoint is no SHA-256 in base64")
        return cls(lines[0], int(lines[1]), root)
