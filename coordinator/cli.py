"""The one command line. Exit status: 0 done, 1 failed, 2 the question was wrong.

Each command imports what it needs when it runs: ``clear`` answers in a third of the time that
loading the whole coordinator takes.
"""

# ruff: noqa: PLC0415

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from . import __version__
from .checking import clear, verify_certificate, verify_receipt_file
from .reports.cli import (
    add_conformance,
    add_rule,
    add_surveillance,
    asks_for_rule,
    run_conformance,
    run_rule,
    run_surveillance,
)

if TYPE_CHECKING:
    from .app import Coordinator
    from .clock import Clock
    from .config import Config
    from .market.state import Account

_FAILED, _WRONG = 1, 2
_HEALTH_S = 5.0
_DAY_S = 86_400


class _Wrong(Exception):
    """The question cannot be answered as it was put."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``energy-trade``; return the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    options = _parser(arguments).parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        return run(options)
    except _Wrong as error:
        print(error, file=sys.stderr)
        return _WRONG
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader has gone: `| head`
        return _FAILED


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="energy-trade", description="A local energy market run by its community.")
    parser.add_argument("--version", action="version", version=f"energy-trade {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, text: str, run: Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text)
        made.set_defaults(run=run)
        return made

    _add_serve(command("serve", "run the coordinator: market, ledger, chain, API and live page", _serve))
    _add_deploy(command("deploy", "put the contracts on a chain; what it takes; what differs there", _deploy))
    _add_clear(command("clear", "clear case files and print the results as JSON", clear))
    again = command("replay", "rebuild the state from the log; print its hash and what the log holds", _replay)
    _add_data(again)
    again.add_argument("--at", type=int, metavar="SEQUENCE", help="stop after this command of the log")
    add_rule(again)
    _add_data(command("verify", "decide every command of the log again and compare", _verify))
    watch = command("surveillance", "look for wash trades, odd prices and more; it punishes nobody", _surveillance)
    _add_data(watch)
    add_surveillance(watch)
    add_conformance(command("conformance", "try any engine on the case files", run_conformance))
    text = "take orders again after a halt, send failed settlements again (stop the coordinator first)"
    resume = command("resume", text, _resume)
    _add_data(resume)
    resume.add_argument("--reason", required=True, help="what was found and done; it stands in the log")
    tell = command("signal", "tell a running market the grid's state, frequency or a forecast", _signal)
    _add_data(tell)
    _add_signal(tell)
    _add_invite(command("invite", "print the link that invites homes, and its QR code", _invite))
    proof = command("certificate", "check the certificate of an auction or session", verify_certificate)
    proof.add_argument("file", help="the certificate (JSON, as the API gives it), or - for standard input")
    _add_receipt(command("receipt", "work with settlement receipts", verify_receipt_file))
    command("openapi", "print the API's description (OpenAPI 3.1)", _openapi)
    _add_healthcheck(command("healthcheck", "ask a running coordinator whether it is ready", _healthcheck))
    simulations = {
        "demo": "run a whole community on this machine",
        "homes": "run simulated homes",
        "policies": "simulate a week of one home under each policy",
    }
    for name, text in simulations.items():
        _add_simulation(command(name, text, _simulate), name, wanted=arguments[:1] == [name])
    return parser


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, metavar="FILE", help="configuration file (TOML)")
    parser.add_argument("--data", type=Path, metavar="DIR", help="data directory (default energy-trade-data)")


def _add_serve(parser: argparse.ArgumentParser) -> None:
    _add_data(parser)
    parser.add_argument("--host", help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", type=int, help="port to listen on, 0 for any (default 8787)")
    parser.add_argument("--rpc-url", metavar="URL", help="an existing chain node; without it a local one is started")
    parser.add_argument("--show-config", action="store_true", help="print the configuration without secrets and end")


def _add_deploy(parser: argparse.ArgumentParser) -> None:
    _add_data(parser)
    parser.add_argument("--network", metavar="NAME", help="the network that the node must be of, see --list-networks")
    parser.add_argument("--rpc-url", metavar="URL", help="the chain's node; without it the local chain is meant")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--dry-run", action="store_true", help="send nothing; print the plan, its gas and its cost")
    how.add_argument("--verify", action="store_true", help="compare the contracts there with this repository")
    how.add_argument("--list-networks", action="store_true", help="print the networks that are known and end")


def _add_clear(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", metavar="CASE.json", help="case file, or - for standard input")
    parser.add_argument("--case", metavar="ID", help="only this case of a collection")
    text = "seconds that the solver may take for a session (default %(default)s)"
    parser.add_argument("--limit", type=_seconds, default=30.0, metavar="S", help=text)


def _add_invite(parser: argparse.ArgumentParser) -> None:
    _add_data(parser)
    parser.add_argument("--url", metavar="URL", help="the address that homes use (default: the configured one)")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="write the QR code to this file")


def _seconds(text: str) -> float:
    """Read a positive number of seconds, at most a day."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= _DAY_S:
        raise argparse.ArgumentTypeError(f"expected a positive number of seconds up to a day, was {text!r}")
    return seconds


