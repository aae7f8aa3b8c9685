"""One frozen configuration tree, from TOML and the environment, validated once.

``[market] interval_s`` in the file is ``ENERGY_TRADE_MARKET__INTERVAL_S`` in the environment, which
wins. ``ConfigError`` names the key and says what was expected. ``describe`` prints without secrets.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from .chain.feeds import feed_id
from .protocol.units import ENERGY_WH_MAX, INTERVAL_S_ALLOWED, PRICE_MICRO_PER_KWH_MAX

ENVIRONMENT_PREFIX = "ENERGY_TRADE_"
BATCH_ORDERS_MAX = 800
"""The most orders of one batch on a node of others: they take transactions up to 128 KiB, 159 bytes an order."""

EXIT_DELAY_MAX_S = 7 * 86_400
"""The longest exit delay that the ledger's contract takes."""
PRICE_FEEDS_MAX = 16
"""The most price feeds that are read each minute."""
_SETTLING_S = 3_600  # from the decision to the block, with time for a node that is gone

_STRICT = ConfigDict(extra="forbid")
_SECRET = {"secret": True}

type _Count = Annotated[int, Field(ge=1, le=1_000_000_000)]
type _Seconds = Annotated[int, Field(ge=1, le=30 * 86_400)]
type _Price = Annotated[int, Field(ge=0, le=PRICE_MICRO_PER_KWH_MAX)]
type _Address = Annotated[str, Field(pattern=r"^0x[0-9a-fA-F]{40}$")]
type _Delay = Annotated[int, Field(ge=0, le=30 * 86_400)]
type _Name = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]+$")]


class ConfigError(ValueError):
    """The configuration cannot be used; one line per fault."""


@dataclass(frozen=True, slots=True)
class MarketConfig:
    """The market's rules. ``invite`` ``None`` lets the coordinator make one at its first start.

    ``reading_deadline_s`` counts from the end of delivery; then the interval settles with what is
    there. ``power_max_w`` is the most that one account can produce (the contract believes no more)
    and that a meter may be registered with. Of an interval's ``orders_per_interval_max`` places one
    is kept for each of ``members_max``.
    ``mechanism`` clears the closing auctions (``bid_share_ppm`` is of ``pay_as_bid``); ``session_every_s`` 0 holds no
    session auctions, and ``session_limit_s`` is how long one may think. A buyer pays the community's fee on top of
    the price: a sum per kWh and a share of the price in 1e-6. ``compensation``: who delivers or takes less than it
    traded owes the other side what that costs it.
    ``welcome_credit_micro`` is what a new member gets on a chain of play money.
    """

    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")] = "neighbourhood"
    name: _Name = "Neighbourhood"
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] = "EUR"
    interval_s: int = 900
    gate_s: _Seconds = 300
    horizon_s: _Seconds = 129_600
    reading_deadline_s: _Seconds = 3_600
    price_min_micro_per_kwh: _Price = 0
    price_max_micro_per_kwh: _Price = 1_000_000
    supplier_micro_per_kwh: _Price = 320_000
    feed_in_micro_per_kwh: _Price = 80_000
    order_energy_max_wh: Annotated[int, Field(ge=1, le=ENERGY_WH_MAX)] = 100_000
    orders_per_account_interval_max: _Count = 24
    orders_per_interval_max: _Count = BATCH_ORDERS_MAX
    members_max: _Count = 500
    power_max_w: _Count = 1_000_000
    mechanism: Literal["uniform", "pay_as_bid", "mid_market_rate", "supply_demand_ratio", "mcafee"] = "uniform"
    bid_share_ppm: Annotated[int, Field(ge=0, le=1_000_000)] = 500_000
    price_rule: Literal["midpoint", "reference"] = "midpoint"
    reference_price_micro_per_kwh: _Price | None = None
    ties: Literal["pro_rata", "time"] = "pro_rata"
    continuous: bool = True
    closing_auction: bool = True
    session_every_s: Annotated[int, Field(ge=0, le=30 * 86_400)] = 3_600
    session_limit_s: Annotated[int, Field(ge=1, le=60)] = 5
    bundles_per_account_max: _Count = 50
    legs_per_bundle_max: Annotated[int, Field(ge=1, le=1_000)] = 96
    conditional_orders_per_account_max: _Count = 100
    community_fee_micro_per_kwh: _Price = 0
    community_fee_share_ppm: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    compensation: bool = True
    invite: Annotated[str, Field(min_length=8, max_length=128)] | None = field(
        default=None, repr=False, metadata=_SECRET
    )
    welcome_credit_micro: Annotated[int, Field(ge=0, le=10**15)] = 0

    __pydantic_config__ = _STRICT


