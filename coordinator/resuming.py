"""The operator's word after a halt: trading goes on, and what the chain refused is sent again."""

from __future__ import annotations

from dataclasses import dataclass

from .chain.ports import Effect
from .ledger import Ledger
from .market.commands import ResumeTrading
from .market.events import Rejected
from .market.state import IntervalStage, MarketState
from .premises import StartError


@dataclass(frozen=True, slots=True)
class Resumed:
    """Why trading had stopped (``None``: it had not), what is sent again, and what failed and is not."""

    halted: str | None
    again: tuple[str, ...]
    left: tuple[str, ...]


async def resume(ledger: Ledger, reason: str) -> Resumed:
    """Book the operator's word, then let failed settlements and withdrawals be sent again.

    Raises ``StartError`` when neither is there to be done. A crash between the two leaves the second to be asked
    for again.
    """
    failures = await ledger.outbox.failures()
    again = tuple(effect.key for effect in failures if _can_go_again(effect, ledger.state))
    halted = ledger.state.halted
    if halted is not None or not again:
        result = await ledger.submit(ResumeTrading(reason))
        if isinstance(result, Rejected):
            raise StartError(f"Nothing was changed: {result.message}, and nothing failed that can be sent again.")
    await ledger.outbox.try_again(again)
    return Resumed(halted, again, tuple(effect.key for effect in failures if effect.key not in again))


def _can_go_again(effect: Effect, state: MarketState) -> bool:
    """Tell whether the ledger still counts on it.

    A settled interval is not confirmed yet; a withdrawal's money is still reserved. Once that is free its owner
    may have spent it, and signs another withdrawal.
    """
    if effect.kind == "settle_batch":
        interval = state.intervals.get(int(effect.payload["delivery_start"]))
        return interval is not None and interval.stage is IntervalStage.SETTLED
    if effect.kind == "relay_withdrawal":
        account = state.accounts.get(str(effect.payload["withdrawal"]["account"]))
        pending = account.withdrawal if account is not None else None
        return pending is not None and pending.is_open and pending.number == int(effect.payload["number"])
    return False
