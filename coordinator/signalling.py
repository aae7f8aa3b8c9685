"""What an operator tells a running market: the grid's state, its frequency, a forecast (``energy-trade signal``).

Conditional orders wait for these values. The message is signed with the operator's key, from the data directory.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

import aiohttp

from .chain.keys import KeyFileError, load_or_create_key
from .premises import OPERATOR_KEY_FILE
from .protocol.client import CoordinatorClient, CoordinatorRefused, CoordinatorUnavailable
from .protocol.order_terms import Signal
from .protocol.signals import SignalMessage
from .protocol.wire import read_int

GRID_STATES = ("normal", "strained", "emergency", "island")
_FAILED, _WRONG = 1, 2


def run(arguments: argparse.Namespace, data: Path) -> int:
    """Sign and send the value; return the exit status."""
    try:
        signal, value = _checked(arguments, data)
        held = asyncio.run(_send(arguments.url.rstrip("/"), data, signal, arguments.interval, value))
    except (ValueError, KeyFileError) as error:
        print(error, file=sys.stderr)
        return _WRONG
    except CoordinatorUnavailable as error:
        print(f"{arguments.url}: {_sentence(error)}", file=sys.stderr)
        return _FAILED
    except CoordinatorRefused as error:
        print(f"{arguments.url}: {error}", file=sys.stderr)
        return _FAILED
    told = shown(signal, value)
    if held != value:
        stays = f"{signal.value} stays {shown(signal, held)}"
        print(f"{stays}: that was told in the same second; tell {told} again", file=sys.stderr)
        return _FAILED
    print(f"{signal.value} is {told} from now on")
    return 0


def _checked(arguments: argparse.Namespace, data: Path) -> tuple[Signal, int]:
    signal = Signal(arguments.signal)
    if (arguments.interval == 0) != signal.is_of_the_grid:
        raise ValueError("--interval: forecast_surplus needs its interval, the grid's signals have none")
    if not (data / OPERATOR_KEY_FILE).exists():
        raise ValueError(f"{data} has no {OPERATOR_KEY_FILE}: name the coordinator's --data")
    return signal, value_of(signal, arguments.value)


def value_of(signal: Signal, text: str) -> int:
    """Read a signal's value; raise ``ValueError`` with a sentence."""
    if signal is Signal.GRID_STATE and text in GRID_STATES:
        return GRID_STATES.index(text)
    try:
        return int(text)
    except ValueError:
        words = f"{', '.join(GRID_STATES)} or " if signal is Signal.GRID_STATE else ""
        raise ValueError(f"value: expected {words}a whole number, was {text[:40]!r}") from None


def shown(signal: Signal, value: int) -> str:
    """Return a signal's value in the words in which it is told."""
    if signal is Signal.GRID_STATE and 0 <= value < len(GRID_STATES):
        return GRID_STATES[value]
    return str(value)


def _sentence(error: CoordinatorUnavailable) -> str:
    """Say why there is no answer: what lies beneath it names a connection in Python's words."""
    match error.__cause__:
        case aiohttp.InvalidURL():
            return "is no address of a coordinator"
        case aiohttp.ClientConnectorError():
            return "the coordinator cannot be reached"
        case TimeoutError():
            return "the coordinator did not answer in time"
        case aiohttp.ClientError() | OSError():
            return "the connection to the coordinator broke"
    return str(error)


async def _send(url: str, data: Path, signal: Signal, interval: int, value: int) -> int:
    """Return the value that the market holds then."""
    key = load_or_create_key(data / OPERATOR_KEY_FILE)
    async with aiohttp.ClientSession() as session:
        client = CoordinatorClient(session, url)
        info = await client.market()
        message = SignalMessage(info.market, signal, interval, value, info.time)
        return read_int(await client.send_signal(message, key, info.domain), "value")
