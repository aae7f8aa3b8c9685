"""From the outbox to the chain: every effect once, whatever stops in between.

A transaction is signed and stored before it leaves. A stored transaction is never given up for
another as long as its nonce is free: it is sent again until it is mined. So a crash between any two
steps neither loses nor repeats an effect, and a chain that lost its last blocks (or all of them)
gets the same transactions again, by rising nonce.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..protocol.keys import AccountKey
from .abi import describe_revert
from .broadcast import (
    Broadcaster,
    FeeLimits,
    estimate_gas,
    explain_revert,
    is_revert,
    is_too_big,
    read_fees,
    read_nonce,
    read_receipts,
)
from .contracts import EffectInvalid, effect_call
from .deployment import Deployment
from .ports import Effect, Mined, OnDone, OnFailed, Outbox
from .refusals import needs_operator, reason_to_wait
from .rpc import NodeUnreachable, Reachability, Rpc, RpcError, quantity
from .transactions import LOCAL_CHAIN_ID, TRANSACTION_BYTES_MAX, Call, Fees, Signed, sign

_LOG = logging.getLogger(__name__)
_FILLER_GAS = 21_000
_ENVELOPE_BYTES = 256
_STRANGER_ROUNDS = 5
_SETTLEMENT = "settle_batch"
_WAITING_CANNOT_HELP = (
    "AccountIntervalUsed(",
    "AccountIntervalPassed(",
    "CorrectionRevisionUsed(",
    "RecipientInvalid(",
    "RequestAlreadyAnswered(",
    "RequestUnknown(",
    "WithdrawalExpired(",
    "WithdrawalNonceInvalid(",
)


@dataclass(frozen=True, slots=True)
class SenderSettings:
    """Limits and pauses; ``confirmations`` counts the blocks wanted on top of a transaction's.

    An effect that the contract refuses is tried ``attempts_max`` times, ``retry_s`` doubling between;
    one that only has to wait (a pause) is tried until it passes, at least every ``wait_longest_s``.
    """

    in_flight_max: int = 16
    attempts_max: int = 6
    retry_s: float = 1.0
    wait_longest_s: float = 30.0
    repeat_s: float = 5.0
    idle_s: float = 2.0
    poll_s: float = 0.02
    poll_longest_s: float = 1.0
    confirmations: int = 0
    fees: FeeLimits = field(default_factory=FeeLimits)


@dataclass(frozen=True, slots=True)
class _Wait:
    """A refusal that ends by itself, or when somebody else acts: how often it was heard."""

    reason: str
    rounds: int = 1


class Sender:
    """Carries effects to the chain until its task is cancelled. It alone uses the key's nonces."""

    def __init__(
        self,
        rpc: Rpc,
        key: AccountKey,
        deployment: Deployment,
        outbox: Outbox,
        on_done: OnDone,
        on_failed: OnFailed | None = None,
        settings: SenderSettings = SenderSettings(),
    ) -> None:
        self._rpc = rpc
        self._key = key
        self._deployment = deployment
        self._outbox = outbox
        self._on_done = on_done
        self._on_failed = on_failed
        self._settings = settings
        self._node = Reachability("settlement")
        self._broadcaster = Broadcaster(rpc, settings.repeat_s)
        self._mined_count = 0
        self._not_before: dict[str, float] = {}
        self._logged: dict[str, str] = {}
        self._missing_rounds: dict[str, int] = {}
        self._waits: dict[str, _Wait] = {}

    @property
    def reachable(self) -> bool:
        """Tell whether the node answered the last time."""
        return self._node.reachable

    @property
    def waits_for(self) -> str | None:
        """Say what the contract lets effects wait for, ``None`` when nothing waits."""
        return next((wait.reason for wait in self._waits.values()), None)

    async def run(self) -> None:
        """Work until cancelled; a node that is gone is waited for."""
        pause_s = self._settings.poll_s
        while True:
            try:
                waiting, progress = await self._round()
            except (NodeUnreachable, RpcError) as error:
                self._broadcaster.forget()
                await asyncio.sleep(self._node.lost(error))
                continue
            self._node.found()
            if progress or not waiting:
                pause_s = self._settings.poll_s
            if not waiting:
                await self._until_changed()
            elif not progress:
                await asyncio.sleep(pause_s)
                pause_s = min(self._settings.poll_longest_s, pause_s * 2)

    async def _until_changed(self) -> None:
        """Wait for a new effect, but look now and then whether the chain lost blocks."""
        try:
            async with asyncio.timeout(self._settings.idle_s):
                await self._outbox.changed()
        except TimeoutError:
            return

    async def _round(self) -> tuple[bool, bool]:
        """Do all that can be done now; return whether anything waits, and whether anything moved."""
        mined_count = await self._read_mined_count()
        signed = await self._signed_since(mined_count)
        await self._broadcaster.send(signed)
        effects = await self._open_effects()
        collected, to_repeat = await self._collect([e for e in effects if e.state == "sent"], mined_count)
        next_nonce = max([mined_count, *(s.nonce + 1 for s in signed)])
        new = [*to_repeat, *(e for e in effects if e.state == "pending")]
        sent = await self._send_new(new, next_nonce, mined_count)
        return bool(effects) or next_nonce > mined_count, bool(collected or sent)

    async def _open_effects(self) -> Sequence[Effect]:
        """Return what is to be done; settlements that wait keep nothing else from its turn."""
        limit = 4 * self._settings.in_flight_max
        effects = await self._outbox.pending(limit)
        if len(effects) == limit and self._waits:
            known = {effect.key for effect in effects}
            others = await self._outbox.pending(limit, but=_SETTLEMENT)
            effects = [*effects, *(effect for effect in others if effect.key not in known)]
        for gone in self._waits.keys() - {effect.key for effect in effects}:
            del self._waits[gone]
        return effects

    async def _read_mined_count(self) -> int:
        mined_count = await read_nonce(self._rpc, self._key.address)
        if mined_count < self._mined_count:
            lost = self._mined_count - mined_count
            _LOG.warning("the chain lost %d of the coordinator's transactions; sending them again", lost)
            self._broadcaster.forget()
        self._mined_count = mined_count
        return mined_count

    async def _signed_since(self, nonce: int) -> list[Signed]:
        """Return all transactions from this nonce on, without a gap, whatever they were for."""
        effects = await self._outbox.signed_since(nonce)
        known = {t.nonce: t for t in self._deployment.transactions if t.nonce >= nonce}
        known |= {s.nonce: s for e in effects if e.state != "superseded" and (s := _stored(e)) is not None}
        return [known.get(n) or self._filler(n) for n in range(nonce, max(known, default=nonce - 1) + 1)]

    def _filler(self, nonce: int) -> Signed:
        """Use up a nonce whose transaction was somebody else's, with a transaction that does nothing."""
        fees = Fees(self._settings.fees.tip_max_wei, self._settings.fees.tip_max_wei)
        return self._sign(nonce, Call(self._key.address, b""), _FILLER_GAS, fees)

    async def _collect(self, sent: Sequence[Effect], mined_count: int) -> tuple[int, list[Effect]]:
        """Complete what is mined; return how many, and those to sign again.

        Somebody else has used their nonce, or they were mined when the contract let them wait.
        """
        receipts = await read_receipts(self._rpc, [e.transaction or "" for e in sent])
        head = quantity(await self._rpc.call("eth_blockNumber")) if self._settings.confirmations and sent else 0
        collected, to_repeat = 0, []
        for effect, receipt in zip(sent, receipts, strict=True):
            if receipt is None:
                if self._is_overtaken(effect, mined_count):
                    to_repeat.append(effect)
            elif not head or quantity(receipt["blockNumber"]) + self._settings.confirmations <= head:
                if await self._complete(effect, receipt):
                    collected += 1
                else:
                    to_repeat.append(effect)
        return collected, to_repeat

    async def _complete(self, effect: Effect, receipt: Mapping[str, Any]) -> bool:
        """Book what became of a mined transaction; return ``False`` when the effect needs another one later."""
        assert effect.transaction is not None
        assert effect.nonce is not None
        self._mined_count = max(self._mined_count, effect.nonce + 1)
        if quantity(receipt["status"]) != 1:
            if effect.key in self._waits:
                return False
            error = await explain_revert(self._rpc, receipt)
            if self._has_to_wait(effect, error):
                self._broadcaster.mined(effect.transaction)
                return False
            await self._fail(effect, error)
        else:
            mined = Mined(effect.transaction, quantity(receipt["blockNumber"]), quantity(receipt["gasUsed"]))
            if effect.kind == _SETTLEMENT:
                await self._on_done(effect, mined)
            else:
                await self._outbox.mark_done(effect.key, mined.block_number, mined.gas_used, mined.transaction)
        self._broadcaster.mined(effect.transaction)
        self._missing_rounds.pop(effect.key, None)
        return True

    def _is_overtaken(self, effect: Effect, mined_count: int) -> bool:
        """Tell whether another transaction took the nonce; one look is not enough behind a load balancer."""
        assert effect.nonce is not None
        if effect.nonce >= mined_count:
            self._missing_rounds.pop(effect.key, None)
            return False
        rounds = self._missing_rounds[effect.key] = self._missing_rounds.get(effect.key, 0) + 1
        if rounds >= _STRANGER_ROUNDS:
            _LOG.warning("%s: somebody else used nonce %d; signing again", effect.key, effect.nonce)
        return rounds >= _STRANGER_ROUNDS

    async def _send_new(self, effects: Sequence[Effect], next_nonce: int, mined_count: int) -> int:
        """Sign, store and send effects as far as the limit in flight allows; return how many.

        A settlement waits for the ones before it (each account's window of intervals moves on, and its
        receipts come in order), nothing else does.
        """
        fees = await read_fees(self._rpc, self._settings.fees) if effects else None
        if fees is None:
            return 0
        nonce, held = next_nonce, False
        for effect in effects:
            if nonce - mined_count >= self._settings.in_flight_max:
                break
            if (held and effect.kind == _SETTLEMENT) or not self._is_due(effect):
                held = held or effect.kind == _SETTLEMENT
                continue
            signed = await self._prepare(effect, nonce, fees, alone=nonce == mined_count)
            if signed is None:
                held = held or effect.kind == _SETTLEMENT
                continue
            if not await self._outbox.mark_sent(effect.key, signed.nonce, signed.raw, signed.transaction):
                continue
            await self._broadcaster.send([signed])
            nonce += 1
        return nonce - next_nonce

    async def _prepare(self, effect: Effect, nonce: int, fees: Fees, *, alone: bool) -> Signed | None:
        """Return the effect's transaction, ``None`` when it cannot be sent now or ever."""
        try:
            call = self._call(effect)
            gas = await estimate_gas(self._rpc, self._key.address, call)
        except EffectInvalid as error:
            await self._fail(effect, str(error))
            return None
        except RpcError as error:
            if alone:  # otherwise it may only need what is still on its way
                await self._refused(effect, error)
            return None
        self._forget(effect)
        return self._sign(nonce, call, gas, fees)

    def _call(self, effect: Effect) -> Call:
        call = effect_call(self._deployment.addresses, effect.kind, effect.payload)
        length = len(call.data) + _ENVELOPE_BYTES
        if length > TRANSACTION_BYTES_MAX and self._deployment.chain_id != LOCAL_CHAIN_ID:
            raise EffectInvalid(f"the transaction has {length} bytes, nodes take at most {TRANSACTION_BYTES_MAX}")
        return call

    async def _refused(self, effect: Effect, error: RpcError) -> None:
        """Book a refusal; what the contract refuses again and again has failed, a node's whim has not."""
        self._delay(effect)
        if is_too_big(error):
            await self._fail(effect, error.message)
        elif not is_revert(error):
            self._log_once(effect, str(error))
        elif self._has_to_wait(effect, text := describe_revert(error.data)):
            return
        elif self._may_pass(effect, text):
            self._log_once(effect, text)
            await self._outbox.mark_failed(effect.key, text, retry=True)
        else:
            await self._fail(effect, text)

    def _has_to_wait(self, effect: Effect, text: str) -> bool:
        """Note a refusal that ends without us: it counts no attempt and is told of once."""
        reason = reason_to_wait(text)
        if reason is None:
            self._waits.pop(effect.key, None)
            return False
        before = self._waits.get(effect.key)
        rounds = before.rounds + 1 if before is not None and before.reason == reason else 1
        if rounds == 1:
            _LOG.log(logging.ERROR if needs_operator(text) else logging.WARNING, "%s: %s: %s", effect.key, text, reason)
        self._waits[effect.key] = _Wait(reason, rounds)
        pause_s = min(self._settings.wait_longest_s, self._settings.retry_s * 2 ** min(rounds - 1, 16))
        self._not_before[effect.key] = asyncio.get_running_loop().time() + pause_s
        return True

    def _may_pass(self, effect: Effect, text: str) -> bool:
        """Tell whether to try again: money may be on its way, but an interval or a nonce stays used."""
        if effect.state == "pending" and text.startswith(_WAITING_CANNOT_HELP):
            return False
        return effect.attempts + 1 < self._settings.attempts_max

    def _log_once(self, effect: Effect, text: str) -> None:
        if self._logged.get(effect.key) != text:
            self._logged[effect.key] = text
            _LOG.warning("%s: %s; trying again", effect.key, text)

    async def _fail(self, effect: Effect, text: str) -> None:
        """Tell of a failure, then book it: a crash between the two tells of it again."""
        _LOG.error("%s failed: %s", effect.key, text)
        self._forget(effect)
        if self._on_failed is not None:
            await self._on_failed(effect, text)
        await self._outbox.mark_failed(effect.key, text, retry=False)

    def _forget(self, effect: Effect) -> None:
        self._waits.pop(effect.key, None)
        self._not_before.pop(effect.key, None)
        self._logged.pop(effect.key, None)

    def _delay(self, effect: Effect) -> None:
        pause_s = self._settings.retry_s * 2 ** min(effect.attempts, 6)
        self._not_before[effect.key] = asyncio.get_running_loop().time() + pause_s

    def _is_due(self, effect: Effect) -> bool:
        return asyncio.get_running_loop().time() >= self._not_before.get(effect.key, 0.0)

    def _sign(self, nonce: int, call: Call, gas: int, fees: Fees) -> Signed:
        return sign(self._key, self._deployment.chain_id, nonce, call, gas, fees)


def _stored(effect: Effect) -> Signed | None:
    if effect.nonce is None or effect.raw_transaction is None or effect.transaction is None:
        return None
    return Signed(effect.nonce, effect.raw_transaction, effect.transaction)