@dataclass(frozen=True, slots=True)
class LineConfig:
    """A line of the microgrid between two nodes: ``limit_w`` in each direction, what its use costs a buyer."""

    source: _Name
    target: _Name
    limit_w: Annotated[int, Field(ge=0, le=10**12)] | None = None
    fee_micro_per_kwh: _Price = 0

    __pydantic_config__ = _STRICT


@dataclass(frozen=True, slots=True)
class PlaceConfig:
    """Where a member is connected, and what it makes energy from (``solar``, ``wind``, ``hydro``, ``gas``...)."""

    account: _Address
    node: _Name
    source: Annotated[str, Field(pattern=r"^[a-z_]{0,32}$")] = ""

    __pydantic_config__ = _STRICT


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """The microgrid's lines, which form a tree, and its members' places; without them all are at one node.

    With lines, continuous trading stays within a node; auctions cross lines, keep their limits and pay their fees.
    """

    lines: tuple[LineConfig, ...] = ()
    places: tuple[PlaceConfig, ...] = ()

    __pydantic_config__ = _STRICT


@dataclass(frozen=True, slots=True)
class HttpConfig:
    """Where to listen, and how much one caller may ask.

    ``trusted_proxies`` are addresses whose ``X-Forwarded-For`` is believed. ``allowed_origins`` are
    further web origins that may open the stream, ``frame_ancestors`` ones that may embed the page. ``verifiers``
    are the processes that check orders' signatures (``None``: by the machine's cores; 0: threads do).
    """

    host: Annotated[str, Field(min_length=1, max_length=253)] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8787
    trusted_proxies: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    frame_ancestors: tuple[str, ...] = ()
    address_requests_per_s: _Count = 500
    address_burst: _Count = 5_000
    account_requests_per_s: _Count = 20
    account_burst: _Count = 500
    streams_max: _Count = 500
    streams_per_address_max: _Count = 20
    stream_queue_max: _Count = 1_000
    verifiers: Annotated[int, Field(ge=0, le=64)] | None = None

    __pydantic_config__ = _STRICT


@dataclass(frozen=True, slots=True)
class DiscoveryConfig:
    """How homes find the coordinator: announced in the local network (``enabled`` ``None``: unless it is on loopback).

    ``url`` is the address that homes are told and invites name, where it is another than the coordinator's own.
    """

    enabled: bool | None = None
    url: Annotated[str, Field(max_length=200, pattern=r"^https?://[^/\s]+$")] | None = None

    __pydantic_config__ = _STRICT


@dataclass(frozen=True, slots=True)
class ChainConfig:
    """The chain: an existing node's ``rpc_url``, or ``None`` for a local one that is started.

    ``network`` names the network that the node must be of (``contracts/networks.json``).
    ``dev_port`` is the local node's port, 0 for any free one. ``currency_token`` is the settlement
    currency's contract (6 decimals); ``None`` takes the network's, and makes play money on a local chain.
    ``grid_node_id`` and ``grid_capacity_w`` are what the grid contract is told about this microgrid.
    """

    rpc_url: Annotated[str, Field(pattern=r"^https?://.+")] | None = None
    network: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,32}$")] | None = None
    currency_token: _Address | None = None
    dev_port: Annotated[int, Field(ge=0, le=65_535)] = 0
    grid_node_id: Annotated[int, Field(ge=0, lt=2**63)] = 1
    grid_capacity_w: _Count = 630_000

    __pydantic_config__ = _STRICT


