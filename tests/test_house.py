"""The house stays as DESIGN says: arrows point down, torch is out of the base, the graphs are bare."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOORS = ["settings", "sandbox", "memory", "models", "tasks", "nodes", "graphs", "ui", "app"]
"""From the ground up; a room may import what is on its own floor and below."""
ALLOWED = {
    "settings": set(),
    "memory": {"settings"},
    "models": {"settings"},
    "sandbox": {"settings"},
    "tasks": {"settings", "sandbox"},
    "nodes": {"settings", "sandbox", "memory", "models", "tasks"},
    "graphs": {"settings", "sandbox", "memory", "models", "tasks", "nodes"},
    "ui": {"settings", "sandbox", "memory", "models", "tasks", "nodes", "graphs"},
    "app": {"ui"},
    "evaluation": {"settings", "sandbox", "memory", "models", "tasks", "nodes", "graphs"},
    "training": {"settings", "sandbox", "memory", "models", "tasks", "nodes", "graphs"},
}
FILES = [p for p in sorted(ROOT.rglob("*.py")) if p.relative_to(ROOT).parts[0].removesuffix(".py") in ALLOWED]


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_down_and_files_say_what_they_are_for(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0].removesuffix(".py")
    assert imported(path) & set(ALLOWED) <= ALLOWED[room] | {room}
    if room != "memory" and room != "evaluation":
        assert not imported(path) & {"qdrant_client", "qdrant_edge"}, "only memory/ knows Qdrant"
    assert room == "training" or not imported(path) & {"torch", "transformers", "peft", "trl", "unsloth"}
    assert ast.get_docstring(ast.parse(path.read_text()))


def test_base_import_loads_no_torch() -> None:
    code = "import runtime, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_studio_serves_what_exists() -> None:
    served = json.loads((ROOT / "langgraph.json").read_text())
    places = [g["path"] for g in served["graphs"].values()] + [served[k]["path"] for k in ("checkpointer", "store")]
    for place in places:
        path, name = place.split(":")
        assert f"{name} " in (ROOT / path).read_text() or f"def {name}(" in (ROOT / path).read_text()
