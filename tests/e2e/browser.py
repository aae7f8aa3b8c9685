"""Pages as a person sees them: Chromium's screenshots and axe's findings."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent


def chromium() -> str:
    """Return the machine's Chromium, or skip the test."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("needs chromium")
    return found


async def take(folder: Path, shots: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Take the screenshots; return by name what was found: path, violations, errors, text."""
    return {found["name"]: found for found in await run("shots.mjs", folder, {"shots": shots})}


async def run(script: str, folder: Path, job: dict[str, Any]) -> Any:
    """Run a script of this folder with a job, and return what it prints as JSON."""
    file = _write(folder, job)
    bins = HERE.parents[1] / ".venv" / "bin"
    node = shutil.which("node", path=f"{bins}{os.pathsep}{os.environ['PATH']}")
    if node is None:
        pytest.skip("needs node")
    process = await asyncio.create_subprocess_exec(
        node, str(HERE / script), str(file), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, errors = await asyncio.wait_for(process.communicate(), 240)
    assert process.returncode == 0, errors.decode()
    return json.loads(output)


def _write(folder: Path, job: dict[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "job.json"
    file.write_text(json.dumps({"chromium": chromium(), "folder": str(folder), **job}))
    return file