@dataclass(frozen=True, slots=True)
class ContractsConfig:
    """What a new ledger is made with for ever, and who holds the contracts' roles.

    A seller answers for a shortfall up to ``shortfall_price_max_micro_per_kwh`` (``None``: the band's
    highest price), a buyer for unused energy down to ``under_use_price_min_micro_per_kwh`` (``None``: zero,
    within the band). ``exit_delay_s`` is how long a withdrawal without the operator waits; ``None`` is what
    trades need to be settled. Fees are at most ``fee_max_micro_per_kwh`` (``None``: what the market's fees come to) and
    go to ``fee_account``. ``batch_rules`` has every batch checked against the compliance rules.
    ``community`` gets what a settler who lied forfeits, who proves it gets ``bounty_micro``; a bond stays
    ``bond_delay_s`` after notice. The accounts are addresses, ``None`` the operator's own, which only a local
    chain takes for ``admin``, ``guardian`` and ``community``. The other delays are seconds between an act's
    announcement and its execution; ``None`` takes the network's. ``price_feeds`` are read once a minute, for show.
    """

    shortfall_price_max_micro_per_kwh: _Price | None = None
    under_use_price_min_micro_per_kwh: _Price | None = None
    fee_max_micro_per_kwh: _Price | None = None
    fee_account: _Address | None = None
    exit_delay_s: Annotated[int, Field(ge=0, le=EXIT_DELAY_MAX_S)] | None = None
    settle_within_s: Annotated[int, Field(ge=3_600, le=366 * 86_400)] = 30 * 86_400
    batch_rules: bool = False
    sequencer_uptime_feed: _Address | None = None
    sequencer_grace_s: Annotated[int, Field(ge=0, le=86_400)] = 3_600
    price_feeds: tuple[str, ...] = ()
    community: _Address | None = None
    bounty_micro: Annotated[int, Field(ge=1, le=10**15)] = 25_000_000
    bond_delay_s: Annotated[int, Field(ge=1, le=366 * 86_400)] = 30 * 86_400
    admin: _Address | None = None
    guardian: _Address | None = None
    oracle: _Address | None = None
    grid: _Address | None = None
    compliance: _Address | None = None
    admin_delay_s: _Delay | None = None
    compliance_delay_s: _Delay | None = None

    __pydantic_config__ = _STRICT


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that can be set."""

    data: Path = Path("energy-trade-data")
    market: MarketConfig = MarketConfig()
    http: HttpConfig = HttpConfig()
    discovery: DiscoveryConfig = DiscoveryConfig()
    chain: ChainConfig = ChainConfig()
    contracts: ContractsConfig = ContractsConfig()
    network: NetworkConfig = NetworkConfig()

    @property
    def fee_max_micro_per_kwh(self) -> int:
        """The most that a buyer pays beyond what the seller receives: the ledger's contract takes no more.

        Congestion of a limited line and McAfee's auction may leave as much as the whole price band.
        """
        if self.contracts.fee_max_micro_per_kwh is not None:
            return self.contracts.fee_max_micro_per_kwh
        return fees_need(self.market, self.network)

    @property
    def exit_delay_s(self) -> int:
        """Seconds that a withdrawal without the operator waits: until every trade made before it is settled."""
        if self.contracts.exit_delay_s is not None:
            return self.contracts.exit_delay_s
        market = self.market
        return market.horizon_s + market.interval_s + market.reading_deadline_s + _SETTLING_S

    __pydantic_config__ = _STRICT


def fees_need(market: MarketConfig, network: NetworkConfig) -> int:
    """Return the most that a buyer can pay beyond what the seller receives, in 1e-6 currency per kWh."""
    band = market.price_max_micro_per_kwh - market.price_min_micro_per_kwh
    if market.mechanism == "mcafee" or any(line.limit_w is not None for line in network.lines):
        return band
    share = market.price_max_micro_per_kwh * market.community_fee_share_ppm // 1_000_000
    fees = market.community_fee_micro_per_kwh + share + sum(line.fee_micro_per_kwh for line in network.lines)
    return min(band, fees)


def load(
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Config:
    """Return the configuration from the file, then the environment, then ``overrides``.

    ``overrides`` are dotted keys (``http.port``); a value of ``None`` is passed over. Raises
    ``ConfigError`` with every fault found.
    """
    tree = _read_toml(file) if file is not None else {}
    for path, text in _from_environment(environment or {}):
        _put(tree, path, _value(path, text))
    for dotted, value in (overrides or {}).items():
        if value is not None:
            _put(tree, dotted.split("."), value)
    return parse(tree)


def parse(tree: Mapping[str, Any]) -> Config:
    """Validate a tree of plain values."""
    try:
        config = _ADAPTER.validate_json(json.dumps(tree, default=str), strict=True)
    except ValidationError as error:
        raise ConfigError("\n".join(_sentences(error))) from error
    if faults := [*_market_faults(config.market), *_chain_faults(config), *_contract_faults(config)]:
        raise ConfigError("\n".join(faults))
    return config


def describe(config: Config) -> str:
    """Return the configuration as TOML without secrets."""
    return "\n".join(_describe(config, ""))


_ADAPTER = TypeAdapter(Config)


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: is not TOML: {error}") from error


def _from_environment(environment: Mapping[str, str]) -> Iterator[tuple[list[str], str]]:
    """Yield the variables that are keys of ours; one with ``__`` in it must be."""
    top = {f"{ENVIRONMENT_PREFIX}{f.name.upper()}" for f in fields(Config)}
    for name, text in environment.items():
        if name in top or (name.startswith(ENVIRONMENT_PREFIX) and "__" in name):
            yield name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__"), text


def _value(path: list[str], text: str) -> object:
    """Read a variable as the type that its key has: text as it is, all else as TOML."""
    if path == ["data"] or _is_text(path):
        return text
    try:
        return tomllib.loads(f"v = {text}")["v"]
    except tomllib.TOMLDecodeError:
        return text


def _is_text(path: list[str]) -> bool:
    for section in fields(Config):
        if section.name == path[0] and len(path) == 2 and is_dataclass(section.default):
            named = {f.name: f for f in fields(section.default)}
            return path[1] in named and isinstance(named[path[1]].default, str | None)
    return False


def _put(tree: dict[str, Any], path: list[str], value: object) -> None:
    for part in path[:-1]:
        tree = tree.setdefault(part, {})
        if not isinstance(tree, dict):
            raise ConfigError(f"{part}: expected a section, was a value")
    tree[path[-1]] = value


def _sentences(error: ValidationError) -> Iterator[str]:
    """Say for each fault which key it is and what was expected; a secret's value is not shown."""
    for fault in error.errors(include_url=False):
        key = ".".join(str(part) for part in fault["loc"]) or "configuration"
        if fault["type"] in {"extra_forbidden", "unexpected_keyword_argument"}:
            yield f"{key}: is not a known key"
            continue
        if fault["type"] == "missing":
            yield f"{key}: is missing"
            continue
        wanted = fault["msg"].removeprefix("Input should ").removeprefix("String should ")
        shown = "" if key.endswith(("invite", "rpc_url")) else f", was {fault['input']!r:.60}"
        yield f"{key}: should {wanted}{shown}"


