"""The compiled contracts' interfaces: encoding calls, decoding results, logs and errors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib import resources
from typing import Any

from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError

from ..protocol.keccak import keccak256

CONTRACTS = (
    "Authority",
    "Certificates",
    "Compliance",
    "DemoCurrency",
    "EnergyLedger",
    "EnergyToken",
    "GridManagement",
    "P2PTrading",
    "PriceFeeds",
    "ReadingDisputes",
    "SmartMeterRegistry",
)
_ERROR_STRING = keccak256(b"Error(string)")[:4]
_PANIC = keccak256(b"Panic(uint256)")[:4]


@dataclass(frozen=True, slots=True)
class Entry:
    """One function, event or error."""

    name: str
    names: tuple[str, ...]
    types: tuple[str, ...]
    indexed: tuple[bool, ...]
    outputs: tuple[str, ...]

    @property
    def signature(self) -> str:
        """Return the name with its types."""
        return f"{self.name}({','.join(self.types)})"

    @property
    def hash(self) -> bytes:
        """Return the hash of the signature: its first four bytes select a function or an error."""
        return keccak256(self.signature.encode())


@dataclass(frozen=True, slots=True)
class Runtime:
    """The code that a deployed contract has, but for its immutables: places in it that the constructor filled."""

    length: int
    sha256: str
    immutables: tuple[tuple[int, int], ...]

    def is_code(self, code: bytes) -> bool:
        """Tell whether this is the contract's code, whatever its immutables."""
        masked = bytearray(code)
        for start, length in self.immutables:
            masked[start : start + length] = bytes(length)
        return len(code) == self.length and sha256(masked).hexdigest() == self.sha256


@dataclass(frozen=True)
class Contract:
    """One contract's interface, creation code and runtime code. ``constructor`` has types by names."""

    name: str
    functions: Mapping[str, Entry]
    events: Mapping[str, Entry]
    errors: Mapping[bytes, Entry]
    constructor: Mapping[str, str]
    bytecode: bytes
    runtime: Runtime

    def encode(self, function: str, *values: object) -> bytes:
        """Return the calldata of a call."""
        entry = self.functions[function]
        return entry.hash[:4] + encode(entry.types, values)

    def arguments(self, function: str, calldata: bytes) -> tuple[Any, ...] | None:
        """Return the arguments in the calldata, ``None`` when it is no call of that function."""
        entry = self.functions[function]
        if calldata[:4] != entry.hash[:4]:
            return None
        return _decode(entry.types, calldata[4:])

    def result(self, function: str, output: bytes) -> tuple[Any, ...] | None:
        """Return the values that the function returned, ``None`` when the output is none of its."""
        return _decode(self.functions[function].outputs, output)

    def creation(self, *values: object) -> bytes:
        """Return the data of the transaction that deploys the contract."""
        return self.bytecode + encode(tuple(self.constructor.values()), values)

    def topic(self, event: str) -> str:
        """Return the event's first topic."""
        return "0x" + self.events[event].hash.hex()

    def log(self, event: str, log: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the event's values by name, ``None`` when the log is not of that event."""
        entry = self.events[event]
        topics = log["topics"]
        if not topics or topics[0] != self.topic(event) or len(topics) != 1 + sum(entry.indexed):
            return None
        words = iter(topics[1:])
        body = [kind for kind, indexed in zip(entry.types, entry.indexed, strict=True) if not indexed]
        rest = iter(_decode(body, bytes.fromhex(log["data"][2:])) or ())
        values = {}
        for name, kind, indexed in zip(entry.names, entry.types, entry.indexed, strict=True):
            word = _decode((kind,), bytes.fromhex(next(words)[2:])) if indexed else (next(rest, None),)
            values[name] = word[0] if word else None
        return None if None in values.values() else values


@cache
def artifact(name: str) -> Mapping[str, Any]:
    """Return a file of the artifacts: a contract's, ``roles`` or ``networks``."""
    text = resources.files(__package__).joinpath("artifacts", f"{name}.json").read_text("utf-8")
    content: dict[str, Any] = json.loads(text)
    return content


def interface(name: str) -> list[dict[str, Any]]:
    """Return a contract's ABI."""
    described: list[dict[str, Any]] = artifact(name)["abi"]
    return described


@cache
def contract(name: str) -> Contract:
    """Return a compiled contract of this project."""
    made = artifact(name)
    entries = [(item["type"], _entry(item)) for item in made["abi"] if "name" in item]
    makers = [item for item in made["abi"] if item["type"] == "constructor"]
    return Contract(
        name,
        {entry.name: entry for kind, entry in entries if kind == "function"},
        {entry.name: entry for kind, entry in entries if kind == "event"},
        {entry.hash[:4]: entry for kind, entry in entries if kind == "error"},
        {i["name"]: _type(i) for maker in makers for i in maker["inputs"]},
        bytes.fromhex(made["bytecode"].removeprefix("0x")),
        _runtime(made["runtime"]),
    )


def functions_of(name: str) -> list[Entry]:
    """Return all functions of a contract, also those that share a name."""
    return [_entry(item) for item in artifact(name)["abi"] if item["type"] == "function"]


def roles() -> Mapping[str, Any]:
    """Return ``roles.json``: each role's id, holder and the functions that it may call, by contract."""
    return artifact("roles")


def describe_revert(output: bytes | None) -> str:
    """Name a revert: ``AccountIntervalUsed(account=0x.., deliveryStart=..)``, a reason, a panic."""
    if not output:
        return "reverted without a reason"
    selector, body = output[:4], output[4:]
    if selector == _ERROR_STRING and (reason := _decode(("string",), body)):
        return f"reverted: {reason[0]}"
    if selector == _PANIC and (code := _decode(("uint256",), body)):
        return f"Panic(0x{code[0]:02x})"
    entry = _errors().get(selector)
    values = _decode(entry.types, body) if entry else None
    if entry is None or values is None:
        return f"reverted with 0x{output[:36].hex()}"
    pairs = zip(entry.names, values, strict=True)
    return f"{entry.name}({', '.join(f'{name}={_shown(value)}' for name, value in pairs)})"


@cache
def _errors() -> dict[bytes, Entry]:
    return {selector: entry for name in CONTRACTS for selector, entry in contract(name).errors.items()}


def _entry(item: Mapping[str, Any]) -> Entry:
    inputs = item["inputs"]
    return Entry(
        item["name"],
        tuple(i["name"] for i in inputs),
        tuple(_type(i) for i in inputs),
        tuple(i.get("indexed", False) for i in inputs),
        tuple(_type(o) for o in item.get("outputs", ())),
    )


def _runtime(item: Mapping[str, Any]) -> Runtime:
    places = tuple((start, length) for start, length in item["immutables"])
    return Runtime(item["bytes"], item["sha256"], places)


def _type(parameter: Mapping[str, Any]) -> str:
    """Return the canonical type; a struct is the tuple of its members."""
    kind: str = parameter["type"]
    if kind.startswith("tuple"):
        return "(" + ",".join(map(_type, parameter["components"])) + ")" + kind.removeprefix("tuple")
    return kind


def _decode(types: tuple[str, ...] | list[str], body: bytes) -> tuple[Any, ...] | None:
    try:
        values: tuple[Any, ...] = decode(types, body)
    except DecodingError:
        return None
    return values


def _shown(value: object) -> str:
    return "0x" + value.hex() if isinstance(value, bytes) else str(value)
