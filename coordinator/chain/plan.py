"""What a deployment consists of: where each contract will be, and the calls that make, wire and guard them.

Addresses follow from the operator's nonce, so that every call can be signed before the first is sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from operator import itemgetter

from .abi import contract, roles
from .contracts import Addresses
from .networks import ZERO_ADDRESS, DeploymentError, Network
from .rpc import data
from .transactions import Call, created_address

ADMIN_ROLE = 0
EXIT_DELAY_MAX_S = 7 * 86_400  # the ledger's own limit
PLACES = {
    "Authority": "authority",
    "DemoCurrency": "currency",
    "EnergyLedger": "ledger",
    "SmartMeterRegistry": "registry",
    "Certificates": "certificates",
    "EnergyToken": "token",
    "GridManagement": "grid",
    "P2PTrading": "trading",
    "Compliance": "compliance",
    "PriceFeeds": "price_feeds",
    "ReadingDisputes": "disputes",
}
"""Each contract's field of ``Addresses``, in the order in which they are made."""

_CALL_GAS = 300_000
_PLAY_MONEY_MICRO = 10**18
_BOND_BOUNTIES = 4  # a signer counts as bonded from two bounties on
_UINT256_MAX = 2**256 - 1
_EMERGENCY_BELOW, _NORMAL_FROM = 50_000, 150_000  # free capacity, 1e6 = all
_GRID_STALE_INTERVALS = 3
_EMERGENCY_DECLARED_MAX_S = 3_600
_TRADE_PERIOD_S = 7 * 86_400


@dataclass(frozen=True, slots=True)
class LedgerTerms:
    """What the contracts are made with, for ever. ``None`` leaves it to ``resolve``.

    ``currency`` ``None`` is the network's, play money on a local chain. ``batch_rules`` has each batch
    checked against the compliance rules. ``community`` gets what a settler who lied forfeits; whoever
    proves the lie, or a meter's, gets ``bounty_micro``; a bond stays ``bond_delay_s`` after it was given notice.
    """

    market: str
    interval_s: int
    price_min_micro_per_kwh: int
    price_max_micro_per_kwh: int
    metered_max_wh: int
    currency: str | None = None
    shortfall_price_max_micro_per_kwh: int | None = None
    under_use_price_min_micro_per_kwh: int | None = None
    fee_max_micro_per_kwh: int = 0
    fee_account: str | None = None
    exit_delay_s: int = 2 * 86_400
    settle_within_s: int = 30 * 86_400
    batch_rules: bool = False
    sequencer_uptime_feed: str | None = None
    sequencer_grace_s: int = 3_600
    community: str | None = None
    bounty_micro: int = 25_000_000
    bond_delay_s: int = 30 * 86_400


@dataclass(frozen=True, slots=True)
class Holders:
    """Who holds the roles, and how slow the slow ones are. ``None``: the operator, and the network's delay."""

    admin: str | None = None
    guardian: str | None = None
    oracle: str | None = None
    grid: str | None = None
    compliance: str | None = None
    admin_delay_s: int | None = None
    compliance_delay_s: int | None = None


@dataclass(frozen=True, slots=True)
class Member:
    """An account that holds a role; what it does with it waits ``delay_s`` after its announcement."""

    role: int
    account: str
    delay_s: int


@dataclass(frozen=True, slots=True)
class Step:
    """One transaction of a deployment. ``makes`` is the contract that it creates."""

    text: str
    call: Call
    gas: int
    makes: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """A deployment that nobody has signed yet."""

    network: Network
    operator: str
    terms: LedgerTerms
    holders: Holders
    genesis: int
    nonce: int
    addresses: Addresses
    steps: tuple[Step, ...]


def make_plan(network: Network, operator: str, nonce: int, terms: LedgerTerms, holders: Holders, genesis: int) -> Plan:
    """Return the deployment from the operator's ``nonce`` on. Raises ``DeploymentError``."""
    terms = resolve(terms, network, operator)
    at = places_of(operator, nonce, terms.currency)
    members = members_of(holders, network, operator, at)
    made, wired = _creations(at, operator, terms, genesis), _wiring(at, operator, terms)
    steps = (*made, *wired, *_guarding(at, operator, members))
    return Plan(network, operator, terms, holders, genesis, nonce, at, steps)


