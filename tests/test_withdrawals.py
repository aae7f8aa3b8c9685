"""Money leaves a running coordinator, on a real chain: signed, requested, refused; and intervals cancelled there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from coordinator.app import LEDGER_FILE
from coordinator.chain.abi import contract
from coordinator.chain.contracts import hexed
from coordinator.chain.devchain import DevChain
from coordinator.chain.keys import sign_compact
from coordinator.chain.rpc import Rpc
from coordinator.ledger.verify import verify
from coordinator.market.state import state_hash
from coordinator.protocol.chain_messages import Withdrawal
from coordinator.protocol.client import CoordinatorClient, CoordinatorRefused
from coordinator.protocol.keys import AccountKey
from coordinator.protocol.messages import Side
from coordinator.protocol.units import interval_start
from tests.e2e.fast_clock import FastClock
from tests.e2e.street import StreetHome
from tests.test_app import FACTOR, WELCOME_MICRO, Street, _act_on_chain, settings, street

WALLET = AccountKey.from_secret(bytes([9]) * 32).address
FAR_S = 30 * 86_400

pytestmark = pytest.mark.timeout(300)


async def funded(here: Street, side: Side = Side.BUY) -> StreetHome:
    """Let a home join, and wait for its money."""
    home = here.home(side)
    await home.enter()
    await here.until("/api/v1/accounts", lambda found: all(a["money_micro"] for a in found["accounts"]))
    return home


async def withdraw(here: Street, home: StreetHome, money_micro: int, **changes: Any) -> dict[str, Any]:
    """Sign a withdrawal to the wallet with the nonce that the account shows, and hand it in."""
    nonce = (await home.client.account(home.account.address))["withdrawal_nonce"]
    deadline = here.clock.now() + FAR_S
    wanted = Withdrawal(home.account.address, WALLET, money_micro, 0, nonce, deadline)
    return await send(here, home, replace(wanted, **changes))


async def send(here: Street, home: StreetHome, wanted: Withdrawal) -> dict[str, Any]:
    signature = home.account.sign(wanted.digest(home.info.domain))
    return await home.client.withdraw(wanted, signature)


async def account_until(here: Street, home: StreetHome, **values: int) -> dict[str, Any]:
    """Wait until the account shows these values."""
    path = f"/api/v1/accounts/{home.account.address}"
    shown = await here.until(path, lambda found: all(found[name] == value for name, value in values.items()))
    assert isinstance(shown, dict)
    return shown


async def wallet_holds(here: Street) -> int:
    token = contract("DemoCurrency")
    call = {"to": here.coordinator.deployment.addresses.currency, "data": hexed(token.encode("balanceOf", WALLET))}
    async with Rpc(here.coordinator.rpc_url) as rpc:
        return int(await rpc.call("eth_call", call, "latest"), 16)


async def test_a_signed_withdrawal_reaches_the_wallet(tmp_path: Path) -> None:
    config = settings(tmp_path)
    async with street(config) as here:
        home = await funded(here)
        answer = await withdraw(here, home, 4_000_000)
        assert (answer["status"], answer["nonce"]) == ("open", 0)
        await account_until(here, home, withdrawing_micro=0, money_micro=WELCOME_MICRO - 4_000_000, withdrawal_nonce=1)
        assert await wallet_holds(here) == 4_000_000
        await withdraw(here, home, 6_000_000)
        await account_until(here, home, withdrawing_micro=0, money_micro=0, withdrawal_nonce=2)
        assert await wallet_holds(here) == WELCOME_MICRO
        health = await here.until("/readyz", lambda h: h["waiting_effects"] == 0)
        assert (health["status"], health["failed_effects"]) == ("ready", 0)
    assert verify(config.data / LEDGER_FILE).findings == []


async def test_a_withdrawal_that_the_contract_refuses_is_released_and_told(tmp_path: Path) -> None:
    """Its owner has brought another one in meanwhile, so the nonce is used: the contract says the next one."""
    config = settings(tmp_path)
    async with street(config) as here:
        home = await funded(here)
        await _relay_alone(here, home, 1_000_000)
        await account_until(here, home, money_micro=WELCOME_MICRO - 1_000_000, withdrawal_nonce=0)
        wanted = Withdrawal(home.account.address, WALLET, 2_000_000, 0, 0, here.clock.now() + FAR_S)
        assert (await send(here, home, wanted))["status"] == "open"
        await account_until(here, home, withdrawing_micro=0, withdrawal_nonce=1)
        told = await send(here, home, wanted)
        assert told["status"] == "refused"
        assert told["reason"].startswith("WithdrawalNonceInvalid(")
        with pytest.raises(CoordinatorRefused) as refused:
            await send(here, home, replace(wanted, deadline=wanted.deadline + 1))
        assert (refused.value.code, refused.value.detail) == ("wrong_nonce", "1")
        await withdraw(here, home, 2_000_000)
        await account_until(here, home, money_micro=WELCOME_MICRO - 3_000_000, withdrawal_nonce=2)
        assert (await here.get("/readyz"))["trading"] == "open"
    assert verify(config.data / LEDGER_FILE).findings == []


async def _relay_alone(here: Street, home: StreetHome, money_micro: int) -> None:
    """Let a home bring its own signed withdrawal: it asks first, and the exit delay is zero here."""
    ledger = contract("EnergyLedger")
    wanted = Withdrawal(home.account.address, WALLET, money_micro, 0, 0, here.clock.now() + FAR_S)
    sealed = sign_compact(home.account, wanted.digest(home.info.domain))
    await _act_on_chain(here, home, ledger.encode("requestWithdrawal", money_micro))
    values = tuple(wanted.to_wire().values()), sealed[:32], sealed[32:]
    await _act_on_chain(here, home, ledger.encode("relayWithdrawal", *values))


async def test_requested_money_is_reserved_until_it_leaves(tmp_path: Path) -> None:
    config, clock = settings(tmp_path), FastClock.starting(FACTOR)
    ledger = contract("EnergyLedger")
    async with street(config, clock) as here:
        home = await funded(here)
        await _act_on_chain(here, home, ledger.encode("requestWithdrawal", 9_999_000))
        await account_until(here, home, requested_micro=9_999_000)
        start = interval_start(clock.now(), 60) + 180
        digest = await home.place(start, 50, 200_000)
        assert home.refused == {digest: "insufficient_funds"}
        await _act_on_chain(here, home, ledger.encode("withdraw", 9_000_000, WALLET))
        await account_until(here, home, requested_micro=999_000, money_micro=1_000_000)
        await _act_on_chain(here, home, ledger.encode("requestWithdrawal", 0))
        await account_until(here, home, requested_micro=0)
        before = state_hash(here.coordinator.ledger.state)
    async with street(config, clock) as here:
        assert state_hash(here.coordinator.ledger.state) == before
        shown = await here.get(f"/api/v1/accounts/{home.account.address}")
        assert (shown["money_micro"], shown["requested_micro"]) == (1_000_000, 0)
    assert verify(config.data / LEDGER_FILE).findings == []


async def test_a_withdrawal_survives_a_chain_and_a_coordinator_that_go(tmp_path: Path) -> None:
    """Accepted without a chain, it is reserved over a restart and brought when the chain is back."""
    clock, node = FastClock.starting(FACTOR), tmp_path / "node"
    async with DevChain(node) as chain:
        config = settings(tmp_path, rpc_url=chain.url)
        port = int(chain.url.rpartition(":")[2])
        async with street(config, clock) as here:
            home = await funded(here)
    async with street(config, clock) as here:
        home.client = CoordinatorClient(here.session, here.coordinator.url)
        assert (await withdraw(here, home, 4_000_000))["status"] == "open"
    async with street(config, clock) as here:
        home.client = CoordinatorClient(here.session, here.coordinator.url)
        await account_until(here, home, withdrawing_micro=4_000_000, money_micro=WELCOME_MICRO)
        async with DevChain(node, port=port):
            await account_until(here, home, withdrawing_micro=0, money_micro=WELCOME_MICRO - 4_000_000)
            assert await wallet_holds(here) == 4_000_000
            await here.until("/readyz", lambda h: h["status"] == "ready" and h["waiting_effects"] == 0)


async def test_an_interval_cancelled_on_chain_takes_its_owner_out_of_the_book(tmp_path: Path) -> None:
    async with street(settings(tmp_path)) as here:
        home = await funded(here)
        now = await _chain_now(here)
        start = interval_start(now, 60) + 120  # as the chain's clock has it, which tests set a day ahead
        await _act_on_chain(here, home, contract("EnergyLedger").encode("cancelInterval", start))
        address = home.account.address
        ledger = here.coordinator.ledger
        await here.until("/readyz", lambda _: start in ledger.state.accounts[address].cancelled)


async def _chain_now(here: Street) -> int:
    async with Rpc(here.coordinator.rpc_url) as rpc:
        return int((await rpc.call("eth_getBlockByNumber", "latest", False))["timestamp"], 16)
