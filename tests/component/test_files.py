"""What hassfest and the HACS action check, as far as it can be checked without them."""

from __future__ import annotations

import ast
import json
import re
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from homeassistant.config_entries import SOURCE_USER
from homeassistant.const import Platform
from homeassistant.core import HomeAssistant
from homeassistant.util.yaml import parse_yaml

from custom_components.energy_trade import binary_sensor, button, calendar, event, issues, number, select, switch
from custom_components.energy_trade.const import DOMAIN
from custom_components.energy_trade.coordinator import Connection
from custom_components.energy_trade.flows.policy_forms import HOLIDAYS
from custom_components.energy_trade.household.policies import ALL_RULES, POLICIES
from custom_components.energy_trade.household.settings import Field, FieldKind
from custom_components.energy_trade.sensor import DECISION_RULES, GRID_STATES, METER_STATES, SENSORS, SHADOW_GAIN, TODAY
from custom_components.energy_trade.services import SCHEMAS

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
ALWAYS_THERE = {"frontend", "system_health", "websocket_api"}
"""Components that hassfest lets everybody import."""
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

ENTITIES = {
    platform: {description.key for description in descriptions}
    for platform, descriptions in {
        "sensor": (*SENSORS, *TODAY, SHADOW_GAIN),
        "binary_sensor": binary_sensor.BINARY_SENSORS,
        "switch": switch.SWITCHES,
        "select": select.SELECTS,
        "number": number.NUMBERS,
        "button": button.BUTTONS,
        "event": event.EVENTS,
        "calendar": calendar.CALENDARS,
    }.items()
}


def load(file: str) -> Any:
    return json.loads((FOLDER / file).read_text(encoding="utf-8"))


def shell_files() -> Iterator[Path]:
    """Yield the integration's own files, without the homes' logic and the protocol."""
    return (p for p in FOLDER.rglob("*.py") if p.relative_to(FOLDER).parts[0] not in {"household", "protocol"})


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
    used = {name for path in FOLDER.rglob("*.py") for name in imported(ast.parse(path.read_bytes()))}
    assert {"energy", "recorder", "lovelace"} <= used, "the search finds what is imported"
    assert used - ours - ALWAYS_THERE - {str(platform) for platform in Platform} <= declared
    assert declared <= used | {"frontend"}, "nothing is declared that nobody imports"


def imported(tree: ast.Module) -> Iterator[str]:
    """Yield the components of Home Assistant that a module imports, however it words that."""
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module is not None and node.level == 0:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            if name.startswith("homeassistant.components."):
                yield name.split(".")[2]


def test_hacs_finds_what_it_wants() -> None:
    hacs = json.loads((ROOT / "hacs.json").read_text(encoding="utf-8"))
    assert set(hacs) <= HACS_KEYS
    assert hacs["name"] == MANIFEST["name"]
    assert {"codeowners", "documentation", "domain", "issue_tracker", "name", "version"} <= set(MANIFEST)
    assert [path.name for path in (ROOT / "custom_components").iterdir() if path.name[0] not in "._"] == [DOMAIN]
    assert re.fullmatch(r"20\d\d\.\d{1,2}\.\d", hacs["homeassistant"])
    assert (ROOT / "README.md").stat().st_size > 0, "shown in HACS (render_readme)"


def test_the_licence_is_open_and_one_that_is_recognised() -> None:
    """GitHub, and with it HACS, recognises a licence by its own words."""
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert text.lstrip().splitlines()[0].strip() in {"MIT License", "Apache License", "GNU GENERAL PUBLIC LICENSE"}