def resolve(terms: LedgerTerms, network: Network, operator: str) -> LedgerTerms:
    """Fill in what follows from the network and the price band. Raises ``DeploymentError``.

    By default a seller answers for a shortfall up to the highest price, a buyer for unused energy down to
    nothing: its own limit bounds both.
    """
    low, high = terms.price_min_micro_per_kwh, terms.price_max_micro_per_kwh
    shortfall, under_use = terms.shortfall_price_max_micro_per_kwh, terms.under_use_price_min_micro_per_kwh
    currency = terms.currency or network.currency
    if currency is None and not network.is_local:
        raise DeploymentError(f"no settlement currency is known on {network.name}: set chain.currency_token")
    if not network.is_local:
        _check_recipients(terms, network, operator)
    feed = terms.sequencer_uptime_feed or network.sequencer_uptime_feed
    if feed is None and network.kind not in {"local", "layer-1"}:
        raise DeploymentError(
            f"no sequencer uptime feed is known on {network.name}: set contracts.sequencer_uptime_feed to"
            f" Chainlink's there, or to {ZERO_ADDRESS} to read prices without it"
        )
    return replace(
        terms,
        currency=currency.lower() if currency else None,
        shortfall_price_max_micro_per_kwh=high if shortfall is None else shortfall,
        under_use_price_min_micro_per_kwh=min(max(0, low), high) if under_use is None else under_use,
        fee_account=(terms.fee_account or operator).lower(),
        community=(terms.community or operator).lower(),
        sequencer_uptime_feed=(feed or ZERO_ADDRESS).lower(),
    )


def members_of(holders: Holders, network: Network, operator: str, at: Addresses) -> tuple[Member, ...]:
    """Return who must hold which role, the admin's first. Raises ``DeploymentError``.

    The operator reports the grid's metrics itself, so a holder of the grid role comes beside it.
    """
    if not network.is_local:
        _check_holders(holders, network, operator)
    admin_delay_s = network.admin_delay_s if holders.admin_delay_s is None else holders.admin_delay_s
    slow_s = network.compliance_delay_s if holders.compliance_delay_s is None else holders.compliance_delay_s
    held = {
        "operator": [operator],
        "oracle": [holders.oracle or operator],
        "grid": [operator, *([holders.grid] if holders.grid else [])],
        "guardian": [holders.guardian or operator],
        "compliance": [holders.compliance or operator],
        "ReadingDisputes": [at.disputes],
    }
    members = [Member(ADMIN_ROLE, (holders.admin or operator).lower(), admin_delay_s)]
    for role in roles().values():
        delay_s = slow_s if role["holder"] == "compliance" else 0
        accounts = dict.fromkeys(account.lower() for account in held[role["holder"]])
        members += [Member(role["id"], account, delay_s) for account in accounts]
    return tuple(members)


def places_of(creator: str, nonce: int, currency: str | None) -> Addresses:
    """Return where the contracts are that the creator makes from a nonce on."""
    places = {}
    for name, field in PLACES.items():
        if name == "DemoCurrency" and currency is not None:
            places[field] = currency
            continue
        places[field] = created_address(creator, nonce)
        nonce += 1
    return Addresses(**places)


def constructor_values(
    at: Addresses, operator: str, terms: LedgerTerms, genesis: int
) -> Mapping[str, tuple[object, ...]]:
    """Return what each contract is made with."""
    stale_after_s = _GRID_STALE_INTERVALS * terms.interval_s
    return {
        "Authority": (operator,),
        "DemoCurrency": (),
        "EnergyLedger": (at.authority, _ledger_terms(terms, at.currency, genesis)),
        "SmartMeterRegistry": (at.authority, at.ledger),
        "Certificates": (at.ledger,),
        "EnergyToken": (at.authority, at.ledger, at.registry, at.certificates),
        "GridManagement": (at.authority, _EMERGENCY_BELOW, _NORMAL_FROM, stale_after_s, _EMERGENCY_DECLARED_MAX_S),
        "P2PTrading": (at.ledger, at.token, at.registry, at.currency, _TRADE_PERIOD_S),
        "Compliance": (at.authority, at.ledger),
        "PriceFeeds": (at.authority, terms.sequencer_uptime_feed, terms.sequencer_grace_s),
        "ReadingDisputes": (at.ledger, at.registry, terms.community, terms.bounty_micro, terms.bond_delay_s),
    }


def guardian_of(role_id: int) -> int:
    """Return the role that cancels what this one has scheduled."""
    guardian: int = roles()["guardian"]["id"]
    return ADMIN_ROLE if role_id in {ADMIN_ROLE, guardian} else guardian


def _check_holders(holders: Holders, network: Network, operator: str) -> None:
    """Refuse roles that nobody would hold, and an operator who could not be stopped."""
    for name in ("admin", "guardian", "oracle", "grid", "compliance"):
        if getattr(holders, name) == ZERO_ADDRESS:
            raise DeploymentError(
                f"contracts.{name}: nobody has the key of the zero address: on {network.name} name the account"
                " that holds this role"
            )
    for name, why in (("admin", "can change who settles"), ("guardian", "must stop an operator gone wrong")):
        account = getattr(holders, name)
        if account is None or account.lower() == operator.lower():
            raise DeploymentError(
                f"contracts.{name}: on {network.name} name the account that holds this role, which {why};"
                f" the operator's ({operator}) must not be it"
            )


