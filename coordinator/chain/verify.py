"""Comparing contracts on a chain with what this repository says: code, terms, wiring, roles, delays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from ..protocol.typed_data import Domain
from .abi import contract, functions_of, roles
from .contracts import hexed
from .deployment import Deployment
from .networks import Network
from .plan import ADMIN_ROLE, PLACES, Holders, Member, constructor_values, guardian_of, members_of
from .rpc import Rpc, RpcError, data, quantity

type _Question = tuple[str, str, tuple[object, ...]]
type _Expected = tuple[_Question, str, object]
_PUBLIC_ROLE = 2**64 - 1
_LOG_REQUESTS_MAX = 2_000
_EXEMPT = 7  # its place in the contract's `Member`


async def verify_deployment(rpc: Rpc, made: Deployment, network: Network, holders: Holders) -> list[str]:
    """Return a sentence for everything that differs; none when chain and repository agree."""
    members = members_of(holders, network, made.operator, made.addresses)
    if findings := await _code_findings(rpc, made):
        return findings  # what other code answers means nothing
    expected = [*_wiring(made), *_functions(made), *_roles()]
    if network.is_local:  # where the deployment itself posts the bond
        question = "ReadingDisputes", "isBonded", (made.operator,)
        expected.append((question, "ReadingDisputes.isBonded(settler) is {was}, should be {should}", True))
    questions = [question for question, _, _ in expected]
    for (_, text, value), answer in zip(expected, await _ask(rpc, made, questions), strict=True):
        if answer != (value,):
            findings.append(text.format(was=_shown(answer), should=_shown((value,))))
    findings += await _exemption_findings(rpc, made)
    return findings + await _member_findings(rpc, made, members)


async def read_condition(rpc: Rpc, made: Deployment) -> list[str]:
    """Return a line for what changes while a ledger is at work, and is no difference; none of other code."""
    if await _code_findings(rpc, made):
        return []
    asked: list[_Question] = [("EnergyLedger", "paused", ()), ("ReadingDisputes", "isBonded", (made.operator,))]
    paused, bonded = await _ask(rpc, made, asked)
    return [
        f"EnergyLedger.paused() is {_shown(paused)}",
        f"ReadingDisputes.isBonded(settler) is {_shown(bonded)}"
        + (": what a settler signs falsely costs it nothing before it posts its bond" if bonded == (False,) else ""),
    ]


async def _code_findings(rpc: Rpc, made: Deployment) -> list[str]:
    """Compare the runtime code, immutables masked; a settlement currency of others is not ours to know."""
    places = made.contracts
    codes = await rpc.batch([("eth_getCode", (place, "latest")) for place in places.values()])
    findings = []
    for (name, place), answer in zip(places.items(), codes, strict=True):
        code, runtime = b"" if isinstance(answer, RpcError) else data(answer), contract(name).runtime
        if not code:
            findings.append(f"{name} {place}: there is no code")
        elif not runtime.is_code(code):
            sizes = f"{len(code)} bytes there, {runtime.length} here"
            findings.append(f"{name} {place}: its code is not this repository's ({sizes})")
    return findings


def _wiring(made: Deployment) -> Iterator[_Expected]:
    """Yield what each contract must know: what it was made with, and for the ledger its companions."""
    at, terms = made.addresses, made.terms
    told = {
        "domainSeparator": Domain(made.chain_id, at.ledger).separator(),
        "energyToken": at.token,
        "settler": made.operator,
        "compliance": at.compliance,
        "batchRules": terms.batch_rules,
    }
    for name, values in constructor_values(at, made.operator, terms, made.genesis).items():
        known = dict(zip(contract(name).constructor, values, strict=True))
        for function, value in (known | (told if name == "EnergyLedger" else {})).items():
            view = contract(name).functions.get(function.rstrip("_"))
            if view is not None and not view.types:
                text = f"{name}.{view.name}() is {{was}}, should be {{should}}"
                yield (name, view.name, ()), text, value


async def _exemption_findings(rpc: Rpc, made: Deployment) -> list[str]:
    """Say when the compliance rules bind the escrow, which sells for others."""
    (answer,) = await _ask(rpc, made, [("Compliance", "memberOf", (made.addresses.trading,))])
    exempt = answer and answer[0][_EXEMPT]
    if exempt is True:
        return []
    was = "not to be had" if answer is None else exempt
    return [f"Compliance.memberOf(P2PTrading).exempt is {was}, should be True"]


def _functions(made: Deployment) -> Iterator[_Expected]:
    """Yield which role every function must ask for; one that nobody lists is the admin's."""
    wanted = {(f["contract"], f["function"]): role["id"] for role in roles().values() for f in role["functions"]}
    for name in PLACES:
        if name == "Authority" or "authority" not in contract(name).functions:
            continue
        place = getattr(made.addresses, PLACES[name])
        for entry in functions_of(name):
            question = "Authority", "getTargetFunctionRole", (place, entry.hash[:4])
            text = f"{name}.{entry.signature} asks for role {{was}}, should ask for {{should}} (contracts/roles.json)"
            yield question, text, wanted.get((name, entry.signature), ADMIN_ROLE)
        yield ("Authority", "isTargetClosed", (place,)), f"{name} is closed: {{was}}, should be: {{should}}", False
        text = f"{name}: the admin's changes wait {{was}} s more, should wait {{should}}"
        yield ("Authority", "getTargetAdminDelay", (place,)), text, 0


