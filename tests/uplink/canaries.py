"""Canaries: names and numbers that no upload may hold, and the search for them in whatever form."""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

CANARIES = ("+4930987654321", "030987654321", "Zoë Kanarienvogel", "kanarienvogel")


def files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def forms(canary: str) -> Iterator[bytes]:
    """A canary in every plain form, and in base64 at each of its three alignments."""
    plain = [canary.encode(coding) for coding in ("utf-8", "utf-16-le", "utf-16-be")]
    plain += [json.dumps(canary)[1:-1].encode(), canary.lstrip("+").encode()]
    for raw in plain:
        yield raw
        yield raw.hex().encode()
        yield raw.hex().upper().encode()
        for shift in range(3):
            whole = base64.b64encode(bytes(shift) + raw)
            yield whole[4 if shift else 0 : len(whole) // 4 * 4 - 4]


def unpacked(data: bytes, depth: int = 3) -> Iterator[bytes]:
    """The data, and whatever in it is compressed or encoded, laid open."""
    yield data
    if not depth:
        return
    for match in re.finditer(rb"\x1f\x8b\x08|\x78[\x01\x9c\xda]", data):
        try:
            yield from unpacked(zlib.decompressobj(47).decompress(data[match.start() :], 1_000_000), depth - 1)
        except zlib.error:
            continue
    for match in re.finditer(rb"[A-Za-z0-9+/]{16,}={0,2}", data):
        text = match[0].rstrip(b"=")
        yield from unpacked(base64.b64decode(text[: len(text) // 4 * 4]), depth - 1)


def searched(data: bytes) -> list[bytes]:
    """Every form of every canary that is in the data."""
    wanted = {form for canary in CANARIES for form in forms(canary) if len(form) > 6}
    return [form for part in unpacked(data) for form in wanted if form in part]
