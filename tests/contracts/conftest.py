"""The same chain and contracts as the chain's own tests."""

from __future__ import annotations

from tests.chain.conftest import chain, community, operator, rpc

__all__ = ["chain", "community", "operator", "rpc"]
