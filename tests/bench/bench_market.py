"""The market's clearing, each part beside its peers: continuous trading, closing auction, session auction.

``script/bench market`` makes ``.venv-peers`` first; without it the peers are left out. Each part has a module of its
own that runs alone too.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from tests.bench import market_auction, market_continuous, market_session

_PEERS = Path(".venv-peers/bin/python")
_PARTS: dict[str, Callable[[str | None], None]] = {
    "continuous": market_continuous.report,
    "auction": market_auction.report,
    "session": lambda _: market_session.report(),
}


def report(parts: list[str]) -> None:
    """Print the named parts, or all."""
    peers = str(_PEERS) if _PEERS.exists() else None
    if peers is None:
        print(f"No {_PEERS}: without peers.")
    for part in parts or _PARTS:
        _PARTS[part](peers)


if __name__ == "__main__":
    report(sys.argv[1:])