def _add_signal(parser: argparse.ArgumentParser) -> None:
    told = ("grid_state", "frequency", "forecast_surplus")
    parser.add_argument("signal", choices=told, help="what is told")
    text = "grid_state: normal, strained, emergency or island; frequency: mHz; forecast_surplus: Wh"
    parser.add_argument("value", help=text)
    parser.add_argument("--interval", type=int, default=0, metavar="START", help="the forecast's delivery interval")
    parser.add_argument("--url", default="http://127.0.0.1:8787", help="the coordinator (default %(default)s)")


def _add_receipt(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    verify = actions.add_parser("verify", help="recompute a receipt; with --rpc-url compare it with the chain too")
    verify.add_argument("file", help="the receipt (JSON), or - for standard input")
    verify.add_argument("--rpc-url", metavar="URL", help="the chain's node")


def _add_healthcheck(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", default="http://127.0.0.1:8787", help="the coordinator (default %(default)s)")


def _add_simulation(parser: argparse.ArgumentParser, name: str, *, wanted: bool) -> None:
    """Load the simulation only when it is asked for: a coordinator at work does not need it."""
    if not wanted:
        return
    chosen = importlib.import_module(f".simulation.{name}", __package__)
    chosen.add_arguments(parser)
    parser.set_defaults(simulation=chosen.run)


def _simulate(options: argparse.Namespace) -> int:
    status: int = options.simulation(options)
    return status


def _load(options: argparse.Namespace) -> Config:
    from .config import ConfigError, load

    named = vars(options)
    overrides = {
        "data": str(named["data"]) if named.get("data") else None,
        "http.host": named.get("host"),
        "http.port": named.get("port"),
        "chain.rpc_url": named.get("rpc_url"),
        "chain.network": named.get("network"),
    }
    try:
        return load(options.config, os.environ, overrides)
    except ConfigError as error:
        raise _Wrong(str(error)) from error


def _serve(options: argparse.Namespace) -> int:
    from .config import describe

    config = _load(options)
    if options.show_config:
        print(describe(config))
        return 0
    _configure_logging()
    return asyncio.run(serve(config))


async def serve(config: Config, clock: Clock | None = None) -> int:
    """Serve until the first signal, then stop in order; the second signal ends at once."""
    from .app import FAILURES, running

    stopping = _stop_on_signals()
    try:
        async with running(config, clock) as coordinator:
            _announce(coordinator)
            await asyncio.get_running_loop().create_future()
    except asyncio.CancelledError:
        if not stopping.is_set():
            raise
    except FAILURES as error:
        print(f"energy-trade: {error}", file=sys.stderr)
        return _FAILED
    except BaseExceptionGroup as group:
        expected, unexpected = group.split(FAILURES)
        if unexpected is not None or expected is None:
            raise
        for leaf in _leaves(expected):
            print(f"energy-trade: {leaf}", file=sys.stderr)
        return _FAILED
    return 0


def _stop_on_signals() -> asyncio.Event:
    stopping = asyncio.Event()
    task = asyncio.current_task()
    assert task is not None

    def stop() -> None:
        if stopping.is_set():
            os._exit(_FAILED)  # asked twice: the ledger is whole at every moment, so nothing is lost
        stopping.set()
        task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    return stopping


def _announce(coordinator: Coordinator) -> None:
    """Say where everything is; the invite is shown once, when it was made."""
    from .chain.rpc import Rpc

    config, deployment = coordinator.config, coordinator.deployment
    node = Rpc(coordinator.rpc_url)
    print(f"energy-trade {__version__}: {config.market.name} ({config.market.id})")
    print(f"  live page  {coordinator.url}/")
    print(f"  chain      {deployment.chain_id}, {node}; ledger contract {deployment.addresses.ledger}")
    print(f"  data       {config.data.resolve()}")
    if coordinator.invite_is_new:
        print(f"  invite     {coordinator.invite}  (made now; kept in {config.data / 'invite'})")
    sys.stdout.flush()


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


def _configure_logging() -> None:
    """Log to standard error: for people on a terminal, as JSON lines elsewhere."""
    import logging

    import structlog

    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    final: list[structlog.typing.Processor] = (
        [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]  # never shows local values
        if sys.stderr.isatty()
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *final],
        )
    )
    logging.basicConfig(handlers=[handler], level=os.environ.get("ENERGY_TRADE_LOG", "INFO").upper(), force=True)


