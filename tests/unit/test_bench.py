"""bench: every backend on the same texts, compared with torch float32."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from longspan import EncodeError
from longspan.cli import app
from longspan.encoding import bench as module
from longspan.encoding.bench import Trial, bench, verdict

TEXTS = ["The river rose for nine days. " * 30, "Nobody had been warned.", "a"]


def test_every_backend_is_compared_with_torch_float32(minilm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DTYPES", {"torch": ("float32", "bfloat16", "float16"), "onnx": ("int8",)})
    trials = {trial.name: trial for trial in bench(minilm, TEXTS, "chunk_mean(window=64)", rounds=2)}
    assert set(trials) == {"torch float32", "torch bfloat16", "onnx int8"}
    assert trials["torch float32"].ratio == 1
    assert trials["torch float32"].exact
    assert 0.99 < trials["torch bfloat16"].cosine < module.EXACT
    assert all(trial.tokens_per_second > 0 and trial.tokens_per_cpu_second > 0 for trial in trials.values())


def test_a_backend_that_cannot_run_is_told_and_left_out(minilm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DTYPES", {"torch": ("float32", "float16"), "onnx": ("float64",)})
    found = bench(minilm, TEXTS, rounds=1)
    assert [trial.name for trial in found] == ["torch float32", "onnx float64"]
    assert "float64" in found[1].error
    with pytest.raises(EncodeError):
        bench(minilm, [])


def test_the_verdict_keeps_exact_and_fast_apart() -> None:
    trials = [
        Trial("openvino int8", ratio=1.6, cosine=0.9989),
        Trial("onnx float32", ratio=1.2, cosine=1.0),
        Trial("torch float32", ratio=1.0, cosine=1.0),
        Trial("openvino float32", error="not installed"),
    ]
    exact, faster = verdict(trials).splitlines()
    assert "--backend onnx --dtype float32 (1.20x" in exact
    assert "0.9989: --backend openvino --dtype int8 (1.60x)" in faster
    assert len(verdict(trials[1:]).splitlines()) == 1


def test_the_command_reads_files_and_prints_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DTYPES", {"torch": ("float32", "bfloat16", "float16")})
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS) + "not json\n")
    model = ["--model", "sentence-transformers/all-MiniLM-L6-v2"]
    done = CliRunner().invoke(app, ["bench", str(path), *model, "--rounds", "1", "--device", "cpu"])
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("3 documents, 1 rounds")
    assert "fastest with the same vectors: --backend torch --dtype float32" in done.stdout
    done = CliRunner().invoke(app, ["bench", str(path), *model, "--rounds", "1", "--json", "--documents", "2"])
    assert {trial["name"] for trial in json.loads(done.stdout)} == {"torch float32", "torch bfloat16"}