def _roles() -> Iterator[_Expected]:
    """Yield which role gives each role, which cancels what it scheduled, and how long a grant waits."""
    for name, id_ in _role_ids().items():
        expected = {"getRoleAdmin": ADMIN_ROLE, "getRoleGuardian": guardian_of(id_), "getRoleGrantDelay": 0}
        for function, value in expected.items():
            text = f"{function} of the role {name} is {{was}}, should be {{should}}"
            yield ("Authority", function, (id_,)), text, value


async def _member_findings(rpc: Rpc, made: Deployment, members: Sequence[Member]) -> list[str]:
    """Compare who holds which role, and how slowly each may act."""
    granted, complete = await _ever_granted(rpc, made)
    findings = []
    if not complete:
        findings.append("the node does not tell the Authority's logs: nobody knows who else holds a role")
    wanted = {(member.role, member.account): member.delay_s for member in members}
    pairs = sorted({*wanted, *granted})
    names = {id_: name for name, id_ in _role_ids().items()} | {_PUBLIC_ROLE: "public"}
    answers = await _ask(rpc, made, [("Authority", "getAccess", pair) for pair in pairs])
    for (id_, account), answer in zip(pairs, answers, strict=True):
        text = _membership(answer, wanted.get((id_, account)))
        if text is not None:
            findings.append(f"the role {names.get(id_, id_)}: {account} {text}")
    return findings


def _membership(answer: tuple[Any, ...] | None, delay_s: int | None) -> str | None:
    """Say what is wrong with an account's hold of a role; ``delay_s`` ``None`` when it should have none."""
    if answer is None:
        return "cannot be asked about"
    since, current_s, pending_s, effect = answer
    if delay_s is None:
        return "holds it and should not" if since else None
    if not since:
        return "does not hold it and should"
    if current_s != delay_s:
        return f"acts {current_s} s after its announcement, should after {delay_s} s"
    return (
        f"will act {pending_s} s after its announcement from {effect} on, should after {delay_s} s" if effect else None
    )


async def _ever_granted(rpc: Rpc, made: Deployment) -> tuple[set[tuple[int, str]], bool]:
    """Return every role and account that was ever granted, and whether the node told all of it.

    Nodes limit how many blocks one question may span: a refused span is asked in halves.
    """
    authority = contract("Authority")
    question = {"address": made.addresses.authority, "topics": [authority.topic("RoleGranted")]}
    found: set[tuple[int, str]] = set()
    spans = [(made.block_number, quantity(await rpc.call("eth_blockNumber")))]
    for _ in range(_LOG_REQUESTS_MAX):
        if not spans:
            return found, True
        first, last = spans.pop()
        try:
            logs = await rpc.call("eth_getLogs", question | {"fromBlock": hex(first), "toBlock": hex(last)})
        except RpcError:
            if first == last:
                break
            middle = (first + last) // 2
            spans += [(middle + 1, last), (first, middle)]
            continue
        granted = (authority.log("RoleGranted", log) for log in logs)
        found |= {(values["roleId"], values["account"]) for values in granted if values is not None}
    return found, False


async def _ask(rpc: Rpc, made: Deployment, questions: Sequence[_Question]) -> list[tuple[Any, ...] | None]:
    """Call views; ``None`` stands for one that does not answer."""
    places = asdict(made.addresses)
    calls = []
    for name, function, values in questions:
        body = {"to": places[PLACES[name]], "data": hexed(contract(name).encode(function, *values))}
        calls.append(("eth_call", (body, "latest")))
    return [
        None if isinstance(answer, RpcError) else contract(name).result(function, data(answer))
        for (name, function, _), answer in zip(questions, await rpc.batch(calls), strict=True)
    ]


def _role_ids() -> dict[str, int]:
    return {"admin": ADMIN_ROLE} | {name: role["id"] for name, role in roles().items()}


def _shown(answer: tuple[Any, ...] | None) -> str:
    if answer is None:
        return "not to be had"
    return ", ".join("0x" + value.hex() if isinstance(value, bytes) else str(value) for value in answer)
