"""Sources of the outlook: what is asked from time to time, and may fail alone."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Final

from homeassistant.core import CoreState, HomeAssistant, callback

from ..const import LOGGER
from ..household.reason import Refusal

SPREAD: Final = 0.2
"""Homes ask the same services: each a little earlier or later than the others."""


class Problems:
    """What is not known at present and why, by source; each is logged once when it goes and once when it is back."""

    def __init__(self, hass: HomeAssistant) -> None:
        self.sentences: dict[str, str] = {}
        self._hass = hass
        self._logged: set[str] = set()

    @callback
    def note(self, key: str, problem: Refusal | None) -> None:
        """Keep how a source is doing; what is missing while Home Assistant starts is no news."""
        if problem is not None:
            self.sentences[key] = problem.message
            if key not in self._logged and self._hass.state is CoreState.running:
                self._logged.add(key)
                LOGGER.warning("The outlook lacks the %s: %s", key, problem.message)
            return
        self.sentences.pop(key, None)
        if key in self._logged:
            self._logged.remove(key)
            LOGGER.info("The outlook has the %s again", key)


class Source[Question, Answer]:
    """One thing that is asked for, how often, and what was answered last.

    ``about`` returns what the owner wants to be asked now (``None``: nothing); an answer to another question is never
    used. ``ask`` answers or says why not: then the last answer stays, and it is asked again soon.
    """

    def __init__(
        self,
        key: str,
        every_s: float,
        about: Callable[[], Question | None],
        ask: Callable[[Question], Awaitable[Answer | Refusal]],
        problems: Problems,
    ) -> None:
        self._key = key
        self._every_s = every_s
        self._about = about
        self._ask = ask
        self._problems = problems
        self._question: Question | None = None
        self._answer: Answer | None = None
        self._due = 0.0

    @property
    def value(self) -> Answer | None:
        """What was answered last to what is asked now."""
        return self._answer if self._question == self._about() else None

    async def async_refresh(self, now: float, *, at_once: bool = False) -> bool:
        """Ask when it is time (``now``: monotonic seconds), or at once; tell whether anything is otherwise now."""
        question, before = self._about(), self.value
        if question is None:
            if self._question is not None:
                self._problems.note(self._key, None)
            changed, self._question, self._answer = self._answer is not None, None, None
            return changed
        if question == self._question and now < self._due and not at_once:
            return False
        told = await self._told(question)
        if question != self._about():
            return False
        if question != self._question:
            self._question, self._answer = question, None
        self._due = now
        if isinstance(told, Refusal):
            self._problems.note(self._key, told)
        else:
            self._answer = told
            self._due += self._every_s * random.uniform(1 - SPREAD, 1 + SPREAD)  # noqa: S311 - no secret
            self._problems.note(self._key, None)
        return self._answer != before

    async def _told(self, question: Question) -> Answer | Refusal:
        try:
            return await self._ask(question)
        except Exception as error:  # noqa: BLE001 - other integrations' code and data: it must not end the others
            LOGGER.debug("The source %s failed", self._key, exc_info=True)
            return Refusal("failed", f"it failed unexpectedly: {error!r}")