def _market_faults(market: MarketConfig) -> Iterator[str]:
    """Yield what no single key shows."""
    if market.interval_s not in INTERVAL_S_ALLOWED:
        allowed = ", ".join(map(str, INTERVAL_S_ALLOWED))
        yield f"market.interval_s: expected one of {allowed}, was {market.interval_s}"
    if market.horizon_s < market.gate_s + market.interval_s:
        least = market.gate_s + market.interval_s
        yield f"market.horizon_s: expected at least gate_s + interval_s = {least}"
    if market.reading_deadline_s >= (longest_s := 90 * market.interval_s):
        yield f"market.reading_deadline_s: expected less than 90 intervals = {longest_s}"
    prices = (
        market.price_min_micro_per_kwh,
        market.feed_in_micro_per_kwh,
        market.supplier_micro_per_kwh,
        market.price_max_micro_per_kwh,
    )
    if list(prices) != sorted(prices) or prices[0] == prices[-1]:
        yield "market: expected price_min <= feed_in <= supplier <= price_max, and a band"
    if market.members_max > market.orders_per_interval_max:
        yield (
            "market.members_max: expected at most market.orders_per_interval_max ="
            f" {market.orders_per_interval_max}, for each member has a place, was {market.members_max}"
        )
    if market.session_every_s % market.interval_s:
        yield f"market.session_every_s: expected a multiple of interval_s = {market.interval_s}"
    if not (market.continuous or market.closing_auction or market.session_every_s):
        yield "market: expected continuous trading, closing auctions or sessions; all are switched off"
    if market.price_rule == "reference" and market.reference_price_micro_per_kwh is None:
        yield "market.reference_price_micro_per_kwh: the rule 'reference' needs one"


