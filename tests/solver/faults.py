"""Solvers that fail, each in its way: run in the worker's child process instead of the real one.

The real one is imported by those only that need it: a child starts sooner without.
"""

# ruff: noqa: PLC0415

import os
import signal
import stat
import time
from dataclasses import replace
from pathlib import Path

from coordinator.market.problem import Problem
from coordinator.market.proposal import Proposal
from coordinator.solver.failure import SolverFailedError


def hang(_problem: Problem[bytes], _limit_s: float) -> Proposal:
    while True:
        time.sleep(60)


def die(_problem: Problem[bytes], _limit_s: float) -> Proposal:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def crash(_problem: Problem[bytes], _limit_s: float) -> Proposal:
    raise MemoryError


def vast(_problem: Problem[bytes], _limit_s: float) -> Proposal:
    """Answer with more than 64 bits hold."""
    return Proposal((), (), 2**70, None)


def fail(_problem: Problem[bytes], _limit_s: float) -> Proposal:
    raise SolverFailedError("HiGHS ended with 'Unknown'")


def garbage(_problem: Problem[bytes], _limit_s: float) -> object:
    """Answer with numbers where names should be and a fraction of a Wh."""
    return {"accepted": [], "intervals": [[0, [[1, 0.5]], []]], "welfare_micro": 1, "bound_micro": None}


def flood(_problem: Problem[bytes], _limit_s: float) -> Proposal:
    """Announce more bytes than there are in the world, past the worker's own framing."""
    parent = max(int(name) for name in os.listdir("/dev/fd") if name.isdigit() and _is_pipe(int(name)))  # noqa: PTH208
    os.write(parent, b"\xff" * 8)
    time.sleep(60)
    raise AssertionError


def _is_pipe(number: int) -> bool:
    try:
        return number > 2 and stat.S_IFMT(os.fstat(number).st_mode) in (stat.S_IFIFO, stat.S_IFSOCK)
    except OSError:
        return False


def hang_once(problem: Problem[bytes], limit_s: float) -> Proposal:
    """Hang in the first child, work in the next: the mark is the file that the orders' first key names."""
    mark = Path(problem.orders[0].key.decode())
    if not mark.exists():
        mark.touch()
        hang(problem, limit_s)
    from coordinator.solver.highs import propose

    return propose(problem, limit_s)


def overstate(problem: Problem[bytes], limit_s: float) -> Proposal:
    """Say that it is worth more than it is."""
    from coordinator.solver.highs import propose

    proposal = propose(problem, limit_s)
    more = proposal.welfare_micro + 1
    return replace(proposal, welfare_micro=more, bound_micro=more)