def test_what_announces_itself_is_listened_for() -> None:
    for kind in MANIFEST["zeroconf"]:
        assert re.fullmatch(r"_[a-z0-9-]{1,15}\._(tcp|udp)\.local\.", kind), "RFC 6763, section 7"
    assert MANIFEST["config_flow"] is True
    assert (FOLDER / "config_flow.py").is_file()


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
            assert not re.search(r"\w+://", text), f"{path}: an address belongs into a placeholder"
            assert not re.search(r"'\{\w+\}'", text), f"{path}: a placeholder in single quotes is not filled in"
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
    assert {platform: set(words) for platform, words in ENGLISH["entity"].items()} == ENTITIES
    assert set(sensors["last_decision"]["state"]) == set(DECISION_RULES)
    assert set(sensors["meter_check"]["state"]) == set(METER_STATES)
    assert set(sensors["connection"]["state"]) == {state.value for state in Connection}
    assert set(sensors["grid_state"]["state"]) == set(GRID_STATES)
    assert set(ENGLISH["entity"]["select"]["policy"]["state"]) == set(POLICIES)
    assert set(calendar.TEXTS) <= set(ENGLISH["common"])
    for description in event.EVENTS:
        words = ENGLISH["entity"]["event"][description.key]["state_attributes"]["event_type"]["state"]
        assert set(words) == set(description.event_types or ())
    assert set(ENGLISH["issues"]) == {*issues.ALL, issues.CARDS_NOT_LISTED}
    text = "".join(path.read_text(encoding="utf-8") for path in shell_files())
    keys = re.findall(r'translation_domain=DOMAIN,\s*translation_key="(\w+)"', text)
    assert set(ENGLISH["exceptions"]) == set(keys)
    everything = "".join(path.read_text(encoding="utf-8") for path in FOLDER.rglob("*.py"))
    for error in ENGLISH["config"]["error"]:
        assert f'"{error}"' in everything, f"nobody says {error}"


def test_whatever_ends_a_flow_says_why() -> None:
    """An unknown reason would be shown as a bare word."""
    words = {*ENGLISH["config"]["abort"], *ENGLISH["options"]["abort"]}
    words |= {reason for issue in ENGLISH["issues"].values() for reason in issue.get("fix_flow", {}).get("abort", ())}
    text = "".join(path.read_text(encoding="utf-8") for path in shell_files())
    assert set(re.findall(r'async_abort\(\s*reason="(\w+)"', text)) <= words
    for kind, device in ENGLISH["config_subentries"].items():
        assert set(device) == {"entry_type", "initiate_flow", "step", "error", "abort"}, kind
        assert set(device["initiate_flow"]) == set(device["step"]) == {"user", "reconfigure"}, kind


def test_an_issue_is_either_told_or_mended() -> None:
    """What hassfest asks of an issue: a title, and a description or a flow that repairs it, not both."""
    for kind, issue in ENGLISH["issues"].items():
        assert set(issue) in ({"title", "description"}, {"title", "fix_flow"}), kind
        assert ("fix_flow" in issue) == (kind in issues._FIXABLE), kind


def test_every_guard_and_policy_word_is_known_to_the_entities() -> None:
    household = {path.stem: path.read_text(encoding="utf-8") for path in (FOLDER / "household").glob("*.py")}
    shell = (FOLDER / "meter.py").read_text(encoding="utf-8")
    codes = re.findall(r'GuardRefusal\(\s*"(\w+)"', household["guard"] + household["agent"] + shell)
    assert set(codes) == set(METER_STATES) - {"ok", "waiting"}
    assert set(ALL_RULES) == set(DECISION_RULES)


@pytest.mark.parametrize("step", ["user", "meter", "policy", "reconfigure"])
def test_every_field_of_the_flow_has_a_description(step: str) -> None:
    words = ENGLISH["config"]["step"][step]
    assert set(words["data"]) == set(words["data_description"])
    assert words["title"]
    assert words["description"]


