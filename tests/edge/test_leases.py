"""Two systems with the same keys: the second is refused before it can contradict the first."""

from __future__ import annotations

import pytest

from coordinator.edge.errors import Refusal
from coordinator.edge.leases import LEASE_S, Leases

METER, NOW = 7, 1_800_000_000


def test_the_second_installation_waits_until_the_first_is_silent() -> None:
    leases = Leases()
    leases.check(METER, "a", NOW)
    leases.take(METER, "a", NOW)
    leases.check(METER, "a", NOW + 1)
    assert leases.holder(METER, NOW + 1) == "a"
    with pytest.raises(Refusal) as refused:
        leases.check(METER, "b", NOW + LEASE_S - 1)
    assert (refused.value.code, refused.value.status) == ("other_installation", 409)
    leases.check(METER, "b", NOW + LEASE_S)
    assert leases.holder(METER, NOW + LEASE_S) is None


def test_a_reading_that_was_not_stored_takes_nothing() -> None:
    leases = Leases()
    leases.check(METER, "a", NOW)
    assert leases.holder(METER, NOW) is None


def test_two_that_come_at_once_after_a_silence_are_not_both_let_in() -> None:
    """Both would sign the same number: the meter would be suspended for equivocation."""
    leases = Leases()
    with leases.storing(METER, "a", NOW):
        with leases.storing(METER, "a", NOW):
            pass
        with pytest.raises(Refusal):
            leases.check(METER, "b", NOW)
    leases.check(METER, "b", NOW)
    assert leases._storing == {}


def test_a_gateway_without_a_name_is_an_installation_too() -> None:
    leases = Leases()
    leases.take(METER, "", NOW)
    leases.check(METER, "", NOW)
    with pytest.raises(Refusal):
        leases.check(METER, "b", NOW)


def test_a_lease_lasts_three_intervals_where_these_are_long() -> None:
    assert Leases.of_intervals(60).lease_s == LEASE_S
    assert Leases.of_intervals(3600).lease_s == 3 * 3600
