"""Each function of the four seed interfaces, called as it is written, through web3 against anvil."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from eth_typing import ChecksumAddress
from web3 import Web3
from web3.contract import Contract
from web3.contract.contract import ContractFunction
from web3.logs import DISCARD
from web3.types import RPCEndpoint, TxReceipt, Wei

from coordinator.chain.devchain import DevChain
from coordinator.protocol.keys import AccountKey, MeterKey
from coordinator.protocol.messages import MeterRegistration, Reading
from tests.chain.support import Community, Home, compact

ARTIFACTS = Path(__file__).parents[2] / "coordinator" / "chain" / "artifacts"
ENERGY = 2 * 10**18  # 2 kWh in token units
PRICE_MICRO = 250_000
PAYMENT_MICRO = 500_000
SOLAR = 1


class Chain:
    """A wallet's view: contracts by name, transactions signed and mined."""

    def __init__(self, chain: DevChain, community: Community) -> None:
        self.web3 = Web3(Web3.HTTPProvider(chain.url))
        self.community = community
        at = community.deployment.addresses
        self.token = self._at("EnergyToken", at.token)
        self.registry = self._at("SmartMeterRegistry", at.registry)
        self.grid = self._at("GridManagement", at.grid)
        self.trading = self._at("P2PTrading", at.trading)
        self.currency = self._at("DemoCurrency", at.currency)
        self.ledger = self._at("EnergyLedger", at.ledger)

    def send(self, key: AccountKey, call: ContractFunction, value: int = 0) -> TxReceipt:
        sender = checksum(key.address)
        transaction = call.build_transaction(
            {"from": sender, "nonce": self.web3.eth.get_transaction_count(sender), "value": Wei(value)}
        )
        signed = Account.sign_transaction(transaction, key.secret)
        receipt = self.web3.eth.wait_for_transaction_receipt(self.web3.eth.send_raw_transaction(signed.raw_transaction))
        assert receipt["status"] == 1
        return receipt

    def fund(self, key: AccountKey) -> None:
        self.web3.provider.make_request(RPCEndpoint("anvil_setBalance"), [key.address, hex(10**18)])

    def _at(self, name: str, address: str) -> Contract:
        return self.web3.eth.contract(address=checksum(address), abi=abi(name))


def abi(name: str) -> list[dict[str, Any]]:
    interface: list[dict[str, Any]] = json.loads((ARTIFACTS / f"{name}.json").read_text(encoding="utf-8"))["abi"]
    return interface


def checksum(address: str) -> ChecksumAddress:
    return Web3.to_checksum_address(address)


@pytest.fixture
def wallets(chain: DevChain, community: Community) -> Chain:
    return Chain(chain, community)


@pytest.fixture
def seller(wallets: Chain, operator: AccountKey) -> Home:
    """A home with a registered meter of 10 kW."""
    home = Home()
    wallets.fund(home.account)
    key = home.meter.public_key
    message = MeterRegistration(home.meter.device_id, home.address, key[:32], key[32:], 25_000, 10_000)
    digest = message.digest(wallets.community.domain)
    proof = wallets.web3.codec.encode(
        ["bytes32", "bytes32", "address", "uint32", "uint32", "bytes", "bytes"],
        [key[:32], key[32:], home.address, 25_000, 10_000, home.meter.sign(digest), compact(home.account, digest)],
    )
    register = wallets.registry.functions.registerMeter(home.meter.device_id, proof)
    assert register.call({"from": checksum(operator.address)}) is True
    wallets.send(operator, register)
    return home


@pytest.fixture
def buyer(wallets: Chain, operator: AccountKey) -> AccountKey:
    key = AccountKey.generate()
    wallets.fund(key)
    wallets.send(operator, wallets.currency.functions.transfer(checksum(key.address), PAYMENT_MICRO))
    return key


