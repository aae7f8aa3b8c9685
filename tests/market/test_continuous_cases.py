"""Continuous cases with accounts, times and conditions: the part of the format that goes beyond one book's messages."""

from __future__ import annotations

from typing import Any

import pytest

from coordinator.market.cases import CaseError, clear_case


def _result(*messages: list[Any]) -> dict[str, Any]:
    return clear_case({"kind": "continuous", "messages": list(messages)})


def _condition(signal: str, comparison: str, threshold: int) -> dict[str, Any]:
    return {"condition": {"signal": signal, "comparison": comparison, "threshold": threshold}}


def test_conditions_fire_in_cascade_and_are_told() -> None:
    result = _result(
        ["new", "ask", "sell", 1, 100, "gtc"],
        ["new", "second", "sell", 1, 101, "gtc"],
        ["new", "stop", "buy", 1, None, "gtc", _condition("last_price", "at_least", 100)],
        ["new", "never", "buy", 1, 50, "gtc", _condition("last_price", "at_least", 102)],
        ["new", "grid", "sell", 2, 200, "gtc", _condition("grid_state", "at_least", 2)],
        ["new", "taker", "buy", 1, 100, "gtc"],
        ["observe", "grid_state", 2],
    )
    assert result["triggered"] == [["stop", 100], ["grid", 2]]
    assert result["trades"] == [["ask", "taker", 100, 1], ["second", "stop", 101, 1]]
    assert (result["bids"], result["asks"]) == ([], [[200, 2]])


def test_time_comes_with_messages_and_never_goes_back() -> None:
    result = _result(
        ["new", "short", "sell", 1, 100, "gtc", {"valid_until": 10}],
        ["new", "long", "sell", 1, 100, "gtc", {"valid_until": 20}],
        ["time", 10],
        ["time", 5],
        ["new", "late", "sell", 1, 100, "gtc", {"valid_until": 10}],
    )
    assert result["cancelled"] == [["short", 1]]
    assert result["rejected"] == [["late", "expired"]]
    assert result["asks"] == [[100, 1]]
    assert "triggered" not in result


def test_an_account_neither_trades_with_itself_nor_keeps_an_order_after_cancel_all() -> None:
    result = _result(
        ["new", "mine", "sell", 2, 100, "gtc", {"account": "a"}],
        ["new", "theirs", "sell", 2, 101, "gtc", {"account": "b"}],
        ["new", "self", "buy", 3, 105, "gtc", {"account": "a"}],
        ["cancel_all", "a"],
        ["cancel_all", "nobody"],
    )
    assert result["cancelled"] == [["self", 3], ["mine", 2]]
    assert result["asks"] == [[101, 2]]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (["new", "a", "buy", 1, 1, "gtc", []], "messages[0][6]: expected an object, was []"),
        (
            ["new", "a", "buy", 1, 1, "gtc", {"colour": 1}],
            "messages[0][6].colour: unknown; expected account, valid_until, condition",
        ),
        (["new", "a", "buy", 1, 1, "gtc", {"account": ""}], "messages[0][6].account: expected text, was ''"),
        (
            ["new", "a", "buy", 1, 1, "gtc", {"valid_until": -1}],
            "messages[0][6].valid_until: expected 0 to 9223372036854775807, was -1",
        ),
        (
            ["new", "a", "buy", 1, 1, "gtc", {"condition": {"signal": "last_price", "comparison": "at_least"}}],
            "messages[0][6].condition.threshold: is missing",
        ),
        (["observe", "grid_state", 2**63], f"messages[0][2]: expected -{2**63 - 1} to {2**63 - 1}, was {2**63}"),
        (["time", "noon"], "messages[0][1]: expected an integer, was 'noon'"),
        (["cancel_all"], "messages[0]: expected 2 values for 'cancel_all', was 1"),
    ],
)
def test_what_is_malformed_gets_one_line(message: list[Any], expected: str) -> None:
    with pytest.raises(CaseError) as caught:
        _result(message)
    assert str(caught.value) == expected


def test_the_books_own_prices_are_not_observed() -> None:
    with pytest.raises(CaseError, match=r"^messages\[0\]\[1\]: expected \"session_price\" or"):
        _result(["observe", "best_bid", 5])