def _check_recipients(terms: LedgerTerms, network: Network, operator: str) -> None:
    """Refuse to let the settler gain by its fees or by its own lies."""
    recipients = {"community": "what a settler who lied forfeits"}
    if terms.fee_max_micro_per_kwh:
        recipients["fee_account"] = "the fees"
    for name, what in recipients.items():
        account = getattr(terms, name)
        if account is None or account.lower() == operator:
            raise DeploymentError(
                f"contracts.{name}: on {network.name} name the account that gets {what}; the operator's"
                f" ({operator}) must not be it"
            )


def _ledger_terms(terms: LedgerTerms, currency: str, genesis: int) -> tuple[object, ...]:
    """Return the ledger's ``Terms`` as it is made with them, and tells them."""
    return (
        terms.market,
        terms.interval_s,
        genesis,
        currency,
        terms.price_min_micro_per_kwh,
        terms.price_max_micro_per_kwh,
        terms.shortfall_price_max_micro_per_kwh,
        terms.under_use_price_min_micro_per_kwh,
        terms.metered_max_wh,
        terms.fee_max_micro_per_kwh,
        terms.fee_account,
        terms.exit_delay_s,
        terms.settle_within_s,
    )


def _creations(at: Addresses, operator: str, terms: LedgerTerms, genesis: int) -> Iterator[Step]:
    values = constructor_values(at, operator, terms, genesis)
    for name, field in PLACES.items():
        if name == "DemoCurrency" and terms.currency is not None:
            continue
        creation = contract(name).creation(*values[name])
        yield Step(f"make {name}", Call(None, creation), _creation_gas(creation), getattr(at, field))


def _wiring(at: Addresses, operator: str, terms: LedgerTerms) -> Iterator[Step]:
    """Yield the calls that make the contracts know one another, and fill the operator's purse with play money."""
    ledger, money = contract("EnergyLedger"), contract("DemoCurrency")

    def step(text: str, place: str, calldata: bytes) -> Step:
        return Step(text, Call(place, calldata), _CALL_GAS)

    yield step("name the energy token", at.ledger, ledger.encode("setEnergyToken", at.token))
    yield step("name the settler", at.ledger, ledger.encode("setSettler", operator))
    judge = ledger.encode("setCompliance", at.compliance, terms.batch_rules)
    yield step("name the compliance contract", at.ledger, judge)
    exempt = contract("Compliance").encode("setExempt", at.trading, True)
    yield step("exempt the escrow of P2PTrading", at.compliance, exempt)
    if terms.currency is None:
        yield step("make play money", at.currency, money.encode("mint", operator, _PLAY_MONEY_MICRO))
        approve = money.encode("approve", at.ledger, _UINT256_MAX)
        yield step("let the ledger take the operator's play money", at.currency, approve)
        bond_micro = _BOND_BOUNTIES * terms.bounty_micro
        allow = money.encode("approve", at.disputes, bond_micro)
        yield step("let ReadingDisputes take the settler's bond", at.currency, allow)
        post = contract("ReadingDisputes").encode("postBond", operator, bond_micro)
        yield step("post the settler's bond", at.disputes, post)


def _guarding(at: Addresses, operator: str, members: Sequence[Member]) -> Iterator[Step]:
    """Yield the call that sets all roles, and the one that gives the admin's away."""
    authority = contract("Authority")
    admin, *others = members
    parts = [*_role_settings(at), *(authority.encode("grantRole", m.role, m.account, m.delay_s) for m in others)]
    call = Call(at.authority, authority.encode("multicall", parts))
    yield Step("set and grant the roles", call, _CALL_GAS * len(parts))
    handover = [authority.encode("grantRole", ADMIN_ROLE, admin.account, admin.delay_s)]
    if admin.account != operator:
        handover.append(authority.encode("renounceRole", ADMIN_ROLE, operator))
    elif not admin.delay_s:
        return
    call = Call(at.authority, authority.encode("multicall", handover))
    yield Step("hand over the admin's role", call, _CALL_GAS)


def _role_settings(at: Addresses) -> Iterator[bytes]:
    authority = contract("Authority")
    for name, role in roles().items():
        for target, listed in groupby(role["functions"], key=itemgetter("contract")):
            selectors = [data(function["selector"]) for function in listed]
            yield authority.encode("setTargetFunctionRole", getattr(at, PLACES[target]), selectors, role["id"])
        yield authority.encode("labelRole", role["id"], name)
        if guardian := guardian_of(role["id"]):
            yield authority.encode("setRoleGuardian", role["id"], guardian)


def _creation_gas(creation: bytes) -> int:
    """Return a limit without asking the node, which cannot know contracts that are still to come.

    A creation costs 53,000, 200 per byte kept and 16 per byte sent; a constructor's own work is little.
    """
    return 53_000 + 216 * len(creation) + 700_000
