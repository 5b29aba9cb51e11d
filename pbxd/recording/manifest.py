"""What the recorder says of a finished recording, in `ready.json`: read strictly, for everything after it trusts it. No I/O."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from pbxd.comms.files import ID
from pbxd.errors import RecordingDamaged

VERSION = 1
FILE = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}\.wav")
LONGEST = 24 * 3600 * 1_000_000  # µs: a day; what claims to be longer has a wrong time in it
MOST_SEGMENTS = 10_000
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Party:
    """Somebody who took part."""

    endpoint: str  # TECH/name
    number: str
    name: str
    trunk: bool = True  # whether it leads outside: then the number is whatever the caller says it is


@dataclass(frozen=True, slots=True)
class Piece:
    """Two files of sound, and when they began and had to end."""

    at: int  # µs
    end: int  # µs
    left: str
    right: str
    left_party: str
    right_parties: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    """A finished recording."""

    id: str
    call: str
    start: int  # µs
    end: int  # µs
    kind: str  # its class, by which it is kept
    caller: str
    dialled: str
    direction: str
    queue: str
    consent: str
    parties: tuple[Party, ...]
    pieces: tuple[Piece, ...]
    gaps: tuple[tuple[int, int], ...]  # µs; silent in the result
    faults: tuple[str, ...]


def parse(text: str | bytes, name: str) -> Manifest:
    """The recording in the folder `name`. RecordingDamaged, with what is wrong, if that is no manifest of one."""
    try:
        manifest = _manifest(json.loads(text))
    except KeyError as error:
        raise RecordingDamaged(f"ready.json has no {error}") from error
    except (TypeError, ValueError, RecursionError) as error:
        raise RecordingDamaged(f"ready.json: {error}") from error
    _check(manifest, name)
    return manifest


def _manifest(values: Any) -> Manifest:  # noqa: ANN401 - JSON
    if not isinstance(values, dict):
        raise TypeError("it is no object")
    if values["version"] != VERSION:
        raise ValueError(f"version {values['version']!r} is not known")
    end = _whole(values["end"])
    return Manifest(
        id=_text(values["id"]),
        call=_text(values["call"]),
        start=_whole(values["start"]),
        end=end,
        kind=_text(values["class"]),
        caller=_text(values["caller"]),
        dialled=_text(values["dialled"]),
        direction=_text(values["direction"]),
        queue=_text(values["queue"]),
        consent=_text(values["consent"]),
        parties=_all(values["parties"], _party),
        pieces=_all(values["segments"], lambda piece: _piece(piece, end)),
        gaps=_all(values["gaps"], lambda gap: (_whole(gap[0]), _whole(gap[1]))),
        faults=_all(values.get("faults", []), _text),
    )


def _party(party: Any) -> Party:  # noqa: ANN401 - JSON
    outside = party.get("trunk", True) is not False
    return Party(_text(party["endpoint"]), _text(party["number"]), _text(party["name"]), outside)


def _piece(piece: Any, end: int) -> Piece:  # noqa: ANN401 - JSON
    return Piece(
        at=_whole(piece["at"]),
        end=_whole(piece.get("end", end)),
        left=_text(piece["left"]),
        right=_text(piece["right"]),
        left_party=_text(piece["left_party"]),
        right_parties=_all(piece["right_parties"], _text),
    )


def _check(manifest: Manifest, name: str) -> None:
    if manifest.id != name or not ID.fullmatch(name):
        raise RecordingDamaged(f"ready.json is of {manifest.id[:80]!r}")
    if not 0 <= manifest.end - manifest.start <= LONGEST or manifest.start < 0:
        raise RecordingDamaged(f"ready.json: from {manifest.start} to {manifest.end} is no time of a call")
    if len(manifest.pieces) > MOST_SEGMENTS:
        raise RecordingDamaged(f"ready.json has {len(manifest.pieces)} segments")
    for piece in manifest.pieces:
        for file in (piece.left, piece.right):
            if not FILE.fullmatch(file):
                raise RecordingDamaged(f"ready.json: {file[:80]!r} is no name of a sound file")
    if any(end < start for start, end in manifest.gaps):
        raise RecordingDamaged("ready.json: a gap ends before it begins")


def _text(value: Any) -> str:  # noqa: ANN401 - JSON
    if not isinstance(value, str):
        raise TypeError(f"{str(value)[:80]!r} is no text")
    return value


def _whole(value: Any) -> int:  # noqa: ANN401 - JSON
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{str(value)[:80]!r} is no whole number")
    return value


def _all(values: Any, make: Callable[[Any], T]) -> tuple[T, ...]:  # noqa: ANN401 - JSON
    if not isinstance(values, list):
        raise TypeError(f"{str(values)[:80]!r} is no list")
    return tuple(make(value) for value in values)
