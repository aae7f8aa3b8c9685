"""Small files that are replaced whole or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


class FileDamaged(Exception):
    """There is a file of this name, and what it holds cannot be read; the text says why."""


def read_json(path: Path) -> Any:
    """Return what the file holds, ``None`` when there is none or it is not JSON.

    Only for what can be found out again: whoever must not lose a file's content asks ``load_json``.
    """
    try:
        return load_json(path)
    except FileNotFoundError, FileDamaged:
        return None


def load_json(path: Path) -> Any:
    """Return what the file holds. Raises ``FileNotFoundError`` when there is none, else ``FileDamaged``."""
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        if path.is_symlink():
            raise FileDamaged("it is a link to a file that is not there") from error
        raise
    except OSError as error:
        raise FileDamaged(error.strerror or type(error).__name__) from error
    except (ValueError, RecursionError) as error:
        raise FileDamaged(f"it is not JSON: {error}") from error


def write_json(path: Path, value: object) -> None:
    """Replace the file durably."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with draft.open("w", encoding="utf-8") as file:
        json.dump(value, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make a new name in the folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
