"""What verify compares with: the original only where it is surely that; otherwise the checkpoint, and it says so."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification
from typer.testing import CliRunner

import longspan
from longspan.cli import app
from longspan.extension import original_of
from longspan.identity import identity
from longspan.storage import _stock, reference
from longspan.storage.load import load, stored_plan
from tests.pipelines import WINDOW, WORDS, pipeline, tiny_tokenizer

ANEW, ITSELF = "the original, extended anew", "the checkpoint, read by longspan"
LONG = [" ".join(WORDS[i % 97] for i in range(100))]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    model = pipeline(tmp_path / "parts")
    model.save(str(tmp_path / "source"), create_model_card=False)
    return tmp_path / "source"


def saved(model: Any, folder: Path) -> Path:
    return Path(longspan.save(longspan.extend(model, to=2 * WINDOW, method="tile"), folder))


def stored(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "config.json").read_text())["longspan"]


def found(folder: Path, original: Any = None) -> reference.Reference:
    told = stored(folder)
    return reference.find(load(folder, dtype="float32"), stored_plan(told), told.get("original"), original)


def rewrite(folder: Path, change: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    change(config["longspan"])
    (folder / "config.json").write_text(json.dumps(config))


def test_the_original_on_this_machine_is_the_reference_while_it_is_what_was_extended(
    source: Path, tmp_path: Path
) -> None:
    model = longspan.load(source)
    digest = identity(model)
    folder = saved(model, tmp_path / "longer")
    assert stored(folder)["original"] == original_of(model) == digest
    one = found(folder)
    assert one.told == ANEW
    assert one.unproven == ""
    assert np.array_equal(one.model.encode(LONG), model.encode(LONG))
    weights = load_file(source / "model.safetensors")
    weights["embeddings.LayerNorm.bias"] += 1
    save_file(weights, source / "model.safetensors", metadata={"format": "pt"})
    other = found(folder)
    assert other.told == ITSELF
    assert "is not on this machine, or has changed there" in other.unproven


def test_a_model_in_half_precision_is_compared_with_an_original_in_it(source: Path, tmp_path: Path) -> None:
    folder = saved(longspan.load(source, dtype="bfloat16"), tmp_path / "longer")
    one = found(folder)
    assert one.told == ANEW
    assert next(one.model.parameters()).dtype == torch.float32
    assert np.array_equal(one.model.encode(LONG), load(folder, dtype="float32").encode(LONG))


@pytest.mark.parametrize("change", ["trained", "cast"])
def test_after_training_or_a_cast_the_original_is_no_reference(change: str, source: Path, tmp_path: Path) -> None:
    model = longspan.extend(longspan.load(source), to=2 * WINDOW, method="tile")
    if change == "trained":
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        model({"input_ids": torch.arange(5, 20)[None], "attention_mask": torch.ones(1, 15, dtype=torch.long)})[
            "sentence_embedding"
        ].prod(dim=0).sum().backward()
        optimizer.step()
    else:
        model.to(torch.bfloat16)
    folder = Path(longspan.save(model, tmp_path / "longer"))
    one = found(folder)
    assert (stored(folder)["original"], one.told) == ("", ITSELF)
    assert "changed after it was extended, by training or a cast" in one.unproven
    with pytest.raises(longspan.StorageError, match="no reference for it"):
        found(folder, source)


def test_a_checkpoint_trained_further_by_other_tools_does_not_claim_its_original(source: Path, tmp_path: Path) -> None:
    again = longspan.load(saved(longspan.load(source), tmp_path / "longer"))
    assert "original" not in again[0].auto_model.config.longspan
    again.save(str(tmp_path / "stock"), create_model_card=False)
    one = found(tmp_path / "stock")
    assert (one.told, "no digest" in one.unproven) == (ITSELF, True)
    assert longspan.plan_of(longspan.load(tmp_path / "stock")) == longspan.plan_of(again)


def test_a_given_original_is_checked(source: Path, tmp_path: Path) -> None:
    folder = saved(longspan.load(source), tmp_path / "longer")
    elsewhere = shutil.move(source, tmp_path / "elsewhere")
    assert found(folder).told == ITSELF
    live = longspan.load(elsewhere)
    before = identity(live)
    for given in (elsewhere, live):
        assert found(folder, given)[:2] == (ANEW, "")
    assert identity(live) == before
    other = pipeline(tmp_path / "other", "cls")
    for given in (tmp_path / "other", other):
        with pytest.raises(longspan.StorageError, match=r"is not what was extended: its digest is [0-9a-f]{12}, and"):
            found(folder, given)
    rewrite(folder, lambda plan: plan.pop("original"))
    old = found(folder, elsewhere)
    assert (old.told, "nothing shows that" in old.unproven) == (ANEW, True)


def test_nothing_that_a_checkpoint_names_is_fetched(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = saved(longspan.load(source), tmp_path / "longer")
    asked: list[str] = []
    monkeypatch.setattr(reference, "load", lambda place, **options: asked.append(place))
    for name in ("somebody/else", "//host/share/model", "\\\\host\\share", "https://host/model", ""):
        rewrite(folder, lambda plan, name=name: plan["geometry"].update(source=name))
        assert found(folder).told == ITSELF
    assert asked == []


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stock tools without the seconds of a new process; the tests of checkpoints start one."""

    def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        with monkeypatch.context() as process:
            process.delitem(sys.modules, "longspan")
            _stock.main(*command[2:])
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)


