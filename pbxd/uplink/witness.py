"""Compares the vendor's view of this box's ledger with the ledger: a fork, or a line that was changed, is seen by it."""

from __future__ import annotations

import base64
from pathlib import Path

from pbxd.uplink.merkle import Frontier, leaf_hash
from pbxd.uplink.outbox import LEDGER


def dispute(outbox: Path, size: int, root: str) -> str:
    """What is wrong with a view of `size` lines with this root (base64); empty if nothing is."""
    tree = Frontier()
    try:
        with (outbox / LEDGER).open("rb") as file:
            for raw in file:
                if tree.size == size:
                    break
                tree.append(leaf_hash(raw))
    except OSError as error:
        return f"the ledger cannot be read, and so not compared: {error.strerror}"
    if tree.size < size:
        return f"THE VENDOR HAS SEEN {size} LINES OF THE LEDGER, AND IT HAS {tree.size}: lines were cut off, or there are two"
    if base64.b64encode(tree.root()).decode() != root:
        return (
            f"THE FIRST {size} LINES OF THE LEDGER ARE NOT THOSE THAT THE VENDOR HAS SEEN: see `pbxctl uplink verify`"
        )
    return ""
