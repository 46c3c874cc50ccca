"""The house stays as DESIGN says: arrows point down, torch is out of the base, the graphs are bare."""

import ast
import importlib
import json
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
GROUND = {"settings", "text", "intervals"}
"""Files that import no room."""
BELOW_NODES = {*GROUND, "sandbox", "memory", "models", "tasks"}
BELOW_UI = {*BELOW_NODES, "nodes", "graphs", "runtime"}
ALLOWED = {
    **{name: set[str]() for name in GROUND},
    "memory": GROUND,
    "models": GROUND,
    "sandbox": GROUND,
    "tasks": {*GROUND, "sandbox"},
    "nodes": BELOW_NODES,
    "graphs": {"nodes"},
    "runtime": {*BELOW_NODES, "nodes", "graphs"},
    "studio": BELOW_NODES,
    "mcp_server": BELOW_UI,
    "ui": BELOW_UI,
    "app": {"ui"},
    "evaluation": BELOW_UI,
    "training": {*GROUND, "sandbox", "models", "tasks", "graphs"},
}
"""What each room may import: arrows point down, and training knows no nodes."""
MOST_LINES = 400
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


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_are_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MOST_LINES


def test_no_circles() -> None:
    arrows: dict[str, set[str]] = {}
    for path in FILES:
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        found: set[str] = set()
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        arrows[name] = found - {name}
    known = {name: found & set(arrows) for name, found in arrows.items()}
    TopologicalSorter(known).prepare()  # raises CycleError, naming the circle


def test_settings_are_read_at_the_doors_only() -> None:
    """Below, they are passed: two runtimes in one process may differ in all of them."""
    doors = {"runtime.py", "app.py", "studio.py"}
    for path in FILES:
        name = str(path.relative_to(ROOT))
        if name in doors or name.startswith(("ui/", "evaluation/", "training/", "mcp_server/")):
            continue
        calls = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)]
        made = [n for n in calls if isinstance(n.func, ast.Name) and n.func.id == "Settings"]
        assert not made or name in {"nodes/replies.py", "sandbox/choose.py", "models/local.py"}, (
            f"{name} reads the environment"
        )


def test_every_edge_stands_in_its_graph_file_and_in_the_docs() -> None:
    drawn = (ROOT / "docs" / "machines.md").read_text()
    for machine in ("memgpt", "react", "self_refine", "reflexion", "collaborate"):
        module = importlib.import_module(f"graphs.{machine}")
        mermaid = module.graph.get_graph().draw_mermaid(with_styles=False).strip()
        assert f"```mermaid\n{mermaid}\n```" in drawn, f"draw {machine} anew in docs/machines.md"
    for path in (ROOT / "nodes").rglob("*.py"):
        assert "Command(goto" not in path.read_text(), f"{path.name} has an edge of its own"


def test_each_term_of_the_glossary_stands_in_the_code() -> None:
    code = "\n".join(path.read_text() for path in FILES)
    rows = re.findall(r"(?m)^\| ([^|]+) \| ([^|]+) \| `([^|]+)` \|$", (ROOT / "docs" / "glossary.md").read_text())
    assert len(rows) > 50
    assert [term for term, _, _ in rows] == sorted((term for term, _, _ in rows), key=str.casefold)
    for term, _, where in rows:
        assert (ROOT / where).exists() or where in code, f"{term}: there is no {where}"
