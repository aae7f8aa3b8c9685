"""What a person does in Home Assistant's own interface, done through the same API."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import aiohttp

from .hass_files import Login

_TIMEOUT = aiohttp.ClientTimeout(total=60)


class HassRefused(Exception):
    """Home Assistant did not do what was asked; the sentence says what it answered."""


@dataclass(slots=True)
class HassApi:
    """A logged-in user of one Home Assistant."""

    session: aiohttp.ClientSession
    url: str
    token: str
    refresh_token: str

    @classmethod
    async def log_in(cls, session: aiohttp.ClientSession, url: str, login: Login) -> Self:
        """Log in with user name and password, as the login page does."""
        client_id = f"{url}/"
        begin = {
            "client_id": client_id,
            "handler": ["homeassistant", None],
            "redirect_uri": client_id,
        }
        flow = await _post(session, f"{url}/auth/login_flow", json=begin)
        answer = {"client_id": client_id, "username": login.user, "password": login.password}
        step = await _post(session, f"{url}/auth/login_flow/{flow['flow_id']}", json=answer)
        if step.get("type") != "create_entry":
            raise HassRefused(f"Home Assistant refused the login: {step.get('errors')}")
        grant = {
            "grant_type": "authorization_code",
            "code": step["result"],
            "client_id": client_id,
        }
        tokens = await _post(session, f"{url}/auth/token", data=grant)
        return cls(session, url, tokens["access_token"], tokens["refresh_token"])

    async def config(self) -> dict[str, Any]:
        """Return Home Assistant's own configuration and state of running."""
        config: dict[str, Any] = await self._get("/api/config")
        return config

    async def states(self) -> dict[str, dict[str, Any]]:
        """Return all entities' states by entity id."""
        states: list[dict[str, Any]] = await self._get("/api/states")
        return {state["entity_id"]: state for state in states}

    async def entries(self, domain: str) -> list[dict[str, Any]]:
        """Return the config entries of an integration."""
        entries: list[dict[str, Any]] = await self._get(f"/api/config/config_entries/entry?domain={domain}")
        return entries

    async def begin_flow(self, domain: str) -> dict[str, Any]:
        """Click "Add integration" and return the first step."""
        path = "/api/config/config_entries/flow"
        step: dict[str, Any] = await self._post(path, {"handler": domain})
        return step

    async def answer_flow(self, flow_id: str, answers: Mapping[str, Any]) -> dict[str, Any]:
        """Fill in a step and press "Submit"; return the next step or the result."""
        step: dict[str, Any] = await self._post(f"/api/config/config_entries/flow/{flow_id}", answers)
        return step

    async def begin_options(self, entry_id: str) -> dict[str, Any]:
        """Open the options of an entry; return its first step."""
        step: dict[str, Any] = await self._post("/api/config/config_entries/options/flow", {"handler": entry_id})
        return step

    async def answer_options(self, flow_id: str, answers: Mapping[str, Any]) -> dict[str, Any]:
        """Answer a step of the options; return the next one."""
        step: dict[str, Any] = await self._post(f"/api/config/config_entries/options/flow/{flow_id}", answers)
        return step

    async def command(self, kind: str, **arguments: Any) -> Any:
        """Send one WebSocket command and return its result."""
        async with self.session.ws_connect(f"{self.url}/api/websocket") as socket:
            await socket.receive_json()
            await socket.send_json({"type": "auth", "access_token": self.token})
            if (await socket.receive_json())["type"] != "auth_ok":
                raise HassRefused("Home Assistant refused the token")
            await socket.send_json({"id": 1, "type": kind, **arguments})
            answer = await socket.receive_json()
        if not answer["success"]:
            raise HassRefused(f"{kind}: {answer['error']['message']}")
        return answer["result"]

    @property
    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    async def _get(self, path: str) -> Any:
        async with self.session.get(self.url + path, headers=self._headers, timeout=_TIMEOUT) as response:
            response.raise_for_status()
            return await response.json()

    async def _post(self, path: str, body: Mapping[str, Any]) -> Any:
        return await _post(self.session, self.url + path, json=body, headers=self._headers)


def field_names(step: Mapping[str, Any]) -> list[str]:
    """Return the names of a form's fields."""
    return [field["name"] for field in step.get("data_schema") or []]


def suggested(step: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a form proposes: suggested values first, then defaults."""
    fields: Iterable[Mapping[str, Any]] = step.get("data_schema") or []
    proposals: dict[str, Any] = {}
    for field in fields:
        hint = (field.get("description") or {}).get("suggested_value")
        if hint is not None:
            proposals[field["name"]] = hint
        elif field.get("default") is not None:
            proposals[field["name"]] = field["default"]
    return proposals


async def _post(session: aiohttp.ClientSession, url: str, **body: Any) -> Any:
    async with session.post(url, timeout=_TIMEOUT, **body) as response:
        if response.status >= 400:
            raise HassRefused(f"{url} answered {response.status}: {(await response.text())[:500]}")
        return await response.json()