def _chain_faults(config: Config) -> Iterator[str]:
    orders_max = config.market.orders_per_interval_max
    if config.chain.rpc_url is not None and orders_max > BATCH_ORDERS_MAX:
        yield (
            f"market.orders_per_interval_max: expected at most {BATCH_ORDERS_MAX} with chain.rpc_url, for a batch is"
            f" one transaction of 128 KiB, was {orders_max}"
        )
    if config.chain.currency_token is not None and config.market.welcome_credit_micro:
        yield "market.welcome_credit_micro: expected 0, for chain.currency_token names a real currency"


def _contract_faults(config: Config) -> Iterator[str]:
    market, contracts = config.market, config.contracts
    low, high = market.price_min_micro_per_kwh, market.price_max_micro_per_kwh
    for name in ("shortfall_price_max_micro_per_kwh", "under_use_price_min_micro_per_kwh"):
        price = getattr(contracts, name)
        if price is not None and not low <= price <= high:
            yield f"contracts.{name}: expected a price in the band from {low} to {high}, was {price}"
    if config.exit_delay_s > EXIT_DELAY_MAX_S:
        yield (
            f"market.horizon_s: trades need {config.exit_delay_s} s to be settled, a withdrawal waits at most"
            f" {EXIT_DELAY_MAX_S} s for them: trade less far ahead, or set contracts.exit_delay_s"
        )
    if market.compensation:
        yield from _compensation_faults(market, contracts)
    if config.fee_max_micro_per_kwh < (needed := fees_need(market, config.network)):
        yield f"contracts.fee_max_micro_per_kwh: the market's fees need {needed}, was {config.fee_max_micro_per_kwh}"
    if contracts.settle_within_s < (least := market.interval_s + market.reading_deadline_s):
        yield f"contracts.settle_within_s: expected at least interval_s + reading_deadline_s = {least}"
    yield from (f"contracts.price_feeds: {fault}" for fault in _feed_faults(contracts.price_feeds))


def _compensation_faults(market: MarketConfig, contracts: ContractsConfig) -> Iterator[str]:
    """Yield where the contract would refuse what compensation comes to."""
    most, least = contracts.shortfall_price_max_micro_per_kwh, contracts.under_use_price_min_micro_per_kwh
    if most is not None and most < market.supplier_micro_per_kwh:
        yield (
            "contracts.shortfall_price_max_micro_per_kwh: with market.compensation expected at least"
            f" market.supplier_micro_per_kwh = {market.supplier_micro_per_kwh}, was {most}"
        )
    if least is not None and least > market.feed_in_micro_per_kwh:
        yield (
            "contracts.under_use_price_min_micro_per_kwh: with market.compensation expected at most"
            f" market.feed_in_micro_per_kwh = {market.feed_in_micro_per_kwh}, was {least}"
        )


def _feed_faults(feeds: tuple[str, ...]) -> Iterator[str]:
    if len(feeds) > PRICE_FEEDS_MAX:
        yield f"expected at most {PRICE_FEEDS_MAX} feeds, was {len(feeds)}"
    if len(set(feeds)) < len(feeds):
        yield "expected each feed once"
    for feed in feeds:
        try:
            feed_id(feed)
        except ValueError as fault:
            yield str(fault)


def _describe(section: Any, prefix: str) -> Iterator[str]:
    for entry in fields(section):
        value = getattr(section, entry.name)
        if isinstance(value, tuple) and value and is_dataclass(value[0]):
            for item in value:
                yield f"\n[[{prefix}{entry.name}]]"
                yield from _describe(item, f"{prefix}{entry.name}.")
        elif is_dataclass(value):
            yield f"\n[{prefix}{entry.name}]"
            yield from _describe(value, f"{prefix}{entry.name}.")
        elif value is not None:
            yield f"{entry.name} = {_shown(entry.name, value, bool(entry.metadata))}"


def _shown(name: str, value: object, secret: bool) -> str:
    if secret:
        return '"(hidden)"'
    if name == "rpc_url":
        parts = urlsplit(str(value))
        return json.dumps(f"{parts.scheme}://{parts.hostname}:{parts.port or ''}".rstrip(":"))
    if isinstance(value, tuple):
        return json.dumps(list(value))
    return json.dumps(str(value) if isinstance(value, Path) else value)
