"""What the outside price feeds say, as dashboards ask for it."""

from __future__ import annotations

from tests.edge.support import NOON, Door


async def test_feeds_are_told_with_value_and_age_or_why_there_is_none(door: Door) -> None:
    answer = await door.ask("GET", "/feeds")
    assert answer.status == 200
    euro, gold = answer.body["feeds"]
    assert euro == {
        "feed": "EUR/USD",
        "value_micro": 1_082_500,
        "updated_at": NOON - 40,
        "age_s": 40,
        "refused": None,
    }
    assert gold["refused"].startswith("FeedUnknown(")
    assert (gold["value_micro"], gold["updated_at"], gold["age_s"]) == (None, None, None)
