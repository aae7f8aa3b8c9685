"""Merkle trees as OpenZeppelin's ``MerkleProof`` verifies them.

A leaf is ``keccak(keccak(tag || data))``, so that no inner node can pass for a leaf; a node is the
hash of its two children in byte order, so that a proof needs no positions. An odd node moves up
unchanged. The root of no leaves is 32 zero bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

from .keccak import keccak256

EMPTY_ROOT = bytes(32)


def leaf_hash(tag: str, data: bytes) -> bytes:
    """Return the leaf of ``data`` in the tree that ``tag`` names."""
    return keccak256(keccak256(keccak256(tag.encode()) + data))


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """Return the root of the leaves in their given order."""
    level = list(leaves)
    while len(level) > 1:
        level = _parents(level)
    return level[0] if level else EMPTY_ROOT


def merkle_proofs(leaves: Sequence[bytes]) -> list[list[bytes]]:
    """Return the proofs of all leaves, hashing each level once."""
    levels = [list(leaves)]
    while len(levels[-1]) > 1:
        levels.append(_parents(levels[-1]))
    return [_path(levels, index) for index in range(len(leaves))]


def proves(leaf: bytes, proof: Sequence[bytes], root: bytes) -> bool:
    """Tell whether the proof leads from the leaf to the root."""
    node = leaf
    for sibling in proof:
        node = _node(node, sibling)
    return node == root


def _path(levels: Sequence[Sequence[bytes]], index: int) -> list[bytes]:
    path = []
    for level in levels[:-1]:
        if index ^ 1 < len(level):
            path.append(level[index ^ 1])
        index //= 2
    return path


def _parents(level: Sequence[bytes]) -> list[bytes]:
    pairs = [_node(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
    return pairs + list(level[-1:]) if len(level) % 2 else pairs


def _node(a: bytes, b: bytes) -> bytes:
    return keccak256(a + b if a < b else b + a)
