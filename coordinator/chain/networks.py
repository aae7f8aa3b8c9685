"""The chains that the contracts are deployed to, and what must be true of one before they are.

``contracts/networks.json`` names them; a chain that it does not name needs its settlement currency and
its sequencer's feed from the operator.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

from .abi import artifact, contract
from .contracts import hexed
from .rpc import Rpc, RpcError, data

ZERO_ADDRESS = "0x" + "00" * 20
_CURRENCY_DECIMALS = 6
_CAUTIOUS_DELAYS_S = {"admin": 172_800, "compliance": 86_400}


class DeploymentError(Exception):
    """The contracts cannot be put on this chain or used; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Network:
    """One chain. ``None``: it has no such thing, or none that is known.

    ``data_fee_oracle`` tells what the OP Stack takes for a transaction's bytes on top of its gas. The
    delays are the seconds between an act's announcement and its execution.
    """

    name: str
    chain_id: int
    kind: Literal["local", "layer-1", "layer-2", "unknown"]
    currency: str | None
    sequencer_uptime_feed: str | None
    data_fee_oracle: str | None
    admin_delay_s: int
    compliance_delay_s: int

    @property
    def is_local(self) -> bool:
        """Whether it is a chain of play money."""
        return self.kind == "local"


@cache
def networks() -> tuple[Network, ...]:
    """Return the networks that ``networks.json`` names."""
    return tuple(
        Network(
            name=name,
            chain_id=values["chain_id"],
            kind=values["kind"],
            currency=values["currency"] and values["currency"]["address"].lower(),
            sequencer_uptime_feed=values["sequencer_uptime_feed"],
            data_fee_oracle=values.get("data_fee_oracle"),
            admin_delay_s=values["delays_s"]["admin"],
            compliance_delay_s=values["delays_s"]["compliance"],
        )
        for name, values in artifact("networks").items()
    )


def network_of(chain_id: int, wanted: str | None = None) -> Network:
    """Return the network of a chain id. Raises ``DeploymentError`` when it is not the one that is wanted."""
    known = {network.chain_id: network for network in networks()}
    cautious = _CAUTIOUS_DELAYS_S
    unknown = Network(
        f"chain {chain_id}", chain_id, "unknown", None, None, None, cautious["admin"], cautious["compliance"]
    )
    found = known.get(chain_id, unknown)
    if wanted is None or found.name == wanted:
        return found
    raise DeploymentError(
        f"{wanted} has the chain id {network_called(wanted).chain_id}, the node's is {chain_id}: set chain.rpc_url or"
        " --rpc-url right"
    )


def network_called(name: str) -> Network:
    """Return the network of a name. Raises ``DeploymentError``."""
    found = {network.name: network for network in networks()}
    if name not in found:
        raise DeploymentError(f"no network is called {name!r}; there are {', '.join(found)}")
    return found[name]


async def check_currency(rpc: Rpc, address: str) -> None:
    """Refuse a settlement currency that is no token with six decimals. Raises ``DeploymentError``."""
    code, decimals = await rpc.batch(
        [
            ("eth_getCode", (address, "latest")),
            ("eth_call", ({"to": address, "data": hexed(contract("DemoCurrency").encode("decimals"))}, "latest")),
        ]
    )
    if isinstance(code, RpcError) or not data(code):
        raise DeploymentError(f"the settlement currency {address} has no code there; set chain.currency_token right")
    told = None if isinstance(decimals, RpcError) else contract("DemoCurrency").result("decimals", data(decimals))
    if told != (_CURRENCY_DECIMALS,):
        said = "tells no decimals" if told is None else f"has {told[0]} decimals"
        raise DeploymentError(
            f"the settlement currency {address} {said}, it must have {_CURRENCY_DECIMALS};"
            " set chain.currency_token right"
        )


async def check_feed(rpc: Rpc, address: str) -> None:
    """Refuse a sequencer uptime feed that does not answer as one. Raises ``DeploymentError``."""
    call = {"to": address, "data": "0xfeaf968c"}  # latestRoundData() of Chainlink's AggregatorV3Interface
    try:
        answer = data(await rpc.call("eth_call", call, "latest"))
    except RpcError:
        answer = b""
    if len(answer) != 5 * 32:
        raise DeploymentError(
            f"the sequencer uptime feed {address} answers no latestRoundData() there;"
            " set contracts.sequencer_uptime_feed right"
        )
