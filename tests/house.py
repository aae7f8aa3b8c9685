"""The house's laws as data, and a reader of source trees that lists every breach of them."""

import ast
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

COMPONENT = "custom_components/energy_trade"
FUNCTION_LINES = 60
MODULE_LINES = 500

# Floors, from the ground. An import may run along a floor or down, never up.
FLOORS = {
    "protocol": 1, "household": 1, "grid": 1, "chain": 1, "config": 1, "clock": 1,
    "market": 2, "settlement": 2, "metering": 2, "edge": 2,
    "ledger": 3, "solver": 3, "premises": 3, "agreement": 3,
    "app": 4, "resuming": 4, "treasurer": 4, "views": 4, "reports": 4,
    "simulation": 5, "deploy": 5, "checking": 5, "signalling": 5, "invitation": 5,
    "cli": 6,
}  # fmt: skip

# Rooms that may import only these rooms, whatever the floor.
ONLY = {
    "protocol": set[str](),
    "household": {"protocol"},
    "market": {"protocol"},
    "settlement": {"protocol"},
    "component": {"protocol", "household"},
}

# Rooms that never import one another: they meet in app.py.
APART = {"edge", "metering", "grid", "chain"}

# Third-party packages a room may import; a room that is not named here may import any declared one.
PACKAGES = {
    "protocol": {"cryptography", "aiohttp"},
    "household": set[str](),
    "market": {"numpy"},
    "settlement": set[str](),
}

# What a pure room does without: time, chance, identity and the world outside are handed in as data.
PURE = {"household", "market", "settlement"}
IMPURE = {
    "asyncio", "concurrent", "ctypes", "http", "io", "logging", "multiprocessing", "os", "pathlib", "random",
    "secrets", "select", "selectors", "shutil", "signal", "socket", "sqlite3", "ssl", "subprocess", "tempfile",
    "threading", "time", "urllib", "uuid",
}  # fmt: skip
IMPURE_CALLS = {"datetime.now", "datetime.utcnow", "datetime.today", "date.today", "open", "input", "print"}

# Rooms that count in integers only.
INTEGERS = {"market", "settlement"}


def breaches(root: Path) -> list[str]:
    """Return a sentence for every breach of the laws in the source tree at `root`."""
    found: list[str] = []
    edges: set[tuple[str, str]] = set()
    for path in sources(root):
        tree = ast.parse(path.read_bytes())
        name, room = path.relative_to(root).as_posix(), room_of(path.relative_to(root))
        found += [f"{name}: {breach}" for breach in _oversize(path, tree)]
        if room is None:
            continue
        imports = set(_imports(tree, _package(path.relative_to(root))))
        rooms = {target for module in imports if (target := _target(module)) and target != room}
        edges |= {(room, target) for target in rooms}
        found += [f"{name}: {breach}" for breach in _forbidden(room, rooms, imports)]
        found += [f"{name}: {breach}" for breach in _impure(room, tree)]
    return found + [f"a circle of rooms: {' - '.join(circle)}" for circle in _circles(edges)]


def sources(root: Path) -> Iterator[Path]:
    """Yield every Python file that is ours, each once: links are read where they point."""
    for folder in ("coordinator", "custom_components", "tests", "script"):
        for path in sorted((root / folder).rglob("*.py", recurse_symlinks=False)):
            if not any(parent.is_symlink() for parent in path.parents):
                yield path


def room_of(path: Path) -> str | None:
    """Return the room of a file in `coordinator/` or the integration, None for any other."""
    parts = path.parts
    if parts[0] == "coordinator":
        room = Path(parts[1]).stem
        return None if room in {"__init__", "__main__"} else room
    if path.is_relative_to(COMPONENT):
        return parts[2] if parts[2] in {"protocol", "household"} else "component"
    return None


def third_party(root: Path) -> set[str]:
    """Return the top-level names that the coordinator and what it links to import from elsewhere."""
    names: set[str] = set()
    for path in sources(root):
        if room_of(path.relative_to(root)) not in {None, "component"}:
            imports = _imports(ast.parse(path.read_bytes()), _package(path.relative_to(root)))
            names |= {module.split(".")[0] for module in imports}
    return names - set(sys.stdlib_module_names) - {"coordinator", "custom_components"}


def _package(path: Path) -> list[str]:
    return list(path.parts[:-1])


def _imports(tree: ast.Module, package: list[str]) -> Iterator[str]:
    """Yield the full dotted name of everything imported, `from a import b` as `a.b`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _target(module: str) -> str | None:
    """Return the room that a dotted name leads to, None if it leads out of the house."""
    parts = module.split(".")
    if parts[0] == "coordinator" and len(parts) > 1:
        return parts[1]
    if parts[:2] == ["custom_components", "energy_trade"]:
        return parts[2] if len(parts) > 2 and parts[2] in {"protocol", "household"} else "component"
    return None


def _forbidden(room: str, rooms: set[str], imports: Iterable[str]) -> Iterator[str]:
    if room != "component" and room not in FLOORS:
        yield f"{room} is no room of the house (tests/house.py names them)"
        return
    for target in sorted(name for name in rooms if name in FLOORS or name == "component"):
        if room in ONLY and target not in ONLY[room]:
            yield f"{room} must not import {target}"
        elif room in APART and target in APART:
            yield f"{room} and {target} meet in app.py only"
        elif target == "component" or (room in FLOORS and FLOORS[target] > FLOORS[room]):
            yield f"{room} imports up, from {target}"
    outside = {module.split(".")[0] for module in imports} - {"coordinator", "custom_components"}
    outside_stdlib = outside - set(sys.stdlib_module_names)
    if room in PACKAGES:
        yield from (f"{room} must not import {name}" for name in sorted(outside_stdlib - PACKAGES[room]))
    if room != "component" and "homeassistant" in outside_stdlib and room not in PACKAGES:
        yield f"{room} must not import homeassistant"
    if room in PURE:
        yield from (f"{room} is pure and must not import {name}" for name in sorted(outside & IMPURE))


def _impure(room: str, tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if room in PURE and isinstance(node, ast.Call):
            called = ".".join(ast.unparse(node.func).split(".")[-2:])
            if called in IMPURE_CALLS:
                yield f"line {node.lineno}: {room} is pure and must not call {called}"
        if room in INTEGERS and isinstance(node, ast.Constant) and isinstance(node.value, float):
            yield f"line {node.lineno}: {room} counts in integers, not {node.value}"


def _oversize(path: Path, tree: ast.Module) -> Iterator[str]:
    lines = len(path.read_bytes().splitlines())
    if lines > MODULE_LINES:
        yield f"{lines} lines, more than {MODULE_LINES}"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_LINES:
                yield f"{node.name} has {length} lines, more than {FUNCTION_LINES}"


def _circles(edges: set[tuple[str, str]]) -> Iterator[list[str]]:
    """Yield each circle of two rooms or more once, beginning with its first room by name."""

    def walk(trail: list[str]) -> Iterator[list[str]]:
        for source, target in sorted(edges):
            if source == trail[-1] and target == trail[0]:
                yield trail
            elif source == trail[-1] and target > trail[0] and target not in trail:
                yield from walk([*trail, target])

    for room in sorted({source for source, _ in edges}):
        yield from walk([room])
