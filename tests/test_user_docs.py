"""The guide for homes: each subject that Home Assistant's quality scale asks for is there, and complete."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from homeassistant.util.yaml import parse_yaml

ROOT = Path(__file__).parent.parent
GUIDE = ROOT / "docs" / "users"
INTEGRATION = ROOT / "custom_components" / "energy_trade"
BLUEPRINTS = ROOT / "blueprints" / "automation" / "energy_trade"
WORDS: dict[str, Any] = json.loads((INTEGRATION / "translations" / "en.json").read_text(encoding="utf-8"))
PAGES = sorted(GUIDE.glob("*.md"))
IMAGE_BYTES_MAX = 150_000

_LINK = re.compile(r"(?<!`)\[[^\]]*\]\(([^)\s]+)\)")
_YAML = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PLACEHOLDER = re.compile(r"\{\w+\}")


def page(name: str) -> str:
    """Return a page of the guide as one text without line breaks within its sentences."""
    return (GUIDE / name).read_text(encoding="utf-8")


def without_code(text: str) -> str:
    """Return a page without its fenced code, in which a ``#`` is no heading."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def section(name: str, heading: str) -> str:
    """Return the part of a page below a heading, its smaller headings included; fail when there is none."""
    found = re.search(rf"^(#+) {re.escape(heading)}$", page(name), re.MULTILINE)
    assert found, f"{name} has no section {heading!r}"
    rest = page(name)[found.end() :]
    end = re.search(rf"^#{{1,{len(found[1])}}} ", rest, re.MULTILINE)
    return rest[: end.start()] if end else rest


def named(text: str) -> set[str]:
    """Return what a text names in italics or as code."""
    return set(re.findall(r"(?<!\*)\*([^*]+)\*(?!\*)", " ".join(text.split()))) | set(re.findall(r"`([^`\n]+)`", text))


def lacks(wanted: Iterable[str], text: str) -> set[str]:
    """Return which of the wanted names a text does not name."""
    return set(wanted) - named(text)


def labels(tree: Mapping[str, Any]) -> Iterator[str]:
    """Yield the labels of all fields of a flow's forms."""
    for key, value in tree.items():
        if key == "data":
            yield from value.values()
        elif isinstance(value, Mapping) and key != "data_description":
            yield from labels(value)


def examples(name: str) -> list[Any]:
    """Return the YAML examples of a page, read."""
    return [parse_yaml(text) for text in _YAML.findall(page(name))]


