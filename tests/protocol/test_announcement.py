"""The signed announcement: other people's code hashes it the same."""

from __future__ import annotations

from eth_account.messages import encode_typed_data
from eth_utils.crypto import keccak

from coordinator.protocol.announcement import Announcement
from coordinator.protocol.typed_data import Domain

DOMAIN = Domain(31_337, "0x" + "5f" * 20)


def test_eth_account_hashes_the_same_announcement() -> None:
    announcement = Announcement("elm-street", "http://192.168.1.20:8787", "Elm Street")
    members = [{"name": name, "type": kind} for name, kind in Announcement.TYPE.members]
    separator = {"name": "Energy Trade", "version": "1", "chainId": 31_337, "verifyingContract": DOMAIN.ledger}
    message = encode_typed_data(separator, {"Announcement": members}, announcement.to_wire())
    assert announcement.digest(DOMAIN) == keccak(b"\x19\x01" + message.header + message.body)


def test_an_announcement_of_another_ledger_is_another_one() -> None:
    announcement = Announcement("elm-street", "http://192.168.1.20:8787", "Elm Street")
    assert announcement.digest(DOMAIN) != announcement.digest(Domain(31_337, "0x" + "60" * 20))
