"""The community's service: one market per microgrid, run by its operator."""

from importlib.metadata import version

__version__ = version("energy-trade")
