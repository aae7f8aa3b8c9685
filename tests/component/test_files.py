"""What hassfest and the HACS action check, as far as it can be checked without them."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from homeassistant.config_entries import SOURCE_USER
from homeassistant.core import HomeAssistant
from homeassistant.util.yaml import parse_yaml

from custom_components.energy_trade import issues
from custom_components.energy_trade.const import DOMAIN
from custom_components.energy_trade.coordinator import Connection
from custom_components.energy_trade.sensor import DECISION_RULES, METER_STATES, SENSORS
from custom_components.energy_trade.services import CANCEL_ORDER_SCHEMA, PLACE_ORDER_SCHEMA, WITHDRAW_SCHEMA

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "custom_components" / DOMAIN
LANGUAGES = ("en", "de")
MANIFEST_KEYS = {
    "after_dependencies",
    "codeowners",
    "config_flow",
    "dependencies",
    "documentation",
    "domain",
    "integration_type",
    "iot_class",
    "issue_tracker",
    "loggers",
    "name",
    "requirements",
    "version",
    "zeroconf",
}
HACS_KEYS = {
    "content_in_root",
    "country",
    "filename",
    "hacs",
    "hide_default_branch",
    "homeassistant",
    "name",
    "persistent_directory",
    "render_readme",
    "zip_release",
}


def load(file: str) -> Any:
    return json.loads((FOLDER / file).read_text(encoding="utf-8"))


def read_yaml(file: str) -> Any:
    return parse_yaml((FOLDER / file).read_text(encoding="utf-8"))


MANIFEST: dict[str, Any] = load("manifest.json")
ENGLISH: dict[str, Any] = load("translations/en.json")


def leaves(tree: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{path}{key}.")
        else:
            yield path + key, value


def test_the_manifest_has_known_keys_in_order_and_no_requirements() -> None:
    keys = list(MANIFEST)
    assert keys == ["domain", "name", *sorted(keys[2:])]
    assert set(keys) <= MANIFEST_KEYS
    assert MANIFEST["domain"] == FOLDER.name
    assert MANIFEST["requirements"] == []
    assert MANIFEST["integration_type"] == "service"
    assert MANIFEST["iot_class"] == "local_push"
    assert re.fullmatch(r"\d+\.\d+\.\d+", MANIFEST["version"])
    for link in ("documentation", "issue_tracker"):
        assert MANIFEST[link].startswith("https://")
    assert all(owner.startswith("@") for owner in MANIFEST["codeowners"])


def test_imported_integrations_are_declared() -> None:
    """A component that is imported is a dependency, unless it is a platform of ours."""
    declared = {*MANIFEST.get("dependencies", []), *MANIFEST["after_dependencies"]}
    ours = {path.stem for path in FOLDER.glob("*.py")}
    pattern = re.compile(r"homeassistant\.components\.(\w+)")
    used = {name for path in FOLDER.glob("*.py") for name in pattern.findall(path.read_text(encoding="utf-8"))}
    assert used - ours <= declared


def test_hacs_finds_what_it_wants() -> None:
    hacs = json.loads((ROOT / "hacs.json").read_text(encoding="utf-8"))
    assert set(hacs) <= HACS_KEYS
    assert hacs["name"] == MANIFEST["name"]
    assert {"codeowners", "documentation", "domain", "issue_tracker", "name", "version"} <= set(MANIFEST)
    assert [path.name for path in (ROOT / "custom_components").iterdir() if path.name[0] not in "._"] == [DOMAIN]


@pytest.mark.parametrize(("file", "sizes"), [("icon", [(256, 256), (512, 512)]), ("logo", [(None, 128), (None, 256)])])
def test_brand_images_have_the_right_size(file: str, sizes: list[tuple[int | None, int]]) -> None:
    for name, (width, height) in zip((f"{file}.png", f"{file}@2x.png"), sizes, strict=True):
        header = (FOLDER / "brand" / name).read_bytes()[:24]
        assert header.startswith(b"\x89PNG")
        found = struct.unpack(">II", header[16:24])
        assert found[1] == height
        assert width in {None, found[0]}


def test_there_is_no_strings_json_and_translations_are_flat() -> None:
    assert not (FOLDER / "strings.json").exists()
    for language in LANGUAGES:
        for path, text in leaves(load(f"translations/{language}.json")):
            assert "[%key:" not in text, path
            assert "<" not in text, path
            assert text == text.strip(), path
            assert text, path


def test_every_language_says_everything_with_the_same_words_filled_in() -> None:
    english = dict(leaves(ENGLISH))
    for language in LANGUAGES:
        other = dict(leaves(load(f"translations/{language}.json")))
        assert other.keys() == english.keys()
        for path, text in other.items():
            assert placeholders(text) == placeholders(english[path]), f"{language}: {path}"


def placeholders(text: str) -> set[str]:
    return set(re.findall(r"\{(\w+)\}", text))


def test_every_entity_state_error_and_issue_has_words() -> None:
    sensors = ENGLISH["entity"]["sensor"]
    assert set(sensors) == {description.key for description in SENSORS}
    assert set(sensors["last_decision"]["state"]) == set(DECISION_RULES)
    assert set(sensors["meter_check"]["state"]) == set(METER_STATES)
    assert set(sensors["connection"]["state"]) == {state.value for state in Connection}
    assert set(ENGLISH["entity"]["switch"]) == {"trading"}
    assert set(ENGLISH["issues"]) == set(issues.ALL)
    text = "".join(path.read_text(encoding="utf-8") for path in FOLDER.glob("*.py"))
    keys = re.findall(r'translation_domain=DOMAIN,\s*translation_key="(\w+)"', text)
    assert set(ENGLISH["exceptions"]) == set(keys)
    for error in ENGLISH["config"]["error"]:
        assert f'"{error}"' in text, f"nobody says {error}"


def test_every_guard_and_policy_word_is_known_to_the_entities() -> None:
    household = {path.stem: path.read_text(encoding="utf-8") for path in (FOLDER / "household").glob("*.py")}
    shell = (FOLDER / "meter.py").read_text(encoding="utf-8")
    codes = re.findall(r'GuardRefusal\(\s*"(\w+)"', household["guard"] + household["agent"] + shell)
    assert set(codes) == set(METER_STATES) - {"ok", "waiting"}
    rules = re.findall(r'_nothing\(situation, "(\w+)"', household["policy"])
    assert {*rules, "no_regret_guard", "sell_at_fixed_price", "buy_at_fixed_price"} == set(DECISION_RULES)


@pytest.mark.parametrize("step", ["user", "meter", "policy", "reconfigure"])
def test_every_field_of_the_flow_has_a_description(step: str) -> None:
    words = ENGLISH["config"]["step"][step]
    assert set(words["data"]) == set(words["data_description"])
    assert words["title"]
    assert words["description"]


def test_actions_have_words_icons_and_the_fields_of_their_schemas() -> None:
    described = read_yaml("services.yaml")
    schemas = {"place_order": PLACE_ORDER_SCHEMA, "cancel_order": CANCEL_ORDER_SCHEMA, "withdraw": WITHDRAW_SCHEMA}
    assert set(described) == set(schemas) == set(ENGLISH["services"]) == set(load("icons.json")["services"])
    for action, schema in schemas.items():
        fields = {str(field) for field in schema.schema}
        assert set(described[action]["fields"]) == fields == set(ENGLISH["services"][action]["fields"])
        for words in ENGLISH["services"][action]["fields"].values():
            assert words["name"]
            assert words["description"]


def test_every_entity_has_an_icon() -> None:
    icons = load("icons.json")["entity"]
    assert set(icons["sensor"]) == {description.key for description in SENSORS}
    assert set(icons["switch"]) == {"trading"}
    assert all(icon.startswith("mdi:") for path, icon in leaves(icons))


def test_the_quality_scale_names_tests_that_exist() -> None:
    rules = read_yaml("quality_scale.yaml")["rules"]
    assert len(rules) == 54
    for rule, verdict in rules.items():
        status = verdict if isinstance(verdict, str) else verdict["status"]
        assert status in {"done", "todo", "exempt"}, rule
        if isinstance(verdict, Mapping):
            assert verdict.get("comment") or (ROOT / verdict["test"]).is_file(), rule


async def test_home_assistant_itself_accepts_the_flow(hass: HomeAssistant) -> None:
    flow = await hass.config_entries.flow.async_init(DOMAIN, context={"source": SOURCE_USER})
    assert flow["step_id"] == "user"
