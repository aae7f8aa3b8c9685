"""What the scripts call must fail when something is wrong: npm's launchers of Foundry do not."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UGLY = "contract   Ugly{uint   a;}"
HANDSOME = "contract Ugly {\n    uint256 a;\n}\n"


@pytest.mark.parametrize(("source", "expected"), [(HANDSOME, 0), (UGLY, 1)])
def test_forge_tells_the_scripts_that_it_failed(tmp_path: Path, source: str, expected: int) -> None:
    file = tmp_path / "Ugly.sol"
    file.write_text(source, encoding="utf-8")
    command = '. script/lib/common && use_environment && forge fmt --check "$1"'
    environment = {name: os.environ[name] for name in ("HOME", "PATH") if name in os.environ}
    done = subprocess.run(["bash", "-c", command, "bash", str(file)], cwd=ROOT, env=environment, check=False)
    assert done.returncode == expected
