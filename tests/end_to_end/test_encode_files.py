"""longspan encode on a real model and real texts: killed and resumed, in processes and on Ray, always the same."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from longspan.benchmarks.retrieval.fairytaleqa import FairytaleQA
from longspan.cli import app
from longspan.encoding.files.pieces import Limits
from longspan.scale.job import encode_files
from longspan.scale.worker import EncoderSpec

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
ALONE = {**os.environ, "OMP_NUM_THREADS": "1"}
LATE = EncoderSpec(MODEL, "late")


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["encode", *arguments, "--model", MODEL])


@pytest.fixture(scope="module")
def tales() -> list[tuple[str, str]]:
    return list(FairytaleQA(documents=10).examples(None, seed=0).documents.items())


@pytest.fixture(scope="module")
def sentences(tales, tmp_path_factory) -> Path:
    """700 short rows, three shards, two of them bad."""
    words = " ".join(text for _, text in tales).split()[: 700 * 12]
    lines = [" ".join(words[start : start + 12]) for start in range(0, len(words), 12)]
    rows = [json.dumps({"text": line, "id": f"line {place}"}) for place, line in enumerate(lines)]
    rows[300], rows[650] = '{"text": ["a list"]}', '{"text": "cut sh'
    path = tmp_path_factory.mktemp("input") / "sentences.jsonl"
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.fixture(scope="module")
def few(tales, tmp_path_factory) -> Path:
    """Passages of some hundred tokens; one is longer than the model reads."""
    path = tmp_path_factory.mktemp("input") / "few.jsonl"
    texts = [text[: 300 * (place + 1)] for place, (_, text) in enumerate(tales)]
    path.write_text("\n".join(json.dumps({"text": text}) for text in texts) + "\n")
    return path


def test_a_killed_command_goes_on_and_ends_as_if_nothing_had_been(sentences: Path, tmp_path: Path) -> None:
    whole, out = tmp_path / "whole.parquet", tmp_path / "v.parquet"
    call = [sys.executable, "-c", "from longspan.cli import app; app()"]
    command = [*call, "encode", str(sentences), "--model", MODEL, "--out", str(out)]
    killed = subprocess.Popen(command, env=ALONE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        ends = time.monotonic() + 90
        while not any((tmp_path / "v.parquet.parts").glob("*.npz")):
            assert killed.poll() is None, killed.stderr.read()
            assert time.monotonic() < ends
            time.sleep(0.01)
    finally:
        killed.send_signal(signal.SIGKILL)
        killed.communicate()
    assert not out.exists()
    assert 1 <= len(list((tmp_path / "v.parquet.parts").glob("*.npz"))) < 3

    done = subprocess.run([*command, "--json"], env=ALONE, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    summary = json.loads(done.stdout)
    assert summary["resumed_rows"] >= 256
    assert (summary["rows"], summary["vectors"], summary["errors"]) == (700, 698, 2)
    assert done.stderr == f"2 rows could not be encoded: {out}.errors.jsonl\n"
    told = [json.loads(line) for line in Path(f"{out}.errors.jsonl").read_text().splitlines()]
    assert [(error["row"], error["line"]) for error in told] == [(300, 301), (650, 651)]
    assert all(str(sentences) in error["error"] and error["hint"] for error in told)

    encode_files([sentences], whole, EncoderSpec(MODEL), threads=1)
    assert out.read_bytes() == whole.read_bytes()
    assert Path(f"{out}.errors.jsonl").read_bytes() == Path(f"{whole}.errors.jsonl").read_bytes()
    assert not (tmp_path / "v.parquet.parts").exists()


def test_processes_and_ray_and_npy_give_the_same(few: Path, tmp_path: Path) -> None:
    limits = Limits(rows=3)
    one = encode_files([few], tmp_path / "one.parquet", LATE, limits=limits, threads=1)
    assert (one.rows, one.errors) == (10, 0)
    assert one.vectors > one.rows
    encode_files([few], tmp_path / "two.parquet", LATE, limits=limits, threads=1, processes=2)
    assert (tmp_path / "two.parquet").read_bytes() == (tmp_path / "one.parquet").read_bytes()
    script = (
        "import sys\nfrom longspan.scale.job import *\nfrom longspan.scale.worker import *\n"
        f"told = encode_files([sys.argv[1]], sys.argv[2], {LATE!r},\n"
        "    limits=Limits(rows=3), threads=1, processes=2, engine='ray')\nprint(told.vectors)\n"
    )
    ray = [sys.executable, "-c", script, str(few), str(tmp_path / "ray.parquet")]
    done = subprocess.run(ray, capture_output=True, text=True, check=False)
    # On a busy machine Ray tells of tries of its own, marked as such.
    ours = [line for line in done.stdout.splitlines() if "(raylet)" not in line]
    assert (done.returncode, ours, done.stderr) == (0, [str(one.vectors)], "")
    assert (tmp_path / "ray.parquet").read_bytes() == (tmp_path / "one.parquet").read_bytes()
    encode_files([few], tmp_path / "v.npy", LATE, limits=limits)
    table = pq.read_table(tmp_path / "one.parquet")
    lines = [json.loads(line) for line in (tmp_path / "v.jsonl").read_text().splitlines()]
    assert lines == table.drop_columns("vector").to_pylist()
    vectors = np.array(table["vector"].to_pylist(), dtype=np.float32)
    np.testing.assert_allclose(np.load(tmp_path / "v.npy"), vectors, rtol=0, atol=1e-6)


def test_documents_are_extended_encoded_and_accounted_for(tales, minilm, tmp_path: Path) -> None:
    (tmp_path / "tales").mkdir()
    for name, text in tales[:2]:
        (tmp_path / "tales" / f"{name}.md").write_text(text)
    folder, out = str(tmp_path / "tales"), str(tmp_path / "v.parquet")
    done = run(folder, "--out", out)
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("2 rows, 2 vectors, ")
    assert "2 of 2 inputs lost" in done.stderr
    assert "overflow" not in run(folder, "--out", out, "--on-overflow", "truncate").stderr
    vectors = np.array(pq.read_table(out)["vector"].to_pylist())
    ours = {Path(name).stem: vector for name, vector in zip(pq.read_table(out)["id"].to_pylist(), vectors, strict=True)}
    stock = minilm.encode([text for _, text in tales[:2]])
    for (name, _), vector in zip(tales[:2], stock, strict=True):
        np.testing.assert_allclose(ours[name], vector, atol=1e-5)
    refused = run(folder, "--out", out, "--to", "4096", "--method", "tile")
    assert refused.exit_code == 1
    assert "exists already" in refused.stderr
    done = run(folder, "--out", out, "--to", "4096", "--method", "tile", "--overwrite", "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["read"] == told["tokens"]
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nowhere.jsonl", "--out", "v.parquet"], 1, "There is no file nowhere.jsonl"),
        (["{few}", "--out", "v.csv"], 1, "neither .parquet nor .npy"),
        (["{few}", "--out", "v.npy", "--engine", "spark"], 1, "There is no engine 'spark'"),
        (["{few}", "--out", "v.npy", "--strategy", "nothing"], 2, "There is no"),
        (["{few}", "--out", "v.npy", "--method", "tile"], 2, "No target length"),
        (["{few}", "--out", "v.npy", "--processes", "0"], 2, "--processes"),
        (["--out", "v.npy"], 2, "Missing argument"),
    ],
)
def test_bad_input_has_an_exit_code_and_a_hint(
    few: Path, tmp_path: Path, monkeypatch, arguments, code, message
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run(*(argument.format(few=few) for argument in arguments))
    assert done.exit_code == code, done.output
    assert message in " ".join(done.stderr.split())
    assert done.stdout == ""
    assert "Traceback" not in done.output
    assert list(tmp_path.iterdir()) == []
