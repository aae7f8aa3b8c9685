"""The operator's key: 32 bytes in a file that only its owner may read, made once."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from btclib_secp256k1 import recovery

from ..protocol.keys import AccountKey
from .files import sync_folder


class KeyFileError(Exception):
    """The key file cannot be used; the text says what to do."""


def load_or_create_key(path: Path) -> AccountKey:
    """Return the key in the file, made from the system's randomness when there is no file.

    Raises ``KeyFileError`` for a file that others may read, that cannot be read or that holds no key.
    """
    try:
        if not path.exists():
            _create(path)
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise KeyFileError(f"{path} can be read by others; run: chmod 600 {path}")
        return AccountKey.from_secret(path.read_bytes())
    except OSError as error:
        raise KeyFileError(f"{path} can be neither read nor made ({error.strerror}): name the right --data") from error
    except ValueError as error:
        raise KeyFileError(f"{path} holds no key ({error}); restore it from your backup") from error


def sign_compact(key: AccountKey, digest: bytes) -> bytes:
    """Sign as ``r || vs`` (EIP-2098), low ``s`` and deterministic."""
    signature, parity = recovery.sign(digest, key.secret, verify=False)
    return bytes([*signature[:32], signature[32] | parity << 7, *signature[33:]])


def _create(path: Path) -> None:
    """Write the whole key beside and link it into place: a crash leaves all of it or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(handle, AccountKey.generate().secret)
        os.fsync(handle)
    finally:
        os.close(handle)
    try:
        os.link(draft, path)
    except FileExistsError:
        pass  # another process was first: its key counts
    finally:
        draft.unlink()
    sync_folder(path.parent)
