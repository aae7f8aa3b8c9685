"""Every rule of Home Assistant's Integration Quality Scale, and that the test which it names passes.

Tests of this folder that ran before are taken at their word; the others run in a process of their own.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from homeassistant.util.yaml import parse_yaml

from custom_components.energy_trade.const import DOMAIN

ROOT = Path(__file__).parents[2]
SCALE = ROOT / "custom_components" / DOMAIN / "quality_scale.yaml"
TIERS = {
    "bronze": (
        "action-setup appropriate-polling brands common-modules config-flow config-flow-test-coverage"
        " dependency-transparency docs-actions docs-triggers docs-conditions docs-high-level-description"
        " docs-installation-instructions docs-removal-instructions entity-event-setup entity-unique-id"
        " has-entity-name runtime-data test-before-configure test-before-setup unique-config-entry"
    ),
    "silver": (
        "action-exceptions config-entry-unloading docs-configuration-parameters docs-installation-parameters"
        " entity-unavailable integration-owner log-when-unavailable parallel-updates reauthentication-flow"
        " test-coverage"
    ),
    "gold": (
        "devices diagnostics discovery discovery-update-info docs-data-update docs-examples docs-known-limitations"
        " docs-supported-devices docs-supported-functions docs-troubleshooting docs-use-cases dynamic-devices"
        " entity-category entity-device-class entity-disabled-by-default entity-translations exception-translations"
        " icon-translations reconfiguration-flow repair-issues stale-devices"
    ),
    "platinum": "async-dependency inject-websession strict-typing",
}
SCALE_READ: Any = parse_yaml(SCALE.read_text(encoding="utf-8"))
RULES: dict[str, Any] = SCALE_READ["rules"]


def named_tests() -> Iterator[str]:
    """Yield each test that a rule names, once."""
    yield from dict.fromkeys(test for rule in RULES.values() for test in rule.get("tests", ()))


def test_every_rule_is_there_in_the_order_of_the_tiers() -> None:
    assert list(RULES) == " ".join(TIERS.values()).split()
    assert len(RULES) == 54


@pytest.mark.parametrize("name", list(RULES))
def test_a_rule_is_done_with_its_tests_or_exempt_with_a_reason(name: str) -> None:
    rule = RULES[name]
    assert set(rule) <= {"status", "comment", "tests"}
    if rule["status"] == "exempt":
        assert len(rule["comment"]) > 20
    else:
        assert rule["status"] == "done"
        assert rule["tests"], f"{name}: name the test that proves it"


def test_what_the_rules_name_passes(request: pytest.FixtureRequest, passed_tests: set[str]) -> None:
    """Each named test has passed in this run; one that was not part of it runs now."""
    missing = [test for test in named_tests() if not _passed(test, passed_tests)]
    ours = [test for test in missing if test.startswith("tests/component/")]
    others = [test for test in missing if test not in ours]
    for tests, options in ((ours, ["-c", "tests/component/pytest.ini"]), (others, [])):
        if tests:
            command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, *tests]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
            assert done.returncode == 0, done.stdout[-4_000:] + done.stderr[-2_000:]


def _passed(test: str, passed: set[str]) -> bool:
    """Tell whether the named test ran here: every case of it passed, or the run would have failed by itself."""
    return any(ran == test or ran.startswith((f"{test}[", f"{test}::")) for ran in passed)
