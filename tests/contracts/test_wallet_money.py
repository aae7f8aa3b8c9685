"""A wallet's deposits without an approval of its own: by permit, and by an authorisation that others bring."""

from __future__ import annotations

from typing import Any

from eth_account import Account

from coordinator.protocol.keys import AccountKey
from tests.contracts.test_seed_interfaces import PAYMENT_MICRO, Chain, buyer, checksum, wallets

__all__ = ["buyer", "wallets"]

NEVER = 2**64 - 1


def test_deposit_with_a_permit(wallets: Chain, buyer: AccountKey) -> None:
    ledger, owner = wallets.ledger, checksum(buyer.address)
    message = {"owner": owner, "spender": ledger.address, "value": PAYMENT_MICRO, "nonce": 0, "deadline": NEVER}
    types = [("owner", "address"), ("spender", "address"), ("value", "uint256"), ("nonce", "uint256")]
    v, r, s = signed(wallets, buyer, "Permit", [*types, ("deadline", "uint256")], message)
    wallets.send(buyer, ledger.functions.depositWithPermit(PAYMENT_MICRO, NEVER, v, r, s))
    assert ledger.functions.accountOf(owner).call()[:2] == [0, PAYMENT_MICRO]


def test_deposit_that_somebody_else_brings(wallets: Chain, buyer: AccountKey, operator: AccountKey) -> None:
    """The owner signs and pays no gas; the bringer gets nothing of it."""
    ledger, owner = wallets.ledger, checksum(buyer.address)
    before = ledger.functions.accountOf(checksum(operator.address)).call()
    arguments = [owner, PAYMENT_MICRO, 0, NEVER, b"\x07" * 32]
    names = ("from", "to", "value", "validAfter", "validBefore", "nonce")
    kinds = ("address", "address", "uint256", "uint256", "uint256", "bytes32")
    message = dict(zip(names, [owner, ledger.address, *arguments[1:]], strict=True))
    types = list(zip(names, kinds, strict=True))
    v, r, s = signed(wallets, buyer, "ReceiveWithAuthorization", types, message)
    wallets.send(operator, ledger.functions.depositWithAuthorization(*arguments, v, r, s))
    assert ledger.functions.accountOf(owner).call()[:2] == [0, PAYMENT_MICRO]
    assert ledger.functions.accountOf(checksum(operator.address)).call() == before


def signed(
    wallets: Chain, key: AccountKey, name: str, types: list[tuple[str, str]], message: dict[str, Any]
) -> tuple[int, bytes, bytes]:
    """Sign typed data in the currency's domain, as a wallet does."""
    made = Account.sign_typed_data(
        key.secret,
        {
            "name": "Demo Euro",
            "version": "1",
            "chainId": wallets.web3.eth.chain_id,
            "verifyingContract": wallets.currency.address,
        },
        {name: [{"name": field, "type": kind} for field, kind in types]},
        message,
    )
    return made.v, made.r.to_bytes(32, "big"), made.s.to_bytes(32, "big")
