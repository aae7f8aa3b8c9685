"""What an operator hands to homes that may join: one link, as text and as a QR code (``energy-trade invite``)."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from urllib.parse import urlsplit

import segno

from .chain.deployment import load_deployment
from .chain.keys import KeyFileError, load_or_create_key
from .chain.networks import DeploymentError
from .config import Config
from .edge.announce import NotAnnounced, is_loopback, place_of
from .premises import INVITE_FILE, OPERATOR_KEY_FILE
from .protocol.invitation import Invitation, coordinator_url

_FAILED, _WRONG = 1, 2
_SVG_SCALE = 8


def run(arguments: argparse.Namespace, config: Config) -> int:
    """Print the link and its code, or write the code to a file; return the exit status."""
    try:
        invitation = invitation_of(config, arguments.url)
    except (ValueError, KeyFileError, DeploymentError, NotAnnounced) as error:
        print(error, file=sys.stderr)
        return _WRONG
    if is_loopback(urlsplit(invitation.url).hostname or ""):
        print(f"only this machine can reach {invitation.url}: name another --url for other homes", file=sys.stderr)
    code = segno.make(invitation.link(), error="m", micro=False)
    if arguments.svg is not None:
        try:
            _write(code, arguments.svg)
        except OSError as error:
            print(f"{arguments.svg}: {error.strerror}", file=sys.stderr)
            return _FAILED
        print(f"written to {arguments.svg}: whoever sees it can join {invitation.market}", file=sys.stderr)
    elif sys.stdout.isatty():
        code.terminal(out=sys.stdout, compact=True)
    print(invitation.link())
    return 0


def invitation_of(config: Config, url: str | None = None) -> Invitation:
    """Return the market's invitation; raise ``ValueError`` with a sentence when the data folder has none."""
    if not (config.data / OPERATOR_KEY_FILE).exists() or load_deployment(config.data) is None:
        raise ValueError(f"{config.data} has no market: name the right --data, or run the coordinator once.")
    invite = config.market.invite
    if invite is None:
        file = config.data / INVITE_FILE
        if not file.exists():
            raise ValueError(f"{file} is missing: run the coordinator once, it makes an invite.")
        invite = file.read_text(encoding="ascii").strip()
    address = place_of(config, config.http.port).url if url is None else url
    operator = load_or_create_key(config.data / OPERATOR_KEY_FILE)
    return Invitation(coordinator_url(address), invite, config.market.id, operator.address)


def _write(code: segno.QRCode, file: Path) -> None:
    """Write the code as SVG; nobody but the owner may read it, for it is an invite."""
    file.touch(mode=0o600)
    with file.open("wb") as out:
        code.save(out, kind="svg", scale=_SVG_SCALE, xmldecl=False, title="Energy Trade")
