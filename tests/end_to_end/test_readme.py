"""The README is true: its Python runs, its output is what is printed, its copies are current."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from longspan.cli import app

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
GUIDE = (ROOT / "docs" / "encoding.md").read_text()


def blocks(language: str, page: str = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)


def test_the_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    (code,) = [block for block in blocks("python") if block.startswith("import longspan")]
    exec(compile(code, "README.md", "exec"), {})
    assert capsys.readouterr().out.splitlines()[-1] == "True"
    assert (tmp_path / "minilm-longer" / "model.safetensors").exists()


def test_the_python_of_the_guide_runs(capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(blocks("python", GUIDE)[0], "docs/encoding.md", "exec"), {})
    assert "[3606, 3] [3606, 3]" in capsys.readouterr().out, "every token of both was read"


def test_the_python_of_the_guide_to_measuring_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = blocks("python", (ROOT / "docs" / "evaluation.md").read_text())
    exec(compile(code, "docs/evaluation.md", "exec"), {})
    assert "tile -> 512" in capsys.readouterr().out


def test_the_commands_print_what_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shown = re.split(r"^\$ longspan ", "".join(blocks("console")), flags=re.MULTILINE)[1:]
    assert len(shown) >= 2
    for one in shown:
        command, _, output = one.partition("\n")
        done = CliRunner().invoke(app, shlex.split(command))
        assert done.exit_code == 0, done.output
        assert done.stdout.strip() == output.strip()


def test_the_shown_method_is_the_whole_file() -> None:
    shown = [block for block in blocks("python") if not block.startswith("import longspan")]
    assert shown == [(ROOT / "src/longspan/methods/frequencies/pi.py").read_text()]


def test_what_is_generated_is_current() -> None:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec
    assert spec.loader
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    scores = {name: generate.read(ROOT / "results" / name) for name in generate.MEASURED}
    read = generate.reading_table(generate.read(ROOT / "results" / "encoding.jsonl"))
    assert generate.between(README, generate.table(scores)) == README, "run python docs/generate.py"
    assert generate.between(GUIDE, read) == GUIDE, "run python docs/generate.py"
    measured = generate.benchmark_table(generate.read(ROOT / "results" / "evaluation.jsonl"))
    page = (ROOT / "docs" / "benchmarks.md").read_text()
    assert generate.between(page, measured) == page, "run python docs/generate.py"
    converted = generate.conversion_table(generate.read(ROOT / "results" / "conversion.jsonl"))
    page = (ROOT / "docs" / "conversion.md").read_text()
    assert generate.between(page, converted) == page, "run python docs/generate.py"
    assert generate.page(scores) == (ROOT / "docs" / "methods.md").read_text(), "run python docs/generate.py"