@pytest.mark.usefixtures("in_this_process")
def test_a_changed_head_of_a_language_model_is_seen(decoder: str, tmp_path: Path) -> None:
    model = longspan.extend(longspan.load(decoder), to=96, method="yarn")
    folder = Path(longspan.save(model, tmp_path / "longer", tokenizer=longspan.embedder(decoder).tokenizer))
    weights = load_file(folder / "model.safetensors")
    weights["lm_head.weight"] += 1
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    result = longspan.verify(folder, [40])
    assert {check.tool: check.passed for check in result.checks} == {
        "transformers": True,
        "language model head": False,
    }


@pytest.mark.usefixtures("in_this_process")
def test_a_cross_encoder_is_verified_with_its_head(tmp_path: Path) -> None:
    config = pipeline(tmp_path / "parts")[0].auto_model.config
    AutoModelForSequenceClassification.from_config(config).save_pretrained(tmp_path / "source")
    tiny_tokenizer().save_pretrained(tmp_path / "source")
    folder = saved(longspan.load(tmp_path / "source"), tmp_path / "longer")
    weights = load_file(folder / "model.safetensors")
    weights["classifier.weight"] += 1
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    result = longspan.verify(folder, [100])
    assert (result.reference, result.unproven) == (ANEW, "")
    assert {check.tool: check.passed for check in result.checks} == {
        "transformers": True,
        "sentence-transformers": False,
    }


@pytest.mark.usefixtures("in_this_process")
def test_the_command_line_takes_the_original_and_says_what_is_not_proven(source: Path, tmp_path: Path) -> None:
    folder = str(saved(longspan.load(source), tmp_path / "longer"))
    elsewhere = str(shutil.move(source, tmp_path / "elsewhere"))
    run = CliRunner().invoke
    given = run(app, ["verify", folder, "--lengths", "16,100", "--original", elsewhere, "--json"])
    told = json.loads(given.stdout)
    assert (given.exit_code, told["reference"], told["unproven"], len(told["checks"])) == (0, ANEW, "", 4)
    alone = run(app, ["verify", folder, "--lengths", "16"])
    assert alone.exit_code == 0
    assert f"compared with {ITSELF}" in alone.stdout
    assert "An error made while saving would not be seen: its original" in alone.stderr
    other = run(app, ["verify", folder, "--original", str(tmp_path / "parts")])
    assert (other.exit_code, "is not what was extended" in other.stderr) == (1, True)


@pytest.mark.parametrize("wrong", [0, 2 * WINDOW + 1])
def test_lengths_that_the_checkpoint_cannot_read_are_refused(wrong: int, source: Path, tmp_path: Path) -> None:
    folder = saved(longspan.load(source), tmp_path / "longer")
    with pytest.raises(longspan.StorageError, match=f"reads 1 to {2 * WINDOW} tokens, not {wrong}"):
        longspan.verify(folder, [16, wrong])
