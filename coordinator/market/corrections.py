"""Corrections of settled intervals whose batch is on chain: proposed, signed by those who lose, agreed, booked.

Nothing moves before the contract has taken the correction. Each proposal has a new revision; a newer one takes
the place of one that is still open, and with it of the signatures under it.
"""

from __future__ import annotations

from ..protocol.chain_messages import Correction
from .commands import AccountChange, EndCorrection, SignCorrection
from .events import (
    CorrectionAgreed,
    CorrectionEnded,
    CorrectionProposed,
    CorrectionRow,
    CorrectionSigned,
    Event,
    IntervalCorrected,
    Rejected,
    SettlementRow,
)
from .rejections import Code, refuse
from .state import Interval, MarketState, OpenCorrection

type Decision = tuple[Event, ...] | Rejected


def loses(change: AccountChange) -> bool:
    """Tell whether a correction takes something from the account, so that the contract wants its signature."""
    return change.money_micro < 0 or change.energy_wh < 0


def next_revision(interval: Interval) -> int:
    """Return the number of the interval's next settlement or correction."""
    settled = -1 if interval.settlement is None else interval.settlement.revision
    proposed = -1 if interval.correction is None else interval.correction.proposed.revision
    return max(settled, proposed) + 1


def to_sign(market: str, proposed: CorrectionProposed, change: AccountChange) -> Correction:
    """Return the message by which an account agrees to its change."""
    return Correction(
        account=change.account,
        market=market,
        delivery_start=proposed.delivery_start,
        revision=proposed.revision,
        energy_wh=change.energy_wh,
        money_micro=change.money_micro,
        receipts_root=proposed.receipts_root,
    )


def judge_correction(state: MarketState, command: SignCorrection | EndCorrection) -> Decision:
    """Book a consent to the correction that is proposed, or give it up."""
    return _sign(state, command) if isinstance(command, SignCorrection) else _end(state, command)


def _sign(state: MarketState, command: SignCorrection) -> Decision:
    """Book a consent; the last one that is needed sends the correction to the chain."""
    signed = command.correction
    interval = state.intervals.get(signed.delivery_start)
    correction = interval.correction if interval is not None else None
    if correction is None or correction.stage != "proposed":
        return refuse(Code.UNKNOWN_CORRECTION, "no correction of this interval waits for signatures")
    proposed = correction.proposed
    change = next((change for change in proposed.changes if change.account == signed.account), None)
    if change is None or not loses(change):
        return refuse(Code.NOTHING_TO_SIGN, "the correction takes nothing from this account; it need not sign")
    if signed != to_sign(state.rules.market, proposed, change):
        return refuse(Code.CORRECTION_CHANGED, "the correction is another by now; read it again before signing")
    if signed.account in correction.signatures:
        return refuse(Code.ALREADY_SIGNED, "the account has signed this correction already")
    event = CorrectionSigned(proposed.delivery_start, proposed.revision, signed.account, command.signature)
    signatures = correction.signatures | {signed.account: command.signature}
    return (event, *agreed(proposed, signatures))


def agreed(proposed: CorrectionProposed, signatures: dict[str, bytes]) -> tuple[CorrectionAgreed, ...]:
    """Return the agreement, once everybody who loses has signed."""
    if any(loses(change) and change.account not in signatures for change in proposed.changes):
        return ()
    rows = (
        CorrectionRow(change.account, change.money_micro, change.energy_wh, signatures.get(change.account, b""))
        for change in proposed.changes
    )
    roots = proposed.readings_root, proposed.receipts_root
    return (CorrectionAgreed(proposed.delivery_start, proposed.revision, tuple(rows), *roots),)


def _end(state: MarketState, command: EndCorrection) -> Decision:
    """Give a correction up that has not been booked."""
    interval = state.intervals.get(command.delivery_start)
    correction = interval.correction if interval is not None else None
    if correction is None or correction.proposed.revision != command.revision or not correction.is_open:
        return refuse(Code.NOTHING_DUE, "this correction has ended already")
    return (CorrectionEnded(command.delivery_start, command.revision, command.reason),)


def apply_correction(
    state: MarketState, event: CorrectionProposed | CorrectionSigned | CorrectionAgreed | CorrectionEnded
) -> None:
    """Note how far a correction is."""
    interval = state.intervals[event.delivery_start]
    if isinstance(event, CorrectionProposed):
        interval.correction = OpenCorrection(event)
        return
    assert interval.correction is not None
    match event:
        case CorrectionSigned():
            interval.correction.signatures[event.account] = event.signature
        case CorrectionAgreed():
            interval.correction.stage = "agreed"
        case CorrectionEnded():
            interval.correction.stage = "ended"


def is_agreed(state: MarketState, event: IntervalCorrected) -> bool:
    """Tell whether a correction on chain is the one that was agreed here."""
    interval = state.intervals.get(event.delivery_start)
    correction = interval.correction if interval is not None else None
    if correction is None or correction.stage != "agreed" or correction.proposed.revision != event.revision:
        return False
    return correction.proposed.changes == event.changes


def apply_corrected(state: MarketState, event: IntervalCorrected) -> None:
    """Let the agreed settlement be the one in force; money and energy have moved with the chain's event."""
    if not is_agreed(state, event):
        return
    interval = state.intervals[event.delivery_start]
    assert interval.correction is not None
    assert interval.settlement is not None
    for row in interval.settlement.rows:
        _count(state, row, -1)
    for row in interval.correction.proposed.rows:
        _count(state, row, 1)
    interval.settlement = interval.correction.proposed
    interval.correction.stage = "booked"


def _count(state: MarketState, row: SettlementRow, sign: int) -> None:
    """Add a row to its account's totals (1), or take it off (-1)."""
    account = state.accounts[row.account]
    if state.orders[row.order].is_buy:
        account.bought_wh += sign * row.executed_wh
        account.cost_micro += sign * row.value_micro
    else:
        account.sold_wh += sign * row.executed_wh
        account.revenue_micro += sign * row.value_micro
