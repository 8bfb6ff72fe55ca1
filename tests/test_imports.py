"""The import rule: imports only point down, and the rooms without I/O stay without I/O."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpcore

ROOT = Path(httpcore.__file__).parent

BASE = {"_exceptions", "_forks", "_types"}
"""What everyone may import, and what imports nobody."""

ALLOWED = {
    "_protocols": BASE - {"_forks"},
    "_backends": BASE,
    "_connections": BASE | {"_protocols", "_backends"},
    "_pool": BASE | {"_connections", "_backends"},
}
"""What each room may import besides itself. The files at the top may import any room."""

FORBIDDEN_IN_PROTOCOLS = {"asyncio", "trio", "anyio", "socket", "select", "threading", "time", "ssl"}


def modules() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


def room_of(path: Path) -> str:
    parts = path.relative_to(ROOT).parts
    return parts[0] if len(parts) > 1 else parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Each imported name: `(top, is_ours)`, where `top` is a room or file of ours, or a foreign package."""
    package = path.relative_to(ROOT.parent).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name.split(".")[0], False
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield str(node.module).split(".")[0], False
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1]
            full = (*base, *(node.module or "").split(".")) if node.module else base
            if len(full) > 1:
                yield full[1], True
            else:
                for alias in node.names:
                    yield alias.name, True


def test_imports_only_point_down() -> None:
    wrong = []
    for path in modules():
        room = room_of(path)
        if room not in ALLOWED:
            continue
        for top, is_ours in imports(path):
            if is_ours and top != room and top not in ALLOWED[room]:
                wrong.append(f"{path.relative_to(ROOT)} imports {top}")
    assert wrong == []


def test_the_base_imports_nobody() -> None:
    for name in BASE:
        assert [top for top, is_ours in imports(ROOT / f"{name}.py") if is_ours] == []


def test_protocols_are_without_io() -> None:
    wrong = []
    for path in (ROOT / "_protocols").rglob("*.py"):
        allowed = {"ssl"} if path.name == "tls.py" else set()
        for top, is_ours in imports(path):
            if not is_ours and top in FORBIDDEN_IN_PROTOCOLS - allowed:
                wrong.append(f"{path.relative_to(ROOT)} imports {top}")
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if any(isinstance(node, (ast.AsyncFunctionDef, ast.Await)) for node in ast.walk(tree)):
            wrong.append(f"{path.relative_to(ROOT)} waits")
    assert wrong == []


def test_no_generators() -> None:
    wrong = [
        str(path.relative_to(ROOT))
        for path in modules()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, (ast.Yield, ast.YieldFrom))
    ]
    assert wrong == []


def test_importing_loads_no_concurrency_library() -> None:
    code = "import sys, httpcore; print(*({'trio', 'anyio', 'asyncio', 'ssl'} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""


def test_importing_loads_nothing_that_only_some_need() -> None:
    """Each of these costs more to load than a room of ours."""
    code = "import sys, httpcore; print(*({'logging', 'inspect', 'dataclasses', 'ipaddress'} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""
