"""convert: from a folder of texts to a rotary checkpoint that stock tools load."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import longspan
from longspan.benchmarks.retrieval.fairytaleqa import FairytaleQA
from longspan.cli import app
from longspan.conversion import convert as conversion
from longspan.conversion.agreement import Agreement
from longspan.conversion.convert import convert
from longspan.errors import ConvertError, StorageError
from longspan.training.run import Recipe
from tests.conversions import RECIPE, command, refused, same, stock_vectors
from tests.models import build
from tests.pipelines import WINDOW, pipeline

pytestmark = pytest.mark.filterwarnings("ignore:.*tokens are few for a distillation")


def test_training_brings_the_vectors_nearer(converted: Any) -> None:
    assert list(converted.cosine) == [16, 32, 64]
    assert converted.steps == 6
    assert np.mean(list(converted.cosine.values())) > np.mean(list(converted.before.values()))
    assert 0 <= converted.neighbours.share <= 1
    assert converted.neighbours.tokens == 64
    told = converted.describe()
    assert f"{converted.cosine[64]:.3f}" in told
    assert f"{converted.neighbours.share:.1%} of {converted.neighbours.passages} held-out" in told


def test_nothing_is_left_beside_the_folder(converted: Any) -> None:
    assert [path.name for path in converted.folder.parent.iterdir()] == ["rotary"]


def test_stock_tools_give_the_vectors_that_were_measured(
    converted: Any, original: str, texts: Path, tmp_path: Path
) -> None:
    lines = [path.read_text().strip()[:200] for path in sorted(texts.iterdir())]
    vectors, told = stock_vectors(converted.folder, lines, tmp_path)
    assert told == f"JinaEmbeddingsV3Model {WINDOW}"
    assert not list(converted.folder.rglob("*.py"))
    assert "auto_map" not in json.loads((converted.folder / "config.json").read_text())
    ours = longspan.encode(longspan.load(converted.folder), lines).vectors
    np.testing.assert_allclose(vectors, ours, atol=1e-6)
    cosines = (vectors * longspan.load(original).encode(lines)).sum(1)
    assert abs(cosines.mean() - np.mean(list(converted.cosine.values()))) < 0.15


def test_the_card_tells_what_was_measured(converted: Any) -> None:
    card = (converted.folder / "README.md").read_text()
    assert "license: mit\n" in card
    assert "6 steps of distillation" in card
    assert "| held-out passages, tokens | 16 | 32 | 64 |" in card
    assert f"| cosine | {' | '.join(f'{value:.3f}' for value in converted.cosine.values())} |" in card
    assert f"{converted.neighbours.share:.1%}" in card
    assert card.endswith("## The original's card\n\nTold.\n")


def test_prompts_stay(converted: Any) -> None:
    assert longspan.load(converted.folder).prompts["query"] == "baba baco "


def test_the_result_can_be_extended(converted: Any, tmp_path: Path) -> None:
    out = tmp_path / "longer"
    run = CliRunner().invoke(
        app, ["extend", str(converted.folder), "--to", "256", "--method", "yarn", "--out", str(out)]
    )
    assert run.exit_code == 0, run.output
    assert longspan.load(out).max_seq_length == 256


@pytest.mark.parametrize("pooling", ["cls", "max", "mean_sqrt_len_tokens", "lasttoken"])
def test_every_pooling_with_a_projection_behind_it_in_half_precision(pooling: str, texts: Path, tmp_path: Path) -> None:
    model = pipeline(tmp_path / "parts", pooling, dense=True).to(torch.bfloat16).train()
    state = {name: weight.clone() for name, weight in model.state_dict().items()}
    made = convert(model, texts, out=tmp_path / "rotary", recipe=Recipe(steps=1, budget=64), progress=False)
    assert all(np.isfinite(list(made.cosine.values())))
    assert all(torch.equal(weight, state[name]) for name, weight in model.state_dict().items())
    assert model.training
    assert all(weight.requires_grad and weight.grad is None for weight in model.parameters())
    loaded = longspan.load(made.folder)
    assert loaded.encode(["baba baco . didi fufu"]).shape == (1, 24)
    assert {weight.dtype for weight in loaded.parameters()} == {torch.float32}


@pytest.mark.parametrize("architecture", ["roberta", "distilbert"])
def test_other_families(architecture: str, texts: Path, tmp_path: Path) -> None:
    model = pipeline(tmp_path / "parts", architecture=architecture)
    made = convert(model, texts, out=tmp_path / "rotary", recipe=Recipe(steps=2, budget=64), progress=False)
    assert type(model[0].auto_model).__name__.lower().startswith(architecture)
    assert list(made.cosine) == [16, 32, 64]


def test_a_tokenizer_that_puts_nothing_around_a_text(texts: Path, tmp_path: Path) -> None:
    model = pipeline(tmp_path / "parts", special=False)
    made = convert(model, texts, out=tmp_path / "rotary", recipe=Recipe(steps=1, budget=64), progress=False)
    assert longspan.load(made.folder).tokenizer("baba baco")["input_ids"] == [5, 6]
    assert all(np.isfinite(list(made.cosine.values())))


def test_the_model_is_left_as_it_is_after_an_error(
    original: str, texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = longspan.load(original).train()
    before = {name: weight.clone() for name, weight in model.state_dict().items()}

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Agreement, "neighbours", interrupted)
    with pytest.raises(KeyboardInterrupt):
        convert(model, texts, out=tmp_path / "rotary", recipe=Recipe(steps=1, budget=64), progress=False)
    assert type(model[0].auto_model).__name__ == "BertModel"
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())
    assert all(module.training for module in model.modules())
    assert all(weight.requires_grad and weight.grad is None for weight in model.parameters())
    assert not (tmp_path / "rotary").exists()


def test_an_interrupted_command_goes_on_where_it_was(
    converted: Any, original: str, texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure, calls = Agreement.__call__, iter(range(100))

    def interrupted(self: Agreement, student: Any) -> dict[int, float]:
        if next(calls) == 3:  # before the training, and at steps 2 and 4
            raise KeyboardInterrupt
        return measure(self, student)

    monkeypatch.setattr(Agreement, "__call__", interrupted)
    out = tmp_path / "rotary"
    arguments = command(original, texts, out, "--check-every", "2")
    run = CliRunner().invoke(app, arguments)
    assert run.exit_code == 1
    assert run.stdout == ""
    assert f"checkpoints are kept in {out}.training; the same command goes on from checkpoint-4" in run.stderr
    monkeypatch.setattr(Agreement, "__call__", measure)

    other = CliRunner().invoke(app, [*arguments, "--seed", "1"])
    assert other.exit_code == 1
    assert "holds a run with" in other.stderr

    run = CliRunner().invoke(app, [*arguments, "--json"])
    assert run.exit_code == 0, run.stderr
    told = json.loads(run.stdout)
    assert told["steps"] == 6
    assert told["folder"] == str(out)
    assert told["cosine"] == {str(length): cosine for length, cosine in converted.cosine.items()}
    assert [path.name for path in tmp_path.iterdir()] == ["rotary"]
    assert same(out, converted.folder)


def test_a_run_that_was_killed_before_it_was_saved_is_not_trained_again(
    converted: Any, original: str, texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(conversion, "_save", killed)
        with pytest.raises(KeyboardInterrupt):
            convert(longspan.load(original), texts, out=tmp_path / "rotary", recipe=RECIPE, progress=False)
    monkeypatch.setattr("longspan.training.trainer.Distiller.training_step", killed)
    made = convert(longspan.load(original), texts, out=tmp_path / "rotary", recipe=RECIPE, progress=False)
    assert made.steps == 6
    assert same(made.folder, converted.folder)


def test_a_target_that_is_not_reached_is_told(original: str, texts: Path, tmp_path: Path) -> None:
    recipe = Recipe(steps=1, budget=64, until=0.9999)
    with pytest.warns(UserWarning, match=r"after 1 steps, below the target of 0\.9999"):
        made = convert(longspan.load(original), texts, out=tmp_path / "rotary", recipe=recipe, progress=False)
    assert made.folder.is_dir()


def test_what_a_command_lacks_is_told(original: str, texts: Path, tmp_path: Path, decoder: str) -> None:
    out = tmp_path / "rotary"
    assert "--corpus" in refused("convert", original, "--out", str(out))
    assert "absent" in refused(*command(original, tmp_path / "absent", out))
    (tmp_path / "empty.txt").write_text("\n \n\n")
    assert "hold no text" in refused(*command(original, tmp_path / "empty.txt", out))
    assert "makes no vectors" in refused(*command(decoder, texts, out))
    assert "A learning rate of 7.0 will not do" in refused(*command(original, texts, out, "--learning-rate", "7"))
    assert not out.exists()
    assert not Path(f"{out}.training").exists()
    out.mkdir()
    assert "exists already" in refused(*command(original, texts, out))


def test_a_rotary_model_is_refused_before_anything_is_read(converted: Any, tmp_path: Path) -> None:
    told = refused(*command(str(converted.folder), tmp_path / "never read", tmp_path / "again"))
    assert "rotary positions already" in told


def test_a_bare_network_is_refused(texts: Path, tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match="makes no vectors"):
        convert(build("bert"), texts, out=tmp_path / "rotary")
    (tmp_path / "there").mkdir()
    with pytest.raises(StorageError, match="exists already"):
        convert(build("bert"), texts, out=tmp_path / "there")


def test_without_accelerate_nothing_is_read(original: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = longspan.load(original)
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(ConvertError, match="needs accelerate"):
        convert(model, tmp_path / "never read", out=tmp_path / "rotary")


def test_the_real_model(minilm_path: str, tmp_path: Path) -> None:
    tales = list(FairytaleQA().examples(None, seed=0).documents.values())
    (tmp_path / "tales.jsonl").write_text("\n".join(json.dumps({"text": tale[:1000]}) for tale in tales))
    recipe = Recipe(steps=2, budget=256)
    made = convert(
        longspan.load(minilm_path), tmp_path / "tales.jsonl", out=tmp_path / "rotary", recipe=recipe, progress=False
    )
    assert list(made.cosine) == [16, 32, 64, 128]
    assert made.cosine[64] > 0.8
    assert made.neighbours.passages > 30
    lines = [" ".join(tale.split()[:45]) for tale in tales[:20]]
    vectors, told = stock_vectors(made.folder, lines, tmp_path)
    assert told == f"JinaEmbeddingsV3Model {made.window}"
    assert (vectors * longspan.load(minilm_path).encode(lines)).sum(1).mean() > 0.8
