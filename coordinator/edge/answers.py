"""What we answer: the shapes of every response, read by the type checker and by OpenAPI."""

from __future__ import annotations

from typing import Any, Literal, TypedDict


class PriceBand(TypedDict):
    """No order may be outside."""

    min_micro_per_kwh: int
    max_micro_per_kwh: int


class Tariff(TypedDict):
    """What the supplier takes and the grid pays without this market."""

    supplier_micro_per_kwh: int
    feed_in_micro_per_kwh: int


class OrderLimits(TypedDict):
    """How much one order and one account may."""

    energy_max_wh: int
    per_interval_max: int


class Rule(TypedDict):
    """The clearing rule; ``name`` names it with its version and stands in every auction's result."""

    name: str
    mechanism: str
    price: str
    ties: str
    reference_price: int | None
    bid_share_ppm: int


class FeesAnswer(TypedDict):
    """What a buyer pays the community on top of the price: a sum per kWh and a share of the price in 1e-6."""

    community_micro_per_kwh: int
    community_share_ppm: int


class StagesAnswer(TypedDict):
    """Which stages the market has. Sessions are held each ``session_every_s`` (0: never), the next at its time."""

    continuous: bool
    closing: bool
    session_every_s: int
    next_session_at: int | None
    bundles_per_account_max: int
    legs_per_bundle_max: int
    conditional_orders_per_account_max: int


class LineAnswer(TypedDict):
    """A line between two nodes: its limit in each direction (null: none) and what its use costs."""

    source: str
    target: str
    limit_w: int | None
    fee_micro_per_kwh: int


class ChainAddresses(TypedDict):
    """The signing domain and the contracts."""

    chain_id: int
    ledger: str
    token: str
    registry: str
    grid: str
    trading: str
    currency_token: str


class ContractPlace(TypedDict):
    """One contract; its ABI is at the path ``abi`` of this server."""

    name: str
    address: str
    abi: str


class ContractsAnswer(TypedDict):
    """Where the contracts are: on which chain, since which block, under which EIP-712 domain.

    ``currency`` is the settlement currency, a token with 6 decimals. Interval 0 begins at ``genesis``.
    """

    chain_id: int
    network: str
    first_block: int
    genesis: int
    currency: str
    domain_separator: str
    contracts: list[ContractPlace]


class ContractAnswer(TypedDict):
    """One contract with its ABI, as Solidity's compiler describes it."""

    name: str
    address: str
    abi: list[dict[str, Any]]


class FeedAnswer(TypedDict):
    """What an outside price feed said last. Without a value, ``refused`` says why.

    ``value_micro`` is in 1e-6 of the quote currency. ``updated_at`` is when the feed made the newest answer that
    was seen, ``age_s`` the seconds since; a refused feed has them too, unless none was seen.
    """

    feed: str
    value_micro: int | None
    updated_at: int | None
    age_s: int | None
    refused: str | None


class FeedsAnswer(TypedDict):
    """The price feeds that the operator named, read once a minute. No settlement depends on them."""

    feeds: list[FeedAnswer]


class Operator(TypedDict):
    """Who signs device receipts; ``public_key`` is the secp256k1 point ``x || y``."""

    account: str
    public_key: str


class GridSignal(TypedDict):
    """What the operator last told of the grid; ``delivery_start`` is 0 for what the whole grid has once."""

    signal: str
    delivery_start: int
    value: int


class MarketAnswer(TypedDict):
    """The market's public rules and state."""

    market: str
    name: str
    currency: str
    time: int
    version: str
    state: Literal["open", "halted"]
    halt_reason: str | None
    interval_s: int
    gate_s: int
    horizon_s: int
    reading_deadline_s: int
    price_band: PriceBand
    tariff: Tariff
    order_limits: OrderLimits
    rule: Rule
    stages: StagesAnswer
    fees: FeesAnswer
    lines: list[LineAnswer]
    compensation: bool
    signals: list[GridSignal]
    chain: ChainAddresses
    operator: Operator
    sequence: int


class SessionAnswer(TypedDict):
    """A token for ``Authorization: Bearer``."""

    account: str
    token: str
    expires_at: int


class RegisteredMeter(TypedDict):
    """A meter whose readings count."""

    device_id: str


class ReadingTerms(TypedDict):
    """A reading as its meter signed it."""

    device_id: str
    sequence: int
    timestamp: int
    consumption_wh: int
    production_wh: int
    flags: int
    previous: str
    samples: str


class LastReading(TypedDict):
    """The newest reading of a meter with the meter's own signature, so that its home believes no other."""

    reading: ReadingTerms
    signature: str