def test_energy_token(wallets: Chain, seller: Home, buyer: AccountKey, operator: AccountKey) -> None:
    token, home, other = wallets.token, checksum(seller.address), checksum(buyer.address)
    minted = wallets.send(operator, token.functions.mintEnergyTokens(home, ENERGY, SOLAR))
    token_id = token.events.EnergyMinted().process_receipt(minted, DISCARD)[0]["args"]["tokenId"]
    timestamp, amount, source, carbon = token.functions.energyUnit(token_id).call()
    assert (timestamp % 900, amount, source, carbon) == (0, ENERGY, SOLAR, 898)
    wallets.send(seller.account, token.functions.transferEnergy(home, other, ENERGY // 2))
    wallets.send(buyer, token.functions.burnEnergyTokens(other, ENERGY // 4))
    balances = [token.functions.balanceOf(account).call() for account in (home, other)]
    assert balances == [ENERGY // 2, ENERGY // 4]
    assert token.functions.totalSupply().call() == sum(balances)


def test_grid_management(wallets: Chain, operator: AccountKey) -> None:
    grid = wallets.grid
    wallets.send(operator, grid.functions.updateGridMetrics(7, 98_000, 100_000))
    assert tuple(grid.functions.getGridStatus(7).call()) == (98_000, 2_000, 20_000, True)
    triggered = wallets.send(operator, grid.functions.triggerLoadBalancing(7))
    request = grid.events.LoadBalancingTriggered().process_receipt(triggered)[0]["args"]
    assert (request["nodeId"], request["requestId"], request["stability"]) == (7, 1, 20_000)


def test_p2p_trading(wallets: Chain, seller: Home, buyer: AccountKey, operator: AccountKey) -> None:
    trading, token, currency = wallets.trading, wallets.token, wallets.currency
    wallets.send(operator, token.functions.mintEnergyTokens(checksum(seller.address), ENERGY, SOLAR))
    wallets.send(seller.account, token.functions.approve(trading.address, ENERGY))
    created = wallets.send(seller.account, trading.functions.createSellOrder(ENERGY, PRICE_MICRO, 3_600))
    order = trading.events.SellOrderCreated().process_receipt(created, DISCARD)[0]["args"]["orderId"]
    wallets.send(buyer, currency.functions.approve(trading.address, PAYMENT_MICRO))
    wallets.send(buyer, trading.functions.matchOrder(order))
    wallets.send(buyer, trading.functions.settleTrade(order))
    wallets.send(seller.account, trading.functions.settleTrade(order))
    sold_by, bought_by, amount, price, _, completed = trading.functions.tradeOf(order).call()
    assert (sold_by.lower(), bought_by.lower(), amount, price, completed) == (
        seller.address,
        buyer.address,
        ENERGY,
        PRICE_MICRO,
        True,
    )
    assert token.functions.balanceOf(checksum(buyer.address)).call() == ENERGY
    assert currency.functions.balanceOf(checksum(seller.address)).call() == PAYMENT_MICRO


def test_smart_meter(wallets: Chain, seller: Home, buyer: AccountKey) -> None:
    reading = Reading(seller.meter.device_id, 1, int(time.time()) - 60, 1_234_567, 89_012, 2)
    signature = sign(wallets, seller.meter, reading)
    arguments: tuple[Any, ...] = (seller.meter.device_id, pack(reading), signature)
    assert wallets.registry.functions.verifyReading(*arguments).call() is True
    wallets.send(buyer, wallets.registry.functions.submitReading(*arguments))  # anyone may
    kept = wallets.registry.functions.lastReading(seller.meter.device_id).call()
    assert list(kept[:4]) == [reading.device_id, reading.timestamp, reading.consumption_wh, reading.production_wh]
    assert wallets.registry.functions.verifyReading(*arguments[:2], bytes(128)).call() is False


def sign(wallets: Chain, meter: MeterKey, reading: Reading) -> bytes:
    return meter.sign(reading.digest(wallets.community.domain)) + reading.previous + reading.samples


def pack(reading: Reading) -> int:
    """Timestamp 40, sequence 40, consumption 64, production 64, flags 16, zero 32."""
    packed = reading.timestamp << 40 | reading.sequence
    packed = packed << 64 | reading.consumption_wh
    packed = packed << 64 | reading.production_wh
    return (packed << 16 | reading.flags) << 32
