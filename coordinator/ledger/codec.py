"""Commands, events and rules as JSON: bytes and device ids in hex, all else as it is.

The plan of each type is made once from its annotations. Field order is the declaration's, so that
equal objects give equal text; the log's hashes rest on that.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import StrEnum
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from ..market.commands import Command, PlaceOrder
from ..market.events import Event, OrderClosed, OrderPlaced, Traded
from ..protocol.messages import device_text
from . import quick

type Coder = Callable[[Any], Any]


class UnknownKind(ValueError):
    """The text names a command or an event that this version does not know."""


def encode(record: object) -> str:
    """Return a dataclass as JSON."""
    return _text(plain(record))


def decode[T](kind: type[T], text: str) -> T:
    """Read a dataclass back; raise ``ValueError`` when the text does not fit."""
    try:
        value: T = _decoder(kind)(msgspec.json.decode(text))
    except (KeyError, TypeError, AttributeError, msgspec.DecodeError) as error:
        raise ValueError(f"is no {kind.__name__}: {error}") from error
    return value


def encode_command(command: Command) -> tuple[str, str]:
    """Return a command's kind and its JSON."""
    text = quick.place_order(command) if isinstance(command, PlaceOrder) else None
    return type(command).__name__, text or encode(command)


def decode_command(kind: str, text: str) -> Command:
    """Read a command back."""
    return typing.cast("Command", decode(_named(_COMMANDS, kind), text))


def encode_events(events: Iterable[Event], command: Command) -> str:
    """Return events as a JSON list of ``[kind, event]``; what only repeats its command as ``[kind]``."""
    return f"[{','.join([_encode_event(event, command) for event in events])}]"


def decode_row(kind: str, command_text: str, events_text: str) -> tuple[Command, tuple[Event, ...]]:
    """Read a log row's command and events back."""
    command = decode_command(kind, command_text)
    try:
        return command, tuple(_decode_event(entry, command) for entry in msgspec.json.decode(events_text))
    except UnknownKind:
        raise
    except (IndexError, KeyError, TypeError, ValueError, AttributeError, msgspec.DecodeError) as error:
        raise ValueError(f"are no events: {error}") from error


def plain(record: object) -> dict[str, Any]:
    """Return a dataclass as plain JSON values."""
    values: dict[str, Any] = _encoder(type(record))(record)
    return values


_COMMANDS: Mapping[str, type] = {kind.__name__: kind for kind in get_args(Command.__value__)}
_ENCODERS: dict[type, Coder] = {}
_DECODERS: dict[type, Coder] = {}
_EVENTS: Mapping[str, type] = {kind.__name__: kind for kind in get_args(Event.__value__)}


def _encode_event(event: Event, command: Command) -> str:
    if isinstance(event, Traded):
        return quick.traded(event)
    if isinstance(event, OrderClosed):
        return quick.order_closed(event)
    name = type(event).__name__
    if isinstance(event, OrderPlaced) and isinstance(command, PlaceOrder) and _repeats(event, command):
        return f'["{name}"]'
    return _text([name, plain(event)])


def _repeats(event: OrderPlaced, command: PlaceOrder) -> bool:
    """Tell whether an event says nothing that its command does not; its order nearly always is the command's own."""
    same = event.order is command.order or event.order == command.order
    return same and event == OrderPlaced(event.order, command.digest, command.signature)


def _decode_event(entry: list[Any], command: Command) -> Event:
    kind = _named(_EVENTS, entry[0])
    if len(entry) == 1:
        return _repeat(command)
    return typing.cast("Event", _decoder(kind)(entry[1]))


def _repeat(command: Command) -> OrderPlaced:
    """Return the event that a placed order's command is worth."""
    if not isinstance(command, PlaceOrder):
        raise ValueError(f"a {type(command).__name__} places no order")
    return OrderPlaced(command.order, command.digest, command.signature)


def _named(kinds: Mapping[str, type], name: str) -> type:
    if name not in kinds:
        raise UnknownKind(f"{name!r} is unknown to this version")
    return kinds[name]


def _text(values: object) -> str:
    return msgspec.json.encode(values).decode()


def _encoder(kind: type) -> Coder:
    """Return what turns a dataclass of this type into a dict."""
    if kind not in _ENCODERS:
        _ENCODERS[kind] = _make_encoder(kind)
    return _ENCODERS[kind]


def _decoder(kind: type) -> Coder:
    """Return what makes a dataclass of this type from a dict with its fields; older texts lack those with defaults."""
    if kind not in _DECODERS:
        _DECODERS[kind] = _make_decoder(kind)
    return _DECODERS[kind]


def _make_encoder(kind: type) -> Coder:
    hints = get_type_hints(kind)
    plan = [(f.name, _field_coder(f.name, hints[f.name], encoding=True)) for f in fields(kind) if f.init]

    def encode_record(record: Any) -> dict[str, Any]:
        return {name: code(getattr(record, name)) if code else getattr(record, name) for name, code in plan}

    return encode_record


def _make_decoder(kind: type) -> Coder:
    hints = get_type_hints(kind)
    plan = {f.name: _field_coder(f.name, hints[f.name], encoding=False) for f in fields(kind) if f.init}
    needed = {f.name for f in fields(kind) if f.init and f.default is MISSING and f.default_factory is MISSING}

    def decode_record(values: Any) -> Any:
        if not needed <= values.keys() <= plan.keys():
            raise ValueError(f"{kind.__name__} has the fields {', '.join(plan)}, not {', '.join(values)}")
        return kind(**{name: plan[name](value) if plan[name] else value for name, value in values.items()})  # type: ignore[misc]

    return decode_record


def _field_coder(name: str, hint: Any, *, encoding: bool) -> Coder | None:
    if name == "device_id":
        return device_text if encoding else _from_hex_int
    return _coder(hint, encoding=encoding)


def _coder(hint: Any, *, encoding: bool) -> Coder | None:
    """Return how a value of this annotation is translated, ``None`` for not at all."""
    if isinstance(hint, typing.TypeAliasType):
        return _coder(hint.__value__, encoding=encoding)
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        (inner,) = (a for a in arguments if a is not types.NoneType)
        return _optional(_coder(inner, encoding=encoding))
    if origin is tuple:
        return _sequence(_coder(arguments[0], encoding=encoding), encoding=encoding)
    if hint is bytes:
        return _to_hex if encoding else _from_hex
    if hint in (int, str, bool) or origin is Literal:
        return None
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return None if encoding else hint
    assert is_dataclass(hint), f"no plan for {hint}"
    assert isinstance(hint, type)
    return _encoder(hint) if encoding else _decoder(hint)


def _optional(code: Coder | None) -> Coder | None:
    if code is None:
        return None
    return lambda value: None if value is None else code(value)


def _sequence(code: Coder | None, *, encoding: bool) -> Coder:
    kind = list if encoding else tuple
    if code is None:
        return kind
    return lambda values: kind(code(value) for value in values)


def _to_hex(value: bytes) -> str:
    return "0x" + value.hex()


def _from_hex(value: str) -> bytes:
    return bytes.fromhex(value[2:])


def _from_hex_int(value: str) -> int:
    return int(value, 16)
