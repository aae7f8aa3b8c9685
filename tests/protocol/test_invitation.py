"""Invite links: read exactly as written, and nothing else is taken for one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.protocol.invitation import Invitation, coordinator_url, is_link

OPERATOR = "0x" + "ab" * 20
INVITATION = Invitation("http://192.168.1.20:8787", "Zk3 &=?#ü", "elm-street", OPERATOR)
_TEXT = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=60)


@given(invite=_TEXT, market=_TEXT)
def test_a_link_is_read_as_it_was_written(invite: str, market: str) -> None:
    written = Invitation("https://trade.example:8787", invite, market, OPERATOR)
    assert Invitation.parse(f" {written.link()}\n") == written


def test_a_link_names_its_parts_and_is_told_from_an_address() -> None:
    link = INVITATION.link()
    assert link.startswith("energy-trade:join?url=http%3A%2F%2F192.168.1.20%3A8787&invite=")
    assert is_link(f" {link.upper()}")
    assert not is_link("http://energy-trade:8787")


def test_what_a_later_version_adds_is_passed_over() -> None:
    assert Invitation.parse(INVITATION.link() + "&colour=green") == INVITATION


@pytest.mark.parametrize(
    ("link", "why"),
    [
        ("http://192.168.1.20:8787", "begins with"),
        ("energy-trade:leave?url=http://a", "begins with"),
        ("energy-trade://evil/join?url=http://a", "begins with"),
        ("energy-trade:join", "lacks url, invite, market, operator"),
        (INVITATION.link().replace("invite=", "invite=&x="), "lacks invite"),
        (INVITATION.link()[:-12], "hex digits"),
        (INVITATION.link() + "&url=http://evil", "twice"),
        (INVITATION.link() + "&colour=" + "x" * 257, "holds"),
        (INVITATION.link() + "&colour=%00", "holds"),
        (INVITATION.link() + "x" * 2_000, "at most"),
        (INVITATION.link().replace("http%3A", "ftp%3A"), "http://"),
        (INVITATION.link().replace("%3A8787", "%3Aport"), "[Pp]ort"),
    ],
)
def test_what_is_no_invite_is_refused_with_a_sentence(link: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Invitation.parse(link)


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        (" http://elm.local:8787/ ", "http://elm.local:8787"),
        ("https://trade.example:443/live?x=1", "https://trade.example"),
        ("http://[fe80::1]:80", "http://[fe80::1]"),
        ("http://[fe80::1]:8787/", "http://[fe80::1]:8787"),
        ("HTTP://ELM.local", "http://elm.local"),
    ],
)
def test_addresses_are_kept_without_what_does_not_matter(typed: str, kept: str) -> None:
    assert coordinator_url(typed) == kept


@pytest.mark.parametrize(
    "typed", ["", "elm", "ftp://elm", "http://", "http://[::1", "http://elm:99999", "http://name:word@elm", "elm:8787"]
)
def test_what_is_no_address_is_refused(typed: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        coordinator_url(typed)
