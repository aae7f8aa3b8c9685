"""Handlers of questions: what is public to all, what is an account's own with its session."""

from __future__ import annotations

from .answers import (
    AccountAnswer,
    AccountsAnswer,
    AliveAnswer,
    ContractAnswer,
    ContractsAnswer,
    CorrectionsAnswer,
    FeedsAnswer,
    HealthAnswer,
    IntervalsAnswer,
    MarketAnswer,
    MeterAnswer,
    ReceiptAnswer,
    ReceiptsAnswer,
)
from .call import Call, Reply
from .errors import Refusal
from .trading_answers import (
    AuctionAnswer,
    AuctionsAnswer,
    BookAnswer,
    BundleAnswer,
    OrderAnswer,
    OrdersAnswer,
    TradesAnswer,
)
from .wire import (
    AccountPage,
    AccountPath,
    AuctionPage,
    AuctionPath,
    BookPath,
    ContractPath,
    IntervalPage,
    MeterPath,
    NoParameters,
    OrderPath,
    ReceiptPage,
    ReceiptPath,
    SessionPath,
    TradePage,
    unhex,
)


async def market(call: Call[NoParameters, None]) -> Reply[MarketAnswer]:
    """Return the market's rules, contracts and state."""
    return Reply(200, call.services.views.market())


async def contracts(call: Call[NoParameters, None]) -> Reply[ContractsAnswer]:
    """Return where the contracts are, and where their ABIs."""
    return Reply(200, call.services.contracts)


async def contract(call: Call[ContractPath, None]) -> Reply[ContractAnswer]:
    """Return one contract's address and ABI."""
    name = call.parameters.name
    place = next((place for place in call.services.contracts["contracts"] if place["name"] == name), None)
    if place is None:
        raise Refusal("not_found", "No contract of this market has this name.")
    return Reply(200, {"name": name, "address": place["address"], "abi": call.services.interface(name)})


async def feeds(call: Call[NoParameters, None]) -> Reply[FeedsAnswer]:
    """Return what the outside price feeds said last."""
    return Reply(200, {"feeds": call.services.feeds()})


async def meter(call: Call[MeterPath, None]) -> Reply[MeterAnswer]:
    """Return what the coordinator knows of a meter, to its owner."""
    services, device_id = call.services, int(call.parameters.device_id, 16)
    answer = await services.views.meter(device_id)
    if answer is None:
        raise Refusal("unknown_meter", "No meter with this device id is registered here: register it first.")
    call.only(answer["account"])
    return Reply(200, {**answer, "installation": services.leases.holder(device_id, services.clock.now())})


async def intervals(call: Call[IntervalPage, None]) -> Reply[IntervalsAnswer]:
    """Return delivery intervals, oldest first."""
    found = await call.services.views.intervals(call.parameters.since, call.parameters.limit)
    return Reply(200, {"intervals": found})


async def book(call: Call[BookPath, None]) -> Reply[BookAnswer]:
    """Return the depth of one interval's book."""
    answer = call.services.views.book(call.parameters.delivery_start, call.parameters.node)
    if answer is None:
        text = (
            "No order book: the interval is no delivery interval, its book is gone, or no such node is in the market."
        )
        raise Refusal("not_found", text)
    return Reply(200, answer)


async def auctions(call: Call[AuctionPage, None]) -> Reply[AuctionsAnswer]:
    """Return the newest auctions, closing auctions and sessions."""
    return Reply(200, {"auctions": await call.services.views.auctions(call.parameters.limit)})


async def auction(call: Call[AuctionPath, None]) -> Reply[AuctionAnswer]:
    """Return the auction at one interval's gate with its certificate."""
    return _auction(await call.services.views.auction("closing", call.parameters.delivery_start))


async def session_auction(call: Call[SessionPath, None]) -> Reply[AuctionAnswer]:
    """Return one session auction with its certificate."""
    return _auction(await call.services.views.auction("session", call.parameters.session_at))


async def trades(call: Call[TradePage, None]) -> Reply[TradesAnswer]:
    """Return the newest trades."""
    found = await call.services.views.trades(call.parameters.delivery_start, call.parameters.limit)
    return Reply(200, {"trades": found})


async def accounts(call: Call[NoParameters, None]) -> Reply[AccountsAnswer]:
    """Return all members with their balances."""
    return Reply(200, {"accounts": await call.services.views.accounts()})


async def account(call: Call[AccountPath, None]) -> Reply[AccountAnswer]:
    """Return one member with its balances."""
    answer = await call.services.views.account(call.parameters.address)
    if answer is None:
        raise Refusal("not_found", "No member has this account.")
    return Reply(200, answer)


async def orders(call: Call[AccountPage, None]) -> Reply[OrdersAnswer]:
    """Return an account's newest orders, to their owner."""
    call.only(call.parameters.address)
    return Reply(200, {"orders": await call.services.views.orders(call.parameters.address, call.parameters.limit)})


async def order(call: Call[OrderPath, None]) -> Reply[OrderAnswer]:
    """Return one order with its present status, to its owner."""
    answer = await call.services.views.order(unhex(call.parameters.digest))
    if answer is None:
        raise Refusal("unknown_order", "No order with this digest was placed here.")
    call.only(answer["terms"]["account"])
    return Reply(200, answer)


async def bundle(call: Call[OrderPath, None]) -> Reply[BundleAnswer]:
    """Return one bundle with its present status and its legs', to its owner."""
    digest, views = unhex(call.parameters.digest), call.services.views
    answer, owner = views.bundle(digest), views.bundle_owner(digest)
    if answer is None or owner is None:
        raise Refusal("not_found", "No bundle has this hash, or its intervals are settled: ask for the legs' orders.")
    call.only(owner)
    return Reply(200, answer)


async def receipts(call: Call[ReceiptPage, None]) -> Reply[ReceiptsAnswer]:
    """Return an account's settlement receipts in short, to their owner."""
    asked = call.parameters
    call.only(asked.address)
    return Reply(200, {"receipts": await call.services.views.receipts(asked.address, asked.since, asked.limit)})


async def receipt(call: Call[ReceiptPath, None]) -> Reply[ReceiptAnswer]:
    """Return one settlement receipt with its proof, to its owner."""
    call.only(call.parameters.address)
    answer = await call.services.views.receipt(call.parameters.address, call.parameters.delivery_start)
    if answer is None:
        raise Refusal("not_found", "The account has no receipt for this interval (yet).")
    return Reply(200, answer)


def _auction(answer: AuctionAnswer | None) -> Reply[AuctionAnswer]:
    if answer is None:
        raise Refusal("not_found", "No auction was held then, or its certificate is no longer kept.")
    return Reply(200, answer)


async def corrections(call: Call[AccountPath, None]) -> Reply[CorrectionsAnswer]:
    """Return corrections of an account's settled intervals, to their owner."""
    call.only(call.parameters.address)
    return Reply(200, {"corrections": await call.services.views.corrections(call.parameters.address)})


async def alive(_call: Call[NoParameters, None]) -> Reply[AliveAnswer]:
    """Say that the process answers."""
    return Reply(200, {"status": "alive"})


async def ready(call: Call[NoParameters, None]) -> Reply[HealthAnswer]:
    """Say whether the coordinator can do its work, and what is missing."""
    health = call.services.health()
    return Reply(503 if health["status"] == "unavailable" else 200, health)
