"""What tests of convert share: the command, and what stock tools make of its folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from typer.testing import CliRunner

from longspan.cli import app
from longspan.training.run import Recipe

RECIPE = Recipe(steps=6, budget=128, learning_rate=1e-3, check_every=2)
STOCK = """
import sys
import numpy as np
from sentence_transformers import SentenceTransformer
model = SentenceTransformer(sys.argv[1], device="cpu", trust_remote_code=False)
texts = open(sys.argv[2]).read().splitlines()
np.save(sys.argv[3], model.encode(texts))
assert "longspan" not in sys.modules
print(type(model[0].auto_model).__name__, model.max_seq_length)
"""


def weights(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


def same(one: Path, other: Path) -> bool:
    ours, theirs = weights(one), weights(other)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def command(original: str, texts: Path, out: Path, *more: str) -> list[str]:
    options = ["--steps", "6", "--budget", "128", "--learning-rate", "1e-3", "--device", "cpu"]
    return ["convert", original, "--corpus", str(texts), "--out", str(out), *options, *more]


def stock_vectors(folder: Path, lines: list[str], scratch: Path) -> tuple[np.ndarray, str]:
    (scratch / "lines.txt").write_text("\n".join(lines))
    arguments = [str(folder), str(scratch / "lines.txt"), str(scratch / "vectors.npy")]
    run = subprocess.run([sys.executable, "-c", STOCK, *arguments], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return np.load(scratch / "vectors.npy"), run.stdout.strip()


def refused(*arguments: str) -> str:
    run = CliRunner().invoke(app, list(arguments))
    assert run.exit_code != 0
    assert run.stdout == ""
    assert "Traceback" not in run.stderr
    return run.stderr
