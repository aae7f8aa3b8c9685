"""Words of others (a coordinator, a neighbour in the network) are shown as words: no link, no picture, no HTML."""

from __future__ import annotations

import pytest
from homeassistant.core import HomeAssistant
from homeassistant.helpers import issue_registry as ir
from hypothesis import given
from hypothesis import strategies as st

from custom_components.energy_trade import issues
from custom_components.energy_trade.const import DOMAIN
from custom_components.energy_trade.coordinator import EnergyTradeConfigEntry
from custom_components.energy_trade.events import plain
from custom_components.energy_trade.household.reason import Refusal

EVIL = "[Pay here](https://evil.example) <img src=x onerror=y>\n# Now ![p](http://evil.example/p) www.evil.example"


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("Elm Street", "Elm Street"),
        ("sensor.grid_import is unavailable: 3 < 4", "sensor.grid_import is unavailable: 3 ‹ 4"),
        (
            EVIL,
            (
                "(Pay here)(https ://evil.example) ‹img src=x onerror=y› ♯ Now !(p)(http ://evil.example/p)"
                " www .evil.example"
            ),
        ),
        ("x" * 900, "x" * 299 + "…"),
    ],
)
def test_foreign_words_are_only_words(words: str, shown: str) -> None:
    assert plain(words) == shown


@given(st.text(alphabet="[]()<>!`#|:/.\n wWhHtTpPsS", max_size=80))
def test_nothing_of_markdown_is_left(words: str) -> None:
    shown = plain(words)
    assert not set("[]<>`#|\n") & set(shown)
    assert "http://" not in shown.lower()
    assert "https://" not in shown.lower()


async def test_a_repair_shows_what_the_coordinator_said_as_words(
    entry: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    issues.async_report_blocked(hass, entry, Refusal("meter_suspended", EVIL))
    found = ir.async_get(hass).async_get_issue(DOMAIN, f"{issues.READINGS_BLOCKED}_{entry.entry_id}")
    assert found is not None
    assert (found.translation_placeholders or {})["reason"] == plain(EVIL)
    assert "https://" not in str(found.translation_placeholders)
