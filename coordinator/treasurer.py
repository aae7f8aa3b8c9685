"""The fee account's part in corrections: what one takes from it, the operator agrees to, if the account is its own.

A correction rests on signed readings and is the same arithmetic as the settlement before; the operator's coordinator
proposed it. A fee account of somebody else has to be signed for by its owner, over the API.
"""

from __future__ import annotations

import structlog

from .chain.keys import sign_compact
from .ledger import Ledger
from .market.commands import SignCorrection
from .market.corrections import loses, to_sign
from .market.events import CorrectionProposed, Rejected
from .protocol.keys import AccountKey
from .protocol.typed_data import Domain

_log = structlog.get_logger(__name__)


async def sign_for_fees(ledger: Ledger, operator: AccountKey, domain: Domain) -> None:
    """Sign what waits for the operator's account now and later, until cancelled or the ledger closes."""
    while True:
        with ledger.subscribe() as subscription:
            for interval in list(ledger.state.intervals.values()):
                if interval.correction is not None and interval.correction.stage == "proposed":
                    await _sign(ledger, operator, domain, interval.correction.proposed)
            while (published := await subscription.get()) is not None:
                if isinstance(published.event, CorrectionProposed):
                    await _sign(ledger, operator, domain, published.event)
            if not subscription.lagged:
                return


async def _sign(ledger: Ledger, operator: AccountKey, domain: Domain, proposed: CorrectionProposed) -> None:
    for change in proposed.changes:
        if change.account != operator.address or not loses(change):
            continue
        correction = to_sign(ledger.state.rules.market, proposed, change)
        result = await ledger.submit(SignCorrection(correction, sign_compact(operator, correction.digest(domain))))
        if isinstance(result, Rejected) and result.code != "already_signed":
            text = result.message
            _log.warning("the fee account does not sign", delivery_start=proposed.delivery_start, reason=text)
