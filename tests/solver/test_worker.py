"""The solver's process: whatever it does, the answer is a proposal or a sentence, and the next question is answered."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from coordinator.market.clearing import clear
from coordinator.market.problem import BundleOrder, Problem, SingleOrder
from coordinator.market.proposal import Proposal
from coordinator.protocol.messages import Side
from coordinator.solver.failure import SolverFailedError
from coordinator.solver.highs import propose
from coordinator.solver.worker import SolverWorker, SyncSolver

_ORDERS = (
    SingleOrder(b"bid", 0, Side.BUY, 1_000, 300_000),
    SingleOrder(b"ask", 0, Side.SELL, 900, 100_000),
)
PROBLEM = Problem((1_800_000_000,), _ORDERS, (BundleOrder(b"block", Side.SELL, 90_000, ((0, 100),)),))


@pytest.fixture
async def solver() -> AsyncIterator[SolverWorker]:
    async with SolverWorker() as worker:
        yield worker


def faulty(name: str, grace_s: float = 0.2) -> SolverWorker:
    return SolverWorker(grace_s, target=f"tests.solver.faults:{name}")


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_the_child_answers_as_the_solver_does(solver: SolverWorker) -> None:
    assert solver.pid is None, "nobody has asked"
    first, pid = await solver.solve(PROBLEM, 30), solver.pid
    assert first == propose(PROBLEM, 5)
    assert await solver.solve(PROBLEM, 30) == first
    assert solver.pid == pid, "the child stays warm"


async def test_questions_at_the_same_time_are_answered_one_after_the_other(solver: SolverWorker) -> None:
    other = Problem((1_800_000_900,), _ORDERS, PROBLEM.bundles)
    answers = await asyncio.gather(*(solver.solve(problem, 30) for problem in (PROBLEM, other, PROBLEM)))
    starts = [answer.intervals[0].delivery_start for answer in answers if isinstance(answer, Proposal)]
    assert starts == [1_800_000_000, 1_800_000_900, 1_800_000_000]


async def test_a_child_that_hangs_is_killed() -> None:
    async with faulty("hang") as worker:
        await worker.start()
        pid = worker.pid
        assert pid is not None
        assert await worker.solve(PROBLEM, 0.1) == "the solver did not answer within 0.3 s and was killed"
        assert not is_alive(pid)


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        ("die", "the solver's process ended (exit status -9)"),
        ("crash", "the solver's process ended (exit status 1)"),
        ("fail", "HiGHS ended with 'Unknown'"),
        ("vast", "the solver's answer has numbers beyond 64 bits"),
        ("garbage", "the solver's answer cannot be read"),
        ("flood", "the solver's answer cannot be read: 18446744073709551615 bytes announced"),
    ],
)
async def test_each_fault_is_a_sentence_and_the_auction_is_held_all_the_same(fault: str, cause: str) -> None:
    async with faulty(fault, grace_s=10) as worker:
        failure = await worker.solve(PROBLEM, 1)
        assert isinstance(failure, str)
        assert failure.startswith(cause)
    result = clear(PROBLEM, None, failure)
    assert result.outcome == f"fallback: {failure}"
    assert result.fills == {b"bid": 900, b"ask": 900}


async def test_a_child_is_replaced_after_it_was_killed(tmp_path: Path) -> None:
    orders = (SingleOrder(str(tmp_path / "mark").encode(), 0, Side.BUY, 1_000, 300_000), *_ORDERS[1:])
    problem = Problem(PROBLEM.intervals, orders, PROBLEM.bundles)
    async with faulty("hang_once") as worker:
        assert "was killed" in str(await worker.solve(problem, 0.3))
        assert isinstance(await worker.solve(problem, 30), Proposal)


async def test_a_child_that_died_between_questions_is_replaced(solver: SolverWorker) -> None:
    await solver.start()
    assert solver.pid is not None
    os.kill(solver.pid, 9)
    answers = [await solver.solve(PROBLEM, 30) for _ in range(2)]
    assert isinstance(answers[1], Proposal)


async def test_a_wrong_optimum_does_not_stand() -> None:
    async with faulty("overstate", grace_s=10) as worker:
        proposal = await worker.solve(PROBLEM, 30)
    assert isinstance(proposal, Proposal)
    more, exactly = proposal.welfare_micro, proposal.welfare_micro - 1
    outcome = f"fallback: the proposal says it is worth {more}, it is worth {exactly}"
    assert clear(PROBLEM, proposal).outcome == outcome


async def test_stopping_ends_the_child_and_a_cancelled_question_too() -> None:
    worker = faulty("hang", grace_s=60)
    await worker.start()
    pid = worker.pid
    assert pid is not None
    question = asyncio.create_task(worker.solve(PROBLEM, 60))
    await asyncio.sleep(0)
    question.cancel()
    with pytest.raises(asyncio.CancelledError):
        await question
    assert not is_alive(pid)
    await worker.stop()
    assert worker.pid is None


@pytest.mark.parametrize("steps", [1, 2, 3, 5, None])
async def test_stopping_while_questions_are_under_way_ends_them_and_leaves_no_process(
    steps: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever the first question has come to, the second still waits: after ``stop`` neither has a child."""
    started: list[asyncio.subprocess.Process] = []
    create = asyncio.create_subprocess_exec

    async def noted(*arguments: Any, **options: Any) -> asyncio.subprocess.Process:
        process = await create(*arguments, **options)
        started.append(process)
        return process

    monkeypatch.setattr(asyncio, "create_subprocess_exec", noted)
    worker = faulty("hang", grace_s=60)
    if steps is None:
        await worker.start()
    questions = [asyncio.create_task(worker.solve(PROBLEM, 60)) for _ in range(2)]
    for _ in range(steps or 5):
        await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await worker.stop()
        answers = await asyncio.gather(*questions)
    assert answers[0] in {"the solver's process ended (exit status None)", "the solver was stopped"}
    assert answers[1] == "the solver was stopped"
    assert worker.pid is None
    assert not any(is_alive(process.pid) for process in started)


async def test_a_solver_that_cannot_be_started_says_so() -> None:
    with pytest.raises(SolverFailedError, match="the solver's process ended"):
        await faulty("none").start()


def test_the_same_without_an_event_loop() -> None:
    with SyncSolver() as solver:
        assert solver.solve(PROBLEM, 30) == propose(PROBLEM, 5)
    with SyncSolver(lambda: faulty("hang")) as solver:
        assert "was killed" in str(solver.solve(PROBLEM, 0.1))
