"""The configuration folder of the demo's Home Assistant, ready to be started and logged into.

Onboarding is done, one user exists and the web server listens on loopback only. Storage versions
are those of Home Assistant 2026.10, which the project pins; later releases migrate them.
"""

from __future__ import annotations

import base64
import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bcrypt

from .processes import LOOPBACK

USER = "demo"
INTEGRATION = Path(__file__).parents[2] / "custom_components" / "energy_trade"
_CONFIGURATION = """\
# Written by `energy-trade demo` at each start.
homeassistant:
  name: Demo home
  unit_system: metric
  time_zone: Europe/Berlin
  currency: EUR
  country: DE
  latitude: 51.31
  longitude: 9.48
  elevation: 167
logger:
  default: warning
  logs:
    custom_components.energy_trade: info
recorder:
  commit_interval: 5
api:
config:
energy:
frontend:
history:
logbook:
"""


@dataclass(frozen=True, slots=True)
class Login:
    """Who may log in to the demo's Home Assistant."""

    user: str
    password: str


def prepare(folder: Path, port: int) -> Login:
    """Write what Home Assistant reads before it starts; keep what it has stored itself."""
    storage = folder / ".storage"
    storage.mkdir(parents=True, exist_ok=True)
    (folder / "configuration.yaml").write_text(_CONFIGURATION)
    _link_integration(folder / "custom_components")
    _store(storage, "http", 2, 2, _http(port))
    login = _login(folder / "login.json")
    if not (storage / "auth").exists():
        _store(storage, "onboarding", 4, 1, _ONBOARDED)
        _store(storage, "auth_provider.homeassistant", 1, 1, _passwords(login))
        _store(storage, "auth", 1, 1, _users(login))
    return login


def _link_integration(folder: Path) -> None:
    """Show Home Assistant this very source, so that a restart runs what was just edited."""
    folder.mkdir(exist_ok=True)
    link = folder / INTEGRATION.name
    if link.is_symlink() or not link.exists():
        link.unlink(missing_ok=True)
        link.symlink_to(INTEGRATION, target_is_directory=True)


def _login(path: Path) -> Login:
    if path.exists():
        return Login(**json.loads(path.read_text()))
    login = Login(USER, secrets.token_urlsafe(9))
    path.touch(mode=0o600)
    path.write_text(json.dumps({"user": login.user, "password": login.password}) + "\n")
    return login


def _store(storage: Path, key: str, version: int, minor: int, data: dict[str, Any]) -> None:
    path = storage / key
    path.touch(mode=0o600)
    content = {"version": version, "minor_version": minor, "key": key, "data": data}
    path.write_text(json.dumps(content, indent=2))


_ONBOARDED = {"done": ["user", "core_config", "analytics", "integration"]}


def _http(port: int) -> dict[str, Any]:
    stable = {
        "server_host": [LOOPBACK],
        "server_port": port,
        "cors_allowed_origins": [],
        "login_attempts_threshold": -1,
        "ip_ban_enabled": False,
        "ssl_profile": "modern",
        "use_x_frame_options": True,
        "created_at": "2026-11-22T00:00:00+00:00",
        "error": None,
        "error_message": None,
    }
    return {"stable": stable, "pending": None, "yaml_migration_done": True}


def _passwords(login: Login) -> dict[str, Any]:
    digest = bcrypt.hashpw(login.password.encode(), bcrypt.gensalt(rounds=12))
    return {"users": [{"username": login.user, "password": base64.b64encode(digest).decode()}]}


def _users(login: Login) -> dict[str, Any]:
    user, credential = secrets.token_hex(16), secrets.token_hex(16)
    names = {
        "system-admin": "Administrators",
        "system-users": "Users",
        "system-read-only": "Read Only",
    }
    return {
        "users": [
            {
                "id": user,
                "group_ids": ["system-admin"],
                "is_owner": True,
                "is_active": True,
                "name": "Demo",
                "system_generated": False,
                "local_only": True,
            }
        ],
        "groups": [{"id": group, "name": name} for group, name in names.items()],
        "credentials": [
            {
                "id": credential,
                "user_id": user,
                "auth_provider_type": "homeassistant",
                "auth_provider_id": None,
                "data": {"username": login.user},
            }
        ],
        "refresh_tokens": [],
    }
