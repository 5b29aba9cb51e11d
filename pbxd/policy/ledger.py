"""Looks through a ledger for the clauses: its lines, classes, bodies. Nothing but its files and its public key is needed."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pbxd.errors import GateRefused, LedgerBroken, NoteError
from pbxd.policy.facts import LedgerFacts
from pbxd.uplink.audit import verify
from pbxd.uplink.bodies import check_body
from pbxd.uplink.book import OPEN, Book, decoded
from pbxd.uplink.notes import Verifier
from pbxd.uplink.outbox import BODIES, LEDGER

STATISTICS = "share_statistics"  # name of the switch
MOST_MISFITS = 20  # that are told


def facts(outbox: Path, key: str, trusted: str = "") -> LedgerFacts | None:
    """What the ledger in `outbox` holds; None if there is none. LedgerError if it cannot be read.

    `key` is the verifier key that the outbox says is its own, `trusted` the one that pbxd signs with, if it is known: who forges
    the one together with the ledger has not forged the other.
    """
    if not (outbox / LEDGER).exists():
        return None
    try:
        verdict = verify(outbox, Verifier.of(key))
    except NoteError as error:
        return LedgerFacts(0, (f"the ledger's key is none: {error}",))
    faults = list(verdict.faults)
    if trusted not in ("", key):
        faults.append("the key that the enrolment names is not the one that this box signs with")
    lines = _lines(outbox / LEDGER, faults)
    entries = [line for line in lines if line["what"] == "entry"]
    return LedgerFacts(
        lines=len(lines),
        faults=tuple(faults),
        entries=Counter(str(line["class"]) for line in entries),
        misfits=tuple(_misfits(outbox, entries)),
        bodies=sum((outbox / BODIES / str(line["number"])).exists() for line in entries),
        usage=_usage(outbox, entries),
        unsent_stats=_unsent(lines),
        stats_off=_off(lines),
        stats_after_off=_after_off(lines),
        events=tuple({"event": line["event"], **line["facts"]} for line in lines if line["what"] == "support"),
    )


def _lines(path: Path, faults: list[str]) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = []
    with path.open("rb") as file:
        for raw in file:
            try:
                found.append(decoded(raw))
            except LedgerBroken as error:
                faults.append(f"line {len(found)} of the ledger: {error}")
                break
    return found


def _misfits(outbox: Path, entries: list[Mapping[str, Any]]) -> list[str]:
    """Bodies that are there and are not of the form of their class."""
    found = []
    for line in entries:
        try:
            check_body(line["class"], (outbox / BODIES / str(line["number"])).read_bytes())
        except FileNotFoundError:
            continue  # destroyed, or kept as a hash
        except GateRefused as error:
            found.append(f"entry {line['number']} ({line['class']}): {error}")
    return found[:MOST_MISFITS]


def _usage(outbox: Path, entries: list[Mapping[str, Any]]) -> Mapping[str, str]:
    """What the latest report of health told of use; nothing if there is none any more, or it is not of its form."""
    for line in reversed(entries):
        if line["class"] == "health":
            with contextlib.suppress(FileNotFoundError, GateRefused):
                found: Mapping[str, str] = check_body("health", (outbox / BODIES / str(line["number"])).read_bytes())[
                    "usage"
                ]
                return found
    return {}


def _unsent(lines: list[Mapping[str, Any]]) -> int:
    """Entries of class stats that wait, or are being sent."""
    book, stats = Book(), set()
    for line in lines:
        try:
            book.apply(line, 0)
        except LedgerBroken:
            break  # told already
        if line["what"] == "entry" and line["class"] == "stats":
            stats.add(line["number"])
    return sum(book.state(number) in OPEN for number in stats)


def _off(lines: list[Mapping[str, Any]]) -> bool:
    """Whether the last line about it says that statistics are switched off."""
    said = [line["value"] for line in lines if line["what"] == "switch" and line["name"] == STATISTICS]
    return said[-1:] == ["false"]


def _after_off(lines: list[Mapping[str, Any]]) -> int:
    """Entries of class stats behind the last line that switched statistics off."""
    count, off = 0, False
    for line in lines:
        if line["what"] == "switch" and line["name"] == STATISTICS:
            count, off = 0, line["value"] == "false"
        count += off and line["what"] == "entry" and line["class"] == "stats"
    return count