def test_actions_have_words_icons_and_the_fields_of_their_schemas() -> None:
    described = read_yaml("services.yaml")
    schemas = SCHEMAS
    assert set(described) == set(schemas) == set(ENGLISH["services"]) == set(load("icons.json")["services"])
    for action, schema in schemas.items():
        fields = {str(field) for field in schema.schema}
        assert ENGLISH["services"][action]["name"]
        assert ENGLISH["services"][action]["description"]
        assert set(described[action]["fields"]) == fields == set(ENGLISH["services"][action]["fields"])
        for words in ENGLISH["services"][action]["fields"].values():
            assert words["name"]
            assert words["description"]


def test_every_entity_has_an_icon() -> None:
    icons = load("icons.json")["entity"]
    assert {platform: set(found) for platform, found in icons.items()} == ENTITIES
    assert all(icon.startswith("mdi:") for path, icon in leaves(load("icons.json")))
    for platform, found in icons.items():
        for key, icon in found.items():
            assert set(icon) <= {"default", "state", "range"}, f"{platform}.{key}"
            assert icon["default"] not in icon.get("state", {}).values(), f"{platform}.{key}"


def test_every_choice_that_is_offered_has_words() -> None:
    """Options of a selector are translated under its key, and nothing is translated that nobody offers."""
    fields = [field for described in read_yaml("services.yaml").values() for field in described["fields"].values()]
    choices = [field["selector"]["select"] for field in fields if "select" in field["selector"]]
    offered = {select["translation_key"]: set(select["options"]) for select in choices}
    offered |= {field.key: set(field.choices) for field in _policy_fields() if field.kind is FieldKind.CHOICE}
    offered |= {"weekday": {*map(str, range(7))}, "month": {*map(str, range(1, 13))}, "band_holidays": {*HOLIDAYS}}
    words = {key: set(found.get("options", ())) for key, found in ENGLISH["selector"].items() if key != "bands"}
    assert words == offered


def _policy_fields() -> Iterator[Field]:
    return (field for policy in POLICIES.values() for field in policy.FIELDS)


def test_a_policy_is_called_the_same_wherever_it_is_chosen() -> None:
    for language in LANGUAGES:
        words = load(f"translations/{language}.json")
        assert words["entity"]["select"]["policy"]["state"] == words["selector"]["policy"]["options"]


def test_keys_of_translations_are_of_the_form_that_home_assistant_takes() -> None:
    for path, _ in leaves(ENGLISH):
        assert all(re.fullmatch(r"[a-z0-9]+([_-][a-z0-9]+)*", key) for key in path.split(".")), path


def test_translations_hold_only_what_home_assistant_reads() -> None:
    """What hassfest knows of each part; a key that is spelt otherwise would never be shown."""
    shapes = {
        "config": {"step", "error", "abort", "flow_title"},
        "options": {"step", "error", "abort"},
        "config.step": {"title", "description", "data", "data_description"},
        "options.step": {"title", "description", "data", "data_description", "menu_options"},
        "services": {"name", "description", "fields"},
        "selector": {"options", "fields"},
        "exceptions": {"message"},
    }
    for path, allowed in shapes.items():
        part, _, below = path.partition(".")
        known = ENGLISH[part][below].values() if below else [ENGLISH[part]]
        for words in known if below or part in {"config", "options"} else ENGLISH[part].values():
            assert set(words) <= allowed, path
    for entities in ENGLISH["entity"].values():
        for words in entities.values():
            assert set(words) <= {"name", "state", "state_attributes"}
    assert set(ENGLISH["system_health"]) == {"info"}


def test_an_integration_of_entries_only_says_so() -> None:
    """With ``async_setup`` there is a schema for YAML too, which refuses it."""
    tree = ast.parse((FOLDER / "__init__.py").read_bytes())
    named = [ast.unparse(node) for node in tree.body if isinstance(node, ast.Assign)]
    assert "CONFIG_SCHEMA = cv.config_entry_only_config_schema(DOMAIN)" in named


async def test_home_assistant_itself_accepts_the_flow(hass: HomeAssistant) -> None:
    flow = await hass.config_entries.flow.async_init(DOMAIN, context={"source": SOURCE_USER})
    assert flow["step_id"] == "user"
