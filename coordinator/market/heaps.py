"""Looking into a heap without changing it."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop, heappush
from typing import Any


def in_order[T: (int, tuple[int, int, Any])](heap: list[T]) -> Iterator[T]:
    """Walk a heap from its smallest item on without changing it: O(log k) for the k-th item."""
    frontier = [(heap[0], 0)] if heap else []
    while frontier:
        item, index = heappop(frontier)
        yield item
        for child in (2 * index + 1, 2 * index + 2):
            if child < len(heap):
                heappush(frontier, (heap[child], child))
