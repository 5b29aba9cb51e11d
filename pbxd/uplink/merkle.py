"""The Merkle tree of RFC 6962 (and RFC 9162 §2.1) over SHA-256: roots, proofs that an entry is in it, proofs that it only grew.

Without I/O. Entries are bytes; a leaf is SHA-256(0x00 ‖ entry), a node SHA-256(0x01 ‖ left ‖ right), the empty tree SHA-256().
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from pbxd.errors import ProofError

HASH = 32  # bytes
EMPTY = hashlib.sha256().digest()


def leaf_hash(entry: bytes) -> bytes:
    """The leaf of an entry."""
    return hashlib.sha256(b"\0" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The node over two others."""
    return hashlib.sha256(b"\1" + left + right).digest()


class Tree:
    """A tree that grows by leaves. Roots and proofs of any size up to now take a time that grows with its logarithm."""

    def __init__(self, leaves: Iterable[bytes] = ()) -> None:
        self._levels: list[list[bytes]] = [[]]  # of each height, the nodes over 2**height leaves that are all there
        for leaf in leaves:
            self.append(leaf)

    def __len__(self) -> int:
        return len(self._levels[0])

    def append(self, leaf: bytes) -> None:
        """Add a leaf (`leaf_hash` of the entry)."""
        for height in range(len(self) + 1):
            if height == len(self._levels):
                self._levels.append([])
            self._levels[height].append(leaf)
            if len(self._levels[height]) % 2:
                return
            leaf = node_hash(*self._levels[height][-2:])

    def leaf(self, number: int) -> bytes:
        """The leaf with this number."""
        return self._levels[0][number]

    def root(self, size: int | None = None) -> bytes:
        """The root of the first `size` leaves; of all, without one."""
        size = len(self) if size is None else size
        self._check(size)
        return self._node(0, size) if size else EMPTY

    def inclusion(self, number: int, size: int | None = None) -> list[bytes]:
        """The proof that leaf `number` is in the tree of the first `size` leaves (RFC 6962 §2.1.1)."""
        size = len(self) if size is None else size
        self._check(size)
        if not 0 <= number < size:
            raise ValueError(f"there is no leaf {number} among {size}")
        proof: list[bytes] = []
        first, end = 0, size
        while end - first > 1:
            middle = first + _half(end - first)
            if number < middle:
                proof.append(self._node(middle, end))
                end = middle
            else:
                proof.append(self._node(first, middle))
                first = middle
        return proof[::-1]

    def consistency(self, old: int, size: int | None = None) -> list[bytes]:
        """The proof that the tree of the first `old` leaves is the beginning of that of the first `size` (RFC 6962 §2.1.2)."""
        size = len(self) if size is None else size
        self._check(size)
        if not 0 < old <= size:
            raise ValueError(f"there is no proof from {old} to {size} leaves")
        proof: list[bytes] = []
        first, end, whole = 0, size, True
        while old != end:
            middle = first + _half(end - first)
            if old <= middle:
                proof.append(self._node(middle, end))
                end = middle
            else:
                proof.append(self._node(first, middle))
                first, whole = middle, False
        if not whole:
            proof.append(self._node(first, end))
        return proof[::-1]

    def _check(self, size: int) -> None:
        if not 0 <= size <= len(self):
            raise ValueError(f"the tree has {len(self)} leaves, not {size}")

    def _node(self, first: int, end: int) -> bytes:
        """The node over the leaves [first, end), a range that the tree is cut into."""
        count = end - first
        if count & (count - 1) == 0:  # a power of two: it is there
            return self._levels[count.bit_length() - 1][first // count]
        middle = first + _half(count)
        return node_hash(self._node(first, middle), self._node(middle, end))


def _half(count: int) -> int:
    """The largest power of two below `count`, which is at least 2."""
    return 1 << ((count - 1).bit_length() - 1)


def check_inclusion(leaf: bytes, number: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """ProofError unless the proof leads from the leaf to the root (RFC 9162 §2.1.3.2)."""
    if not 0 <= number < size:
        raise ProofError(f"entry {number} cannot be in a tree of {size}")
    place, last, found = number, size - 1, leaf
    for other in proof:
        if last == 0:
            raise ProofError("the proof is longer than its path")
        if place & 1 or place == last:
            found = node_hash(other, found)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            found = node_hash(found, other)
        place, last = place >> 1, last >> 1
    if last or found != root:
        raise ProofError(f"entry {number} is not in the tree of {size} with this root")


def check_consistency(old: int, size: int, proof: Sequence[bytes], old_root: bytes, root: bytes) -> None:
    """ProofError unless the tree of `old` leaves is the beginning of that of `size` (RFC 9162 §2.1.4.2)."""
    fault = ProofError(f"the tree of {size} does not continue that of {old}")
    if old == size:
        if proof or old_root != root:
            raise fault
        return
    if not 0 < old < size:
        raise ProofError(f"there is no proof from {old} to {size} entries")
    path = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    place, last = old - 1, size - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    if not path or _climb(place, last, path) != (old_root, root):
        raise fault


def _climb(place: int, last: int, path: Sequence[bytes]) -> tuple[bytes, bytes] | None:
    """The roots of the old and of the new tree to which a proof leads; None if it is longer or shorter than its path."""
    before = now = path[0]
    for other in path[1:]:
        if last == 0:
            return None
        if place & 1 or place == last:
            before, now = node_hash(other, before), node_hash(other, now)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            now = node_hash(now, other)
        place, last = place >> 1, last >> 1
    return None if last else (before, now)


class Frontier:
    """The right edge of a tree that grows: all that its next root needs, in memory that grows with the logarithm of its size."""

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[bytes] = []  # nodes over the powers of two that `size` is made of, the largest first

    def append(self, leaf: bytes) -> None:
        """Add a leaf."""
        count = self.size
        while count & 1:
            leaf = node_hash(self._peaks.pop(), leaf)
            count >>= 1
        self._peaks.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        """The root over all leaves."""
        if not self._peaks:
            return EMPTY
        found = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            found = node_hash(peak, found)
        return found
