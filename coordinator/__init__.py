"""The community's service: one market per microgrid, run by its operator."""

__version__ = "0.1.0"  # pyproject.toml says the same, which a test checks: reading it there costs a tenth of a second
