"""``python -m coordinator``: the same as the command ``energy-trade``."""

from .cli import main

raise SystemExit(main())
