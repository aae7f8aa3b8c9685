"""An interval that is settled at the deadline without all readings, and what comes after."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from coordinator.ledger.corrections import CorrectionRecord, corrections_of
from coordinator.ledger.replay import replay
from coordinator.ledger.verify import verify
from coordinator.market.commands import BookCorrection, ConfirmSettlement, RegisterMeter, SignCorrection
from coordinator.market.state import OpenCorrection, state_hash
from coordinator.protocol.messages import Side
from tests.ledger.world import CONFIG, DOMAIN, MARKET, START, Home, World, sign_compact

DELIVERY, END = START + 60, START + 120
DEADLINE = END + CONFIG.reading_deadline_s
MONEY_MICRO = 100_000_000


async def settled_at_the_deadline(world: World, anna: Home, bert: Home, *, halfway_wh: int = 0) -> None:
    """Anna sells 300 Wh to Bert at 0.20; her meter is last heard of within the interval, Bert's at its end."""
    await world.join(anna, bert)
    await world.commit(anna.order(Side.SELL, 300, 200_000, DELIVERY))
    await world.commit(bert.order(Side.BUY, 300, 250_000, DELIVERY))
    for home in (anna, bert):
        await world.read(home, DELIVERY)
    if halfway_wh:
        world.clock.set(DELIVERY + 30)
        await world.read(anna, DELIVERY + 30, production_wh=halfway_wh)
    world.clock.set(END)
    await world.read(bert, END, consumption_wh=300)
    world.clock.set(DEADLINE)
    await world.ledger.step()


async def traded(world: World, anna: Home, bert: Home) -> None:
    """Trade, and read the meters at the interval's beginning."""
    await world.join(anna, bert)
    await world.commit(anna.order(Side.SELL, 300, 200_000, DELIVERY))
    await world.commit(bert.order(Side.BUY, 300, 250_000, DELIVERY))
    for home in (anna, bert):
        await world.read(home, DELIVERY)
    world.clock.set(DELIVERY + 25)


async def confirm(world: World, revision: int = 0) -> None:
    key = f"settle:{DELIVERY}:{revision}"
    await world.ledger.outbox.mark_sent(key, 1, b"raw", "0xaa")
    result = await world.ledger.submit(ConfirmSettlement(DELIVERY, "0xaa", 12, 90_000), completes=key)
    assert not hasattr(result, "code"), result


def settlement(world: World) -> Any:
    return world.ledger.state.intervals[DELIVERY].settlement


def correction(world: World) -> OpenCorrection:
    found = world.ledger.state.intervals[DELIVERY].correction
    assert found is not None
    return found


def gained(world: World, *homes: Home) -> list[int]:
    return [world.ledger.state.accounts[home.address].money_micro - MONEY_MICRO for home in homes]


async def records(world: World, home: Home) -> list[CorrectionRecord]:
    return await world.ledger.queries.run(lambda connection: corrections_of(connection, MARKET, home.address))


def consent(home: Home, record: CorrectionRecord) -> SignCorrection:
    return SignCorrection(record.correction, sign_compact(record.correction.digest(DOMAIN), home.account))


async def booked(world: World, reference: str = "0xcc:0") -> None:
    proposed = correction(world).proposed
    await world.commit(BookCorrection(DELIVERY, proposed.revision, proposed.changes, reference))


async def pending(world: World) -> list[str]:
    return [effect.key for effect in await world.ledger.outbox.pending(100) if "welcome" not in effect.key]


async def the_log_holds(world: World, folder: Path) -> None:
    before = state_hash(world.ledger.state)
    assert verify(folder / "ledger.sqlite").findings == []
    assert replay(folder / "ledger.sqlite").state_hash == before


def also_metered_by(home: Home, second: Home) -> RegisterMeter:
    """Register the second home's meter for the first home."""
    _, register, _ = home.join()
    assert isinstance(register, RegisterMeter)
    return replace(register, device_id=second.meter.device_id, public_key=second.meter.public_key)
