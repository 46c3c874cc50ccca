"""The README tells the truth: its example runs, its commands exist."""

import json
import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from training.recipe import Recipe

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_the_python_example_runs_and_remembers(home: Path) -> None:
    example = re.search(r"```python\n(.*?)```", README, re.S)
    assert example
    code = [line for line in example[1].splitlines() if line.strip()]
    assert len(code) <= 15
    ran = subprocess.run(
        [sys.executable, "-c", example[1]],
        cwd=ROOT,
        env={**os.environ, "PALIMPSEST_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert "> My cat is called Byron." in ran.stdout
    assert re.search(r"\d\d messages have left the window", ran.stdout)


def test_its_commands_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    targets = set(re.findall(r"^make ([\w-]+)", README, re.M))
    assert targets == {"app", "test", "model", "studio", "train-demo"}
    assert all(re.search(rf"^{t}:", (ROOT / "Makefile").read_text(), re.M) for t in targets)
    for package in ("evaluation", "training"):
        main = import_module(f"{package}.__main__").main
        for arguments in sorted(set(re.findall(rf"-m {package} ((?:speed \w+|[\w-]+))", README))):
            monkeypatch.setattr(sys, "argv", [package, *arguments.split(), "--help"])
            with pytest.raises(SystemExit) as ended:
                main()
            assert ended.value.code == 0, arguments
    servers, recipe = re.findall(r"```json\n(.*?)```", README, re.S)
    Recipe.from_json(recipe, "README.md")
    (server,) = json.loads(servers)["mcpServers"].values()
    http = re.search(r"-m (mcp_server .*?)`", README)
    assert http
    for command in (" ".join(server["args"][1:]), http[1]):
        package, *options = command.split()
        monkeypatch.setattr(sys, "argv", [package, *options, "--help"])
        with pytest.raises(SystemExit) as ended:
            import_module(f"{package}.__main__").main()
        assert ended.value.code == 0, command


def test_ci_calls_the_readmes_test_command() -> None:
    assert (ROOT / ".ci" / "run").read_text().rstrip().endswith("make test")


def test_its_settings_are_those_of_the_code() -> None:
    from settings import Settings

    names = set(re.findall(r"`((?:PALIMPSEST|OPENAI|QDRANT)_\w+)`", README))
    known: set[str] = set()
    for field, info in Settings.model_fields.items():
        alias = info.validation_alias
        choices = getattr(alias, "choices", [alias] if alias else [f"PALIMPSEST_{field.upper()}"])
        known |= {str(c) for c in choices}
    assert names <= known
