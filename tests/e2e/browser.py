"""Pages as a person sees them: Chromium's screenshots and axe's findings."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).with_name("shots.mjs")


def chromium() -> str:
    """Return the machine's Chromium, or skip the test."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("needs chromium")
    return found


async def take(folder: Path, shots: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Take the screenshots; return by name what was found: path, violations, errors, text."""
    job = _write_job(folder, shots)
    bins = Path(__file__).parents[2] / ".venv" / "bin"
    node = shutil.which("node", path=f"{bins}{os.pathsep}{os.environ['PATH']}")
    if node is None:
        pytest.skip("needs node")
    process = await asyncio.create_subprocess_exec(
        node, str(SCRIPT), str(job), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, errors = await asyncio.wait_for(process.communicate(), 240)
    assert process.returncode == 0, errors.decode()
    return {found["name"]: found for found in json.loads(output)}


def _write_job(folder: Path, shots: list[dict[str, Any]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    job = folder / "job.json"
    job.write_text(json.dumps({"chromium": chromium(), "folder": str(folder), "shots": shots}))
    return job
