"""A source by itself: when it is asked, what it keeps, and whose answer is never used."""

from __future__ import annotations

import pytest
from homeassistant.core import HomeAssistant

from custom_components.energy_trade.household.reason import Refusal
from custom_components.energy_trade.sources.answers import SPREAD, Problems, Source


class Asked:
    """Something to ask: what the owner wants, what is answered, and how often it was asked."""

    def __init__(self, hass: HomeAssistant) -> None:
        self.question: str | None = "a"
        self.answer: str | Refusal | Exception = "first"
        self.count = 0
        self.meanwhile: str | None = None
        self.problems = Problems(hass)
        self.source: Source[str, str] = Source("things", 100.0, lambda: self.question, self.ask, self.problems)

    async def ask(self, question: str) -> str | Refusal:
        self.count += 1
        if self.meanwhile is not None:
            self.question = self.meanwhile
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer if isinstance(self.answer, Refusal) else f"{question}: {self.answer}"


@pytest.fixture
def asked(hass: HomeAssistant) -> Asked:
    return Asked(hass)


async def test_an_answer_is_kept_until_it_is_time(asked: Asked) -> None:
    assert await asked.source.async_refresh(0.0) is True
    assert asked.source.value == "a: first"
    asked.answer = "second"
    assert await asked.source.async_refresh(100 * (1 - SPREAD) - 1) is False
    assert asked.count == 1
    assert await asked.source.async_refresh(100 * (1 + SPREAD) + 1) is True
    assert asked.source.value == "a: second"


async def test_the_same_answer_again_changes_nothing(asked: Asked) -> None:
    await asked.source.async_refresh(0.0)
    assert await asked.source.async_refresh(1.0, at_once=True) is False
    assert asked.count == 2


@pytest.mark.parametrize("failure", [Refusal("down", "it is down"), ZeroDivisionError("a bug")], ids=repr)
async def test_a_failure_keeps_the_last_answer_and_is_tried_again_soon(
    asked: Asked, failure: Refusal | Exception
) -> None:
    await asked.source.async_refresh(0.0)
    asked.answer = failure
    assert await asked.source.async_refresh(0.0, at_once=True) is False
    assert asked.source.value == "a: first"
    assert "things" in asked.problems.sentences
    asked.answer = "second"
    assert await asked.source.async_refresh(0.1) is True
    assert asked.problems.sentences == {}


async def test_another_question_never_gets_the_old_answer(asked: Asked) -> None:
    await asked.source.async_refresh(0.0)
    asked.question = "b"
    assert asked.source.value is None
    asked.answer = Refusal("down", "it is down")
    assert await asked.source.async_refresh(0.0) is False
    assert asked.source.value is None
    asked.question = "a"
    assert asked.source.value is None, "it was given up with the question"


async def test_an_answer_that_comes_after_the_owner_has_changed_his_mind_is_dropped(asked: Asked) -> None:
    asked.meanwhile = "b"
    assert await asked.source.async_refresh(0.0) is False
    assert asked.source.value is None
    asked.meanwhile = None
    assert await asked.source.async_refresh(0.0) is True
    assert asked.source.value == "b: first"


async def test_who_asks_for_nothing_gets_nothing_and_no_problem(asked: Asked) -> None:
    asked.answer = Refusal("down", "it is down")
    await asked.source.async_refresh(0.0)
    asked.question = None
    assert await asked.source.async_refresh(0.0) is False
    assert asked.problems.sentences == {}
    assert asked.source.value is None
    assert asked.count == 1


async def test_who_asks_for_nothing_any_more_has_changed_something(asked: Asked) -> None:
    await asked.source.async_refresh(0.0)
    asked.question = None
    assert await asked.source.async_refresh(0.0) is True
    assert await asked.source.async_refresh(0.0) is False


async def test_a_problem_that_was_noted_elsewhere_is_left_alone(asked: Asked) -> None:
    """An entity that tells prices is judged when a plan is made; the source has nothing to ask then."""
    asked.question = None
    asked.problems.note("things", Refusal("down", "it is down"))
    await asked.source.async_refresh(0.0)
    assert "things" in asked.problems.sentences