class MeterAnswer(TypedDict):
    """A meter as the coordinator knows it; ``installation`` is who signs for it, if anybody has of late."""

    device_id: str
    account: str
    last: LastReading | None
    suspended: str | None
    installation: str | None


class WithdrawalAnswer(TypedDict):
    """A signed withdrawal, named by its digest: ``open`` until the chain decides, then ``done`` or ``refused``."""

    withdrawal: str
    number: int
    status: Literal["open", "done", "refused"]
    reason: str | None
    nonce: int
    money_micro: int


class ReceiptBody(TypedDict):
    """The coordinator's word that a reading is kept."""

    device_id: str
    sequence: int
    reading: str
    committed_at: int


class DeviceReceiptAnswer(TypedDict):
    """A device receipt, signed by the operator (secp256k1, ``r || s``)."""

    receipt: ReceiptBody
    signature: str


class IntervalAnswer(TypedDict):
    """One delivery interval's history; the price is the average of its trades."""

    delivery_start: int
    stage: str
    price_micro_per_kwh: int | None
    volume_wh: int
    trades: int
    settled_wh: int | None
    value_micro: int | None
    homes: int
    transaction: str | None
    gas_used: int | None
    settled_at: int | None
    confirmed_at: int | None


class IntervalsAnswer(TypedDict):
    """Delivery intervals, oldest first."""

    intervals: list[IntervalAnswer]


class AccountAnswer(TypedDict):
    """A member's balances and totals; ``saved_micro`` is against the supplier's tariff.

    New orders get what is neither ``reserved_micro`` (orders and trades), ``withdrawing_micro`` (a signed
    withdrawal on its way) nor ``requested_micro`` (asked for on chain). ``withdrawal_nonce`` is the next one's.
    ``node`` is where it is connected and ``source`` what its energy is made from, as the operator says (or empty).
    """

    account: str
    name: str
    node: str
    source: str
    money_micro: int
    reserved_micro: int
    withdrawing_micro: int
    requested_micro: int
    withdrawal_nonce: int
    energy_wh: int
    bought_wh: int
    sold_wh: int
    cost_micro: int
    revenue_micro: int
    saved_micro: int
    open_orders: int
    meters: list[str]


class AccountsAnswer(TypedDict):
    """All members."""

    accounts: list[AccountAnswer]


class ReceiptLine(TypedDict):
    """A settlement receipt in short."""

    delivery_start: int
    revision: int
    saved_micro: int
    total_micro: int
    transaction: str | None


class ReceiptsAnswer(TypedDict):
    """An account's settlement receipts, newest first."""

    receipts: list[ReceiptLine]


class SignedSettlement(TypedDict):
    """What the settler signed about a batch (EIP-712 ``Settlement``); ``signature`` is ``r || vs``."""

    delivery_start: int
    revision: int
    batch_hash: str
    readings_root: str
    receipts_root: str
    signer: str
    signature: str


class ReceiptAnswer(TypedDict):
    """A settlement receipt with its proof: ``energy-trade receipt verify`` recomputes it."""

    body: dict[str, Any]
    proof: list[str]
    receipts_root: str
    settlement: SignedSettlement
    transaction: str | None
    block_number: int | None


class CorrectionAnswer(TypedDict):
    """What a correction of a settled interval is to one account.

    ``status`` is proposed, agreed (on its way to the chain), booked, ended or superseded; ``correction`` is what
    the account signs when ``needs_signature``, ``receipt`` its corrected receipt (null: it did not trade).
    """

    correction: dict[str, Any]
    status: str
    signed: bool
    needs_signature: bool
    receipt: ReceiptAnswer | None


class CorrectionsAnswer(TypedDict):
    """An account's corrections, newest interval first."""

    corrections: list[CorrectionAnswer]


class SignedCorrection(TypedDict):
    """A correction that its account agreed to."""

    delivery_start: int
    revision: int


class AliveAnswer(TypedDict):
    """The process answers."""

    status: Literal["alive"]


class HealthAnswer(TypedDict):
    """Whether the coordinator can do its work.

    ``degraded``: trading goes on, settlements wait for the chain. ``halted``: no orders are taken. ``reason`` says
    why trading is halted, else what the contract lets settlements wait for (its guardian's pause).
    """

    status: Literal["ready", "degraded", "halted", "unavailable"]
    ledger: Literal["open", "closed"]
    chain: Literal["reachable", "unreachable"]
    trading: Literal["open", "halted"]
    reason: str | None
    waiting_effects: int
    failed_effects: int
    sequence: int