def _deploy(options: argparse.Namespace) -> int:
    from .deploy import list_networks, run

    if options.list_networks:
        return list_networks()
    config = _load(options)
    _configure_logging()
    return asyncio.run(run(config, options.config, dry_run=options.dry_run, verify=options.verify))


def _signal(options: argparse.Namespace) -> int:
    from .signalling import run

    return run(options, _load(options).data)


def _invite(options: argparse.Namespace) -> int:
    from .invitation import run

    return run(options, _load(options))


def _surveillance(options: argparse.Namespace) -> int:
    return run_surveillance(options, _ledger_file(options))


def _replay(options: argparse.Namespace) -> int:
    if asks_for_rule(options):
        return run_rule(options, _ledger_file(options))
    from .ledger import LedgerError
    from .ledger.replay import replay

    try:
        report = replay(_ledger_file(options), options.at)
    except LedgerError as error:
        print(error, file=sys.stderr)
        return _FAILED
    shown = {
        "sequence": report.sequence,
        "at": report.at,
        "log_hash": report.log_hash.hex(),
        "state_hash": report.state_hash.hex(),
        "market": report.terms.rules.market,
        "chain_id": report.terms.chain_id,
        "ledger": report.terms.ledger,
        "halted": report.state.halted,
        "commands": report.commands,
        "events": report.events,
        "accounts": {name: _account(report.state.accounts[name]) for name in sorted(report.state.accounts)},
    }
    print(json.dumps(shown, indent=1))
    return 0


def _account(account: Account) -> dict[str, int]:
    return {
        "money_micro": account.money_micro,
        "reserved_micro": account.reserved_micro,
        "energy_wh": account.energy_wh,
        "bought_wh": account.bought_wh,
        "sold_wh": account.sold_wh,
    }


def _verify(options: argparse.Namespace) -> int:
    from .ledger import LedgerError
    from .ledger.verify import verify

    try:
        report = verify(_ledger_file(options))
    except LedgerError as error:
        print(error, file=sys.stderr)
        return _FAILED
    for finding in report.findings:
        print(finding, file=sys.stderr)
    print(
        f"{report.commands} commands decided again, {report.readings} readings and {report.settlements} settlements"
        f" checked: {len(report.findings)} findings, state {report.state_hash.hex()} at sequence {report.sequence}"
    )
    return _FAILED if report.findings else 0


def _ledger_file(options: argparse.Namespace) -> Path:
    from .app import LEDGER_FILE

    return _load(options).data / LEDGER_FILE


def _resume(options: argparse.Namespace) -> int:
    from .app import FAILURES, resume_trading

    config = _load(options)
    try:
        resumed = asyncio.run(resume_trading(config, options.reason))
    except FAILURES as error:
        print(error, file=sys.stderr)
        return _FAILED
    if resumed.halted is not None:
        print(f"trading goes on with the next start; it had stopped because: {resumed.halted}")
    for key in resumed.again:
        print(f"{key} is sent again with the next start")
    for key in resumed.left:
        print(f"{key} has failed and stays so")
    return 0


def _openapi(_options: argparse.Namespace) -> int:
    from .edge.openapi import document_text

    print(document_text(), end="")
    return 0


def _healthcheck(options: argparse.Namespace) -> int:
    """Ask ``/readyz``; any answer but "unavailable" will do."""
    import urllib.request

    if not options.url.startswith(("http://", "https://")):
        print(f"{options.url}: expected http:// or https://", file=sys.stderr)
        return _WRONG
    try:
        with urllib.request.urlopen(options.url.rstrip("/") + "/readyz", timeout=_HEALTH_S) as answer:  # noqa: S310 - checked above
            health = json.load(answer)
    except (OSError, ValueError) as error:
        print(f"{options.url}: not ready: {error}", file=sys.stderr)
        return _FAILED
    print(f"{health['status']}: ledger {health['ledger']}, chain {health['chain']}, trading {health['trading']}")
    return 0
