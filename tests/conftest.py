"""What every test run shares."""

from tests.needs import pytest_make_collect_report, pytest_runtest_makereport, pytest_terminal_summary

__all__ = ["pytest_make_collect_report", "pytest_runtest_makereport", "pytest_terminal_summary"]

# The Home Assistant tests run by themselves, with their own plugin: pytest tests/component
collect_ignore = ["component"]
