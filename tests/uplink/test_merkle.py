"""The tree against an independent implementation (pymerkle), and against everything that a forger could change."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymerkle import InmemoryTree

from pbxd.errors import ProofError
from pbxd.uplink.merkle import EMPTY, Tree, check_consistency, check_inclusion, leaf_hash

SIZES = 70
ENTRIES = [f"entry {number}".encode() for number in range(SIZES)]
LEAVES = [leaf_hash(entry) for entry in ENTRIES]


@pytest.fixture(scope="module")
def other() -> InmemoryTree:
    """Their tree."""
    made = InmemoryTree(algorithm="sha256")
    made.append_entries(ENTRIES)
    return made


def test_the_known_roots_of_rfc_6962() -> None:
    assert EMPTY.hex() == hashlib.sha256().hexdigest()
    assert leaf_hash(b"").hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"


def test_roots_and_proofs_are_those_of_pymerkle(other: InmemoryTree) -> None:
    tree = Tree(LEAVES)
    for size in range(1, SIZES + 1):
        assert tree.root(size) == other.get_root(size)
        for number in range(size):
            theirs = other.prove_inclusion(number + 1, size)
            theirs.verify(tree.leaf(number), tree.root(size))
            proof = tree.inclusion(number, size)
            assert sorted([*proof, LEAVES[number]]) == sorted(theirs.path)
            check_inclusion(LEAVES[number], number, size, proof, other.get_root(size))
        for old in range(1, size + 1):
            other.prove_consistency(old, size).verify(tree.root(old), tree.root(size))
            check_consistency(old, size, tree.consistency(old, size), other.get_root(old), other.get_root(size))


@given(st.integers(1, SIZES), st.data())
def test_no_other_proof_holds(size: int, data: st.DataObject) -> None:
    tree = Tree(LEAVES)
    number = data.draw(st.integers(0, size - 1))
    root, proof = tree.root(size), tree.inclusion(number, size)
    for wrong in (number ^ 1, number + 1):
        with pytest.raises(ProofError):
            check_inclusion(LEAVES[number], wrong, size, proof, root)
    for forged in ([*proof, LEAVES[0]], [*proof[:-1], bytes(32)], proof[:-1]):
        if forged != proof:
            with pytest.raises(ProofError):
                check_inclusion(LEAVES[number], number, size, forged, root)
    with pytest.raises(ProofError):
        check_inclusion(leaf_hash(b"other"), number, size, proof, root)


@given(st.integers(2, SIZES), st.data())
def test_a_tree_that_was_rewritten_is_no_continuation(size: int, data: st.DataObject) -> None:
    tree = Tree(LEAVES)
    old = data.draw(st.integers(1, size - 1))
    changed = data.draw(st.integers(0, old - 1))
    forged = Tree([*LEAVES[:changed], leaf_hash(b"other"), *LEAVES[changed + 1 :]])
    with pytest.raises(ProofError):
        check_consistency(old, size, forged.consistency(old, size), tree.root(old), forged.root(size))
    with pytest.raises(ProofError):
        check_consistency(old, size, tree.consistency(old, size), tree.root(old), forged.root(size))
    for wrong in (0, size, size + 1):
        with pytest.raises(ProofError):
            check_consistency(wrong, size, tree.consistency(old, size), tree.root(old), tree.root(size))
