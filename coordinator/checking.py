"""What the command line says about a file alone: a case, a receipt, an auction's certificate.

Exit status: 0 it is so, 1 it is not, 2 the file is none.
"""

# ruff: noqa: PLC0415 - each command loads what it needs

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from .market.cases import CaseError, cases_in, clear_case

_FAILED, _WRONG = 1, 2


def clear(options: argparse.Namespace) -> int:
    """Clear case files and print the results as JSON."""
    from .solver.worker import SyncSolver

    status = 0
    results: dict[str, Any] = {}
    selected = [*_selected_cases(options.files, options.case)]
    with SyncSolver() as solver:  # its process starts with the first session that couples intervals or nodes
        for label, case in selected:
            try:
                results[label] = clear_case(_unwrap(case), lambda problem: solver.solve(problem, options.limit))
            except CaseError as error:
                print(f"{label}: {error}", file=sys.stderr)
                status = _WRONG
    if results:
        print(json.dumps(results[selected[0][0]] if len(selected) == 1 else results, indent=1))
    return status


def _selected_cases(files: Sequence[str], wanted: str | None) -> Iterator[tuple[str, object]]:
    """Yield label and case; a file that cannot be read stands for itself with its fault."""
    found = False
    for file in files:
        try:
            cases = cases_in(_read_json(file))
        except CaseError as error:
            found = True  # what is wrong with the file is said instead
            yield file, error
            continue
        for name, case in cases:
            if wanted in {None, name}:
                found = True
                yield name or file, case
    if wanted is not None and not found:
        yield wanted, CaseError(f"no such case in {', '.join(files)}")


def _unwrap(case: object) -> object:
    if isinstance(case, Exception):
        raise case
    return case


def _read_json(file: str) -> object:
    """Read a JSON file, or standard input for ``-``; raise ``CaseError`` in one line."""
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
        return json.loads(text)
    except OSError as error:
        raise CaseError(f"cannot be read: {error.strerror}") from error
    except json.JSONDecodeError as error:
        raise CaseError(f"is not JSON: {error}") from error
    except UnicodeDecodeError as error:
        raise CaseError("is not JSON: expected text in UTF-8") from error
    except RecursionError as error:
        raise CaseError("is not JSON that can be read: its lists and objects are nested too deeply") from error
    except ValueError as error:  # more digits than Python reads
        raise CaseError("is not JSON that can be read: a number has thousands of digits") from error


def verify_receipt_file(options: argparse.Namespace) -> int:
    """Recompute a receipt; say each fault in a line."""
    from .protocol.receipts import verify_receipt

    try:
        envelope = _read_json(options.file)
    except CaseError as error:
        print(f"{options.file}: {error}", file=sys.stderr)
        return _WRONG
    if not isinstance(envelope, dict):
        print(f"{options.file}: is no receipt: expected a JSON object", file=sys.stderr)
        return _WRONG
    findings = verify_receipt(envelope)
    shown = "signatures, readings, sums and proof hold"
    if not findings and options.rpc_url:
        findings, shown = asyncio.run(_check_on_chain(envelope, options.rpc_url))
    elif not findings:
        shown += f"; not compared with the chain (--rpc-url): root {envelope.get('receipts_root')}"
    for finding in findings:
        print(f"{options.file}: {finding}", file=sys.stderr)
    if not findings:
        print(f"{options.file}: {shown}")
    return _FAILED if findings else 0


async def _check_on_chain(envelope: dict[str, Any], rpc_url: str) -> tuple[list[str], str]:
    from .chain.proof import check_on_chain
    from .chain.rpc import NodeUnreachable, RpcError

    try:
        proof = await check_on_chain(envelope, rpc_url)
    except (NodeUnreachable, RpcError) as error:
        return [f"the chain could not be asked: {error}"], ""
    where = f"in transaction {proof.transaction}, block {proof.block_number}, by contract {proof.ledger}"
    return [*proof.findings], f"signatures, readings, sums and proof hold; {proof.rows} rows settled {where}"


def verify_certificate(options: argparse.Namespace) -> int:
    """Check an auction's certificate; say each fault in a line."""
    from .market.certificate import verify

    try:
        stated = _read_json(options.file)
    except CaseError as error:
        print(f"{options.file}: {error}", file=sys.stderr)
        return _WRONG
    if isinstance(stated, dict) and "certificate" in stated:
        stated = stated["certificate"]
    if not isinstance(stated, dict) or "version" not in stated:
        print(f"{options.file}: is no certificate of an auction", file=sys.stderr)
        return _WRONG
    findings = verify(stated)
    for finding in findings:
        print(f"{options.file}: {finding}", file=sys.stderr)
    if not findings:
        print(f"{options.file}: holds: {stated['outcome']}, {stated['rule']}, welfare {stated['welfare_micro']}")
    return _FAILED if findings else 0
