"""The command line as a user runs it: output on stdout, errors on stderr, documented exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from longspan.cli import app
from longspan.evaluation.run import LADDER

MODEL = "sentence-transformers/all-MiniLM-L6-v2"


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments))


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["methods"],
        ["methods", "--json"],
        ["--version"],
        ["extend", "--help"],
        ["encode", "--help"],
        ["strategies"],
    ],
)
def test_help_and_methods_do_not_import_torch(arguments: list[str]) -> None:
    script = (
        "import sys\nfrom longspan.cli import app\n"
        "try:\n    app(sys.argv[1:])\nexcept SystemExit as end:\n    code = end.code\n"
        "heavy = {'torch', 'transformers', 'sentence_transformers', 'numpy'} & set(sys.modules)\n"
        "assert not code and not heavy, (code, heavy)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_inspect_and_plan_print_the_numbers() -> None:
    assert "512 tokens trained" in run("inspect", MODEL).stdout
    assert json.loads(run("inspect", MODEL, "--json").stdout)["pooling"] == "mean"
    text = run("plan", MODEL, "--to", "4096", "--method", "interpolate + log-n").stdout
    assert "512 -> 4096 tokens (8x)" in text
    assert "adaptive" in text


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["plan", MODEL, "--to", "100"], 2, "below the trained window of 512"),
        (["plan", MODEL, "--to", "many"], 2, "valid int"),
        (["plan", MODEL, "--to", "4096", "-m", "yarn"], 2, "has learned ones"),
        (["plan", MODEL, "--to", "4096", "-m", "tile + grouped"], 2, "both write the tables seam"),
        (["plan", MODEL, "--to", "4096", "-m", "ntk(factor='big')"], 2, "takes float or none, got 'big'"),
        (["plan", MODEL, "--to", "4096", "-m", "tiel"], 2, "did you mean tile?"),
        (["plan", MODEL, "--to", "99999999"], 2, "times the window"),
        (["plan", "/nowhere/at/all", "--to", "4096"], 1, "cannot be read"),
        (["methods", "nothing"], 2, "There is no method"),
        (["evaluate", MODEL, "--lengths", "a,b"], 2, "not a list of numbers"),
        (["report", "/nowhere.jsonl"], 1, "cannot be read"),
        (["verify", "/nowhere"], 1, "cannot be read"),
        (["extend", MODEL, "--to", "1024", "--out", "/"], 1, "exists already"),
        (["nonsense"], 2, "No such command"),
    ],
)
def test_bad_input_has_an_exit_code_and_a_hint(arguments: list[str], code: int, message: str) -> None:
    done = run(*arguments)
    assert done.exit_code == code, done.output
    assert message in " ".join(done.stderr.split())
    assert done.stdout == ""
    assert "Traceback" not in done.output


def test_extend_verify_evaluate_report(tmp_path: Path) -> None:
    folder, scores, page = tmp_path / "longer", tmp_path / "scores.jsonl", tmp_path / "report.html"
    done = run("extend", MODEL, "--to", "1024", "--method", "tile", "--out", str(folder))
    assert done.exit_code == 0
    assert f"saved to {folder}" in done.stdout
    done = run("verify", str(folder), "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["passed"] is True

    asked = ("--benchmark", "passkey(documents=5, queries=5)", "--lengths", "256,1024", "--out", str(scores))
    done = run("evaluate", MODEL, *asked, "--method", "tile", "--to", "1024", "--json")
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout)
    assert {(row["strategy"], row["plan"]) for row in rows} == {
        ("bm25", ""),
        *((strategy, "") for strategy in LADDER),
        ("extend", "tile"),
        ("bm25 + truncate", ""),
        ("bm25 + extend", "tile"),
    }
    again = run("evaluate", str(folder), *asked, "--json")
    assert again.exit_code == 0, again.output

    def values(model: str) -> dict[tuple[int, str], float]:
        found = [row for row in json.loads(again.stdout) if (row["model"], row["strategy"]) == (model, "extend")]
        return {(row["length"], row["metric"]): row["value"] for row in found}

    assert values(str(folder)) == values(MODEL) != {}, "the checkpoint scores as the model did"
    lines = scores.read_text()
    assert run("evaluate", str(folder), *asked).exit_code == 0
    assert scores.read_text() == lines, "what is known is not measured again"
    done = run("report", str(scores), "--out", str(page))
    assert done.exit_code == 0
    assert "passkey" in page.read_text().lower()


def test_samples_are_not_written_as_results_of_mteb(tmp_path: Path) -> None:
    done = run("evaluate", MODEL, "--quick", "--mteb", str(tmp_path / "mteb"))
    assert done.exit_code == 2
    assert "taken for whole sets" in done.stderr
    assert not list(tmp_path.iterdir())
