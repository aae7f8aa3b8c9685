"""Where the contracts are, as wallets and dashboards ask for it."""

from __future__ import annotations

from tests.edge.support import DOMAIN, Door


async def test_contracts_are_told_with_chain_and_domain(door: Door) -> None:
    answer = await door.ask("GET", "/contracts")
    assert answer.status == 200
    assert answer.body["chain_id"] == DOMAIN.chain_id
    assert answer.body["domain_separator"] == "0x" + DOMAIN.separator().hex()
    (place,) = answer.body["contracts"]
    async with door.client.get(place["abi"]) as response:
        assert response.status == 200
        one = await response.json()
    assert (one["name"], one["address"]) == ("EnergyLedger", DOMAIN.ledger)
    assert one["abi"] == [{"type": "function", "name": "EnergyLedger"}]


async def test_a_contract_that_is_not_there_is_not_found(door: Door) -> None:
    assert (await door.ask("GET", "/contracts/DemoCurrency")).code == "not_found"
    assert (await door.ask("GET", "/contracts/..%2Fsecret")).code == "malformed"