def calls(tree: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the calls of the integration's own actions in an example."""
    if isinstance(tree, Mapping):
        if str(tree.get("action", "")).startswith("energy_trade."):
            yield tree
        for value in tree.values():
            yield from calls(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from calls(value)


def services() -> dict[str, dict[str, Any]]:
    """Return the actions that there are, with their fields."""
    found: Any = parse_yaml((INTEGRATION / "services.yaml").read_text(encoding="utf-8"))
    return dict(found)


def told(module: str, pattern: str) -> tuple[str, ...]:
    """Return what the integration's modules of a name say in the line that begins so, in groups."""
    texts = (path.read_text(encoding="utf-8") for path in INTEGRATION.rglob(f"{module}.py"))
    found = [match for text in texts if (match := re.search(f"^{pattern}", text, re.MULTILINE))]
    assert len(found) == 1, (module, pattern)
    return found[0].groups()


def check_actions() -> Iterator[str]:
    """Every action has a part with an example that its fields allow; what answers has its answer told."""
    for name, described in services().items():
        text = section("REFERENCE.md", f"energy_trade.{name}")
        if "Answer" not in text:
            yield f"{name}: no word of its answer"
        if not (shown := [call for read in map(parse_yaml, _YAML.findall(text)) for call in calls(read)]):
            yield f"{name}: no example"
        for call in shown:
            needed = {field for field, words in described["fields"].items() if (words or {}).get("required")}
            if call["action"] != f"energy_trade.{name}" or not needed <= set(call["data"]) <= set(described["fields"]):
                yield f"{name}: the example {call} does not fit"


def check_data_update() -> Iterator[str]:
    """The intervals are those of the code."""
    text = section("REFERENCE.md", "How data is updated")
    (minutes,) = told("const", r"POLL_CONNECTED: Final = timedelta\(minutes=(\d+)\)")
    (alone,) = told("const", r"POLL_ALONE: Final = timedelta\(seconds=(\d+)\)")
    (silence,) = told("client", r"STREAM_SILENCE_S_MAX = (\d+)")
    asked = told("outlook", r"PRICES_S, CALENDARS_S = ([\d_]+)\.0, ([\d_]+)\.0")
    wanted = [f"every {minutes} minutes", f"every {alone} seconds", f"{silence} s"]
    wanted += [f"every {int(seconds) // 60} minutes" for seconds in asked]
    yield from (words for words in wanted if words not in text)


def check_functions() -> Iterator[str]:
    """Every entity, state of an event and statistic is named."""
    text = section("REFERENCE.md", "Entities")
    entities = [words for platform in WORDS["entity"].values() for words in platform.values()]
    yield from lacks((words["name"] for words in entities), text)
    for words in WORDS["entity"]["event"].values():
        yield from lacks(words["state_attributes"]["event_type"]["state"], text)
    series = re.findall(r'"(\w+)"', " ".join(told("ledger_rows", r"MARKET_SERIES = (.+)\nGRID_SERIES = (.+)")))
    assert len(series) == 8
    yield from lacks(series, section("REFERENCE.md", "Statistics"))


def check_devices() -> Iterator[str]:
    """Every device that can be added has a part that names its fields."""
    for kind in WORDS["config_subentries"].values():
        text = section("DEVICES.md", kind["entry_type"])
        yield from lacks(set(labels(kind["step"])) - {"Name"}, text)
    yield from lacks({"Name", "Reconfigure"}, page("DEVICES.md"))


def check_installation_parameters() -> Iterator[str]:
    """Every field of joining, reconfiguring and joining again is named, each policy setting and field of a band too."""
    yield from lacks(labels(WORDS["config"]["step"]), page("INSTALL.md"))
    bands = WORDS["selector"]["bands"]["fields"].values()
    yield from lacks((field["name"] for field in bands), section("INSTALL.md", "How to trade"))


def check_configuration_parameters() -> Iterator[str]:
    """Every menu and field of the options is named."""
    steps, text = WORDS["options"]["step"], section("INSTALL.md", "Options")
    yield from lacks(steps["init"]["menu_options"].values(), text)
    settings = set(labels(steps["settings"]))
    yield from lacks(settings, section("INSTALL.md", "How to trade"))
    yield from lacks(set(labels(steps)) - settings, text)


def check_examples() -> Iterator[str]:
    """Every blueprint is linked, in the way that imports it; every example calls actions with fields that they have."""
    text = section("AUTOMATIONS.md", "Blueprints")
    links = [urlsplit(link) for link in _LINK.findall(text) if link.startswith("https://my.home-assistant.io/")]
    imported = {Path(urlsplit(parse_qs(link.query)["blueprint_url"][0]).path).name for link in links}
    yield from imported ^ {path.name for path in BLUEPRINTS.glob("*.yaml")}
    found = examples("AUTOMATIONS.md")
    if len(found) < 3 or any({"triggers", "actions"} - set(example) for example in found):
        yield "at least three automations"
    fields = {f"energy_trade.{name}": set(described["fields"]) for name, described in services().items()}
    for call in calls(found):
        if not set(call["data"]) <= fields.get(call["action"], set()):
            yield f"{call['action']} does not take {call['data']}"


def check_troubleshooting() -> Iterator[str]:
    """Every repair and every state of the meter check is in a table with cause and fix."""
    titles = (_PLACEHOLDER.sub("…", issue["title"]) for issue in WORDS["issues"].values())
    yield from lacks(titles, section("TROUBLESHOOTING.md", "Repairs"))
    states = WORDS["entity"]["sensor"]["meter_check"]["state"].values()
    yield from lacks(states, section("TROUBLESHOOTING.md", "Meter check"))
    if "| symptom | cause | fix |" not in section("TROUBLESHOOTING.md", "What you see"):
        yield "a table of symptom, cause and fix"
    connection = (f"*Connection* is *{state}*" for state in WORDS["entity"]["sensor"]["connection"]["state"].values())
    yield from (words for words in connection if words not in page("TROUBLESHOOTING.md") and "Live" not in words)


def check_removal() -> Iterator[str]:
    """What stays is told: keys, money, statistics, the Energy dashboard."""
    text = section("INSTALL.md", "Remove it")
    wanted = ("energy_trade.identities", "energy_trade.withdraw", "energy_trade.clear_statistics", "Energy dashboard")
    yield from (words for words in wanted if words not in text)


def check_use_cases() -> Iterator[str]:
    """Each case leads to a policy or a page."""
    rows = [row for row in section("README.md", "Use cases").splitlines() if row.startswith("| ")][2:]
    yield from (row for row in rows[:-1] if not _LINK.search(row))


def nothing() -> Iterator[str]:
    """Ask for no more than the section."""
    yield from ()


SUBJECTS: dict[str, tuple[str, str, int, Callable[[], Iterator[str]]]] = {
    "docs-actions": ("REFERENCE.md", "Actions", 300, check_actions),
    "docs-high-level-description": ("README.md", "What it does", 80, nothing),
    "docs-installation-instructions": ("INSTALL.md", "Install", 60, nothing),
    "docs-removal-instructions": ("INSTALL.md", "Remove it", 100, check_removal),
    "docs-configuration-parameters": ("INSTALL.md", "Options", 200, check_configuration_parameters),
    "docs-installation-parameters": ("INSTALL.md", "Join, step by step", 300, check_installation_parameters),
    "docs-data-update": ("REFERENCE.md", "How data is updated", 100, check_data_update),
    "docs-examples": ("AUTOMATIONS.md", "Examples without a blueprint", 100, check_examples),
    "docs-known-limitations": ("README.md", "Known limitations", 100, nothing),
    "docs-supported-devices": ("README.md", "Supported homes and devices", 80, check_devices),
    "docs-supported-functions": ("REFERENCE.md", "Entities", 300, check_functions),
    "docs-troubleshooting": ("TROUBLESHOOTING.md", "What you see", 200, check_troubleshooting),
    "docs-use-cases": ("README.md", "Use cases", 80, check_use_cases),
}
"""By rule: the page and section of its subject, how many words it has at least, and what must be in it."""


@pytest.mark.parametrize("rule", list(SUBJECTS))
def test_the_guide_covers(rule: str) -> None:
    name, heading, words_min, missing = SUBJECTS[rule]
    assert len(re.findall(r"[A-Za-z]{2,}", section(name, heading))) >= words_min
    assert sorted(missing()) == []


def test_every_documentation_rule_that_is_done_is_covered() -> None:
    scale: Any = parse_yaml((INTEGRATION / "quality_scale.yaml").read_text(encoding="utf-8"))
    rules = scale["rules"]
    done = {rule for rule, state in rules.items() if rule.startswith("docs-") and state["status"] == "done"}
    assert done == set(SUBJECTS)


def anchors(path: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", without_code(path.read_text(encoding="utf-8")), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)).lower() for text in headings)
    return {text.replace(" ", "-") for text in plain}


@pytest.mark.parametrize("path", [ROOT / "README.md", *PAGES], ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(path: Path) -> None:
    for link in _LINK.findall(without_code(path.read_text(encoding="utf-8"))):
        if "://" in link:
            continue
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        assert not anchor or anchor in anchors(target), link


def test_every_page_of_the_guide_is_in_its_index() -> None:
    listed = set(re.findall(r"\]\((\w+\.md)\)", section("README.md", "Pages")))
    assert listed == {path.name for path in PAGES} - {"README.md"}


def test_the_pictures_are_used_and_small() -> None:
    pictures = sorted((ROOT / "docs" / "images").iterdir())
    text = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "README.md", *PAGES))
    for picture in pictures:
        assert picture.read_bytes().startswith(b"\x89PNG")
        assert picture.stat().st_size < IMAGE_BYTES_MAX
        assert f"images/{picture.name})" in text
