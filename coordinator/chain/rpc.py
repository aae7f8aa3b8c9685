"""JSON-RPC over one HTTP session, with two kinds of failure: the node is gone, or it says no."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Sequence
from typing import Any, Self
from urllib.parse import urlsplit

import aiohttp

_LOG = logging.getLogger(__name__)
_TIMEOUT_S = 10
_BATCH_MAX = 200
_HEADERS = {"Content-Type": "application/json"}
_TRANSIENT_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})


class NodeUnreachable(Exception):
    """No usable answer came from the node; trying again later may help."""


class RpcError(Exception):
    """The node refused a call. ``data`` holds a revert's bytes where it has them."""

    def __init__(self, method: str, code: int, message: str, data: bytes | None = None) -> None:
        super().__init__(f"{method}: {message} ({code})")
        self.code = code
        self.message = message
        self.data = data


class Rpc:
    """A client for one node. Use as an async context manager; leaving it closes the session."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """Return the client; the session opens with the first call."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the session."""
        await self.close()

    async def close(self) -> None:
        """Close the session; a later call opens a new one."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def call(self, method: str, *params: object) -> Any:
        """Return the call's result. Raises ``NodeUnreachable`` or ``RpcError``."""
        answer = await self._post({"jsonrpc": "2.0", "id": 0, "method": method, "params": params})
        result = _result(method, answer)
        if isinstance(result, RpcError):
            raise result
        return result

    async def batch(self, calls: Sequence[tuple[str, Sequence[object]]]) -> list[Any]:
        """Return the results in the calls' order, in few requests; a refused call's is an ``RpcError``."""
        answers = []
        for at in range(0, len(calls), _BATCH_MAX):
            answers += await self._batch(calls[at : at + _BATCH_MAX])
        return answers

    def __str__(self) -> str:
        """Show host and port only: a provider's path or user part may hold a secret key."""
        parts = urlsplit(self.url)
        return f"the node at {parts.hostname}" + (f":{parts.port}" if parts.port else "")

    async def _batch(self, calls: Sequence[tuple[str, Sequence[object]]]) -> list[Any]:
        body = [{"jsonrpc": "2.0", "id": i, "method": m, "params": p} for i, (m, p) in enumerate(calls)]
        answers = await self._post(body)
        if not isinstance(answers, list):
            raise NodeUnreachable(f"{self} did not answer a batch with a list")
        by_id = {answer.get("id"): answer for answer in answers if isinstance(answer, dict)}
        return [_result(method, by_id.get(i)) for i, (method, _) in enumerate(calls)]

    async def _post(self, body: object) -> Any:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S))
        try:
            sent = io.BytesIO(json.dumps(body).encode())  # a large body is sent in pieces
            async with self._session.post(self.url, data=sent, headers=_HEADERS) as response:
                text = await response.read()
                if response.status == 413:
                    raise RpcError("request", 413, "request too large")
                if response.status in _TRANSIENT_STATUS:
                    raise NodeUnreachable(f"{self} answered with status {response.status}")
                return json.loads(text)
        except (aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
            raise NodeUnreachable(f"{self} does not answer ({type(error).__name__})") from error
        except ValueError as error:
            raise NodeUnreachable(f"{self} did not answer with JSON") from error


class Reachability:
    """Says in the log once that the node is gone, and once that it is back; spaces the tries."""

    def __init__(self, who: str, first_s: float = 0.25, longest_s: float = 5.0) -> None:
        self.reachable = True
        self._who = who
        self._first_s = first_s
        self._longest_s = longest_s
        self._delay_s = first_s

    def lost(self, error: NodeUnreachable | RpcError) -> float:
        """Note a failure and return the seconds to wait before the next try."""
        if self.reachable:
            _LOG.warning("%s: %s; waiting for it, nothing is lost", self._who, error)
        self.reachable = False
        delay_s = self._delay_s
        self._delay_s = min(self._longest_s, self._delay_s * 2)
        return delay_s

    def found(self) -> bool:
        """Note a success; tell whether the node had been gone."""
        was_gone = not self.reachable
        if was_gone:
            _LOG.info("%s: the node answers again", self._who)
        self.reachable = True
        self._delay_s = self._first_s
        return was_gone


def quantity(value: object) -> int:
    """Read a JSON-RPC quantity (``0x`` hex)."""
    if not isinstance(value, str):
        raise NodeUnreachable(f"the node answered {value!r:.60} where a quantity was expected")
    return int(value, 16)


def data(value: object) -> bytes:
    """Read JSON-RPC data (``0x`` hex)."""
    if not isinstance(value, str):
        raise NodeUnreachable(f"the node answered {value!r:.60} where data was expected")
    return bytes.fromhex(value.removeprefix("0x"))


def _result(method: str, answer: object) -> Any:
    if not isinstance(answer, dict):
        raise NodeUnreachable(f"no answer to {method}")
    error = answer.get("error")
    if error is None:
        return answer.get("result")
    if not isinstance(error, dict):
        return RpcError(method, 0, str(error))
    return RpcError(method, error.get("code", 0), str(error.get("message")), _revert_data(error.get("data")))


def _revert_data(value: object) -> bytes | None:
    """Return the revert's bytes; some nodes wrap them in an object."""
    if isinstance(value, dict):
        value = value.get("data")
    try:
        return data(value)
    except NodeUnreachable, ValueError:
        return None
