"""However an extended model is saved, the checkpoint carries its plan, and longspan.load brings all of it back."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from sentence_transformers import SentenceTransformer
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, Gemma3Config, Gemma3ForConditionalGeneration

import longspan
from longspan import PlanError, SeamError, StorageError, extend, inspect, plan_of, restore
from tests import models
from tests.laws.cases import LONG, every, fresh
from tests.pipelines import WINDOW, WORDS, pipeline

TO = 150
TEXTS = [" ".join(WORDS[:5]), " ".join(WORDS)]
PIPELINES = [
    ("bert", "grouped + log_n"),
    ("bert", "tile + temperature"),
    ("roberta", "interpolate"),
    ("modernbert", "self_extend"),
    ("modernbert", "dynamic_ntk"),
]


def _by_parts(model: Any, folder: Path) -> None:
    model.auto_model.save_pretrained(folder)
    model.tokenizer.save_pretrained(folder)


SAVES: dict[str, Callable[[Any, Path], None]] = {
    "model.save": lambda model, folder: model.save(str(folder)),
    "auto_model.save_pretrained": lambda model, folder: _by_parts(model[0], folder),
    "a deep copy": lambda model, folder: copy.deepcopy(model).save(str(folder)),
    "a pickled copy": lambda model, folder: pickle.loads(pickle.dumps(model)).save(str(folder)),
}

CASES = [(*PIPELINES[0], save) for save in SAVES] + [(*each, "model.save") for each in PIPELINES[1:]]


def _json(made: Any) -> Any:
    return json.loads(json.dumps(made.to_json()))


def _tokens(model: Any) -> Any:
    return model.encode(TEXTS, output_value="token_embeddings")


@pytest.mark.parametrize(("architecture", "spec", "save"), CASES, ids=["-".join(case) for case in CASES])
def test_a_stock_save_of_a_pipeline_loads_as_it_was(architecture: str, spec: str, save: str, tmp_path: Path) -> None:
    model = pipeline(tmp_path / "short", architecture=architecture)
    model.tokenizer.backend_tokenizer.enable_truncation(20)  # as MiniLM's file has it, below what is read
    extend(model, TO, spec)
    folder = tmp_path / "saved"
    SAVES[save](model, folder)
    assert json.loads((folder / "tokenizer.json").read_text())["truncation"]["max_length"] == TO
    assert json.loads((folder / "tokenizer_config.json").read_text())["model_max_length"] == TO

    again = longspan.load(folder)
    assert plan_of(again) == plan_of(model)
    assert again.max_seq_length == TO
    for ours, theirs in zip(_tokens(model), _tokens(again), strict=True):
        assert torch.equal(ours, theirs)

    told = inspect(folder)
    assert told.extended == _json(plan_of(model))
    assert f"{TO} tokens, {WINDOW} of them trained" in told.describe()
    stock = SentenceTransformer(str(folder), device="cpu")
    assert stock.max_seq_length == TO
    with pytest.raises(PlanError, match="already extended"):
        extend(stock, 2 * TO)


@every([("llama", "self_extend"), ("llama", "yarn + log_n"), ("llama", "longrope(first=4)"), ("gpt2", "tile + log_n")])
def test_a_stock_save_of_a_language_model_loads_as_it_was(architecture: str, spec: str, tmp_path: Path) -> None:
    model = _causal(architecture)
    ids = models.tokens(2, LONG)
    extend(model, LONG, spec)
    with torch.no_grad():
        wanted = model(ids).logits
        for number, part in enumerate((model, model.base_model)):
            part.save_pretrained(tmp_path / str(number))
        again = longspan.load(tmp_path / "0")
        assert torch.equal(again(ids).logits, wanted)
    assert plan_of(again) == plan_of(model)
    assert inspect(tmp_path / "0").extended == inspect(tmp_path / "1").extended == _json(plan_of(model))
    stock = AutoModelForCausalLM.from_pretrained(tmp_path / "0")
    assert stock.config.max_position_embeddings == LONG


def _causal(architecture: str, **changes: Any) -> Any:
    torch.manual_seed(0)
    config = AutoConfig.for_model(architecture, **{**models.ALL[architecture], **changes})
    return AutoModelForCausalLM.from_config(config).eval()


def test_the_checkpoints_of_a_trainer_carry_the_plan(tmp_path: Path) -> None:
    from transformers import Trainer, TrainingArguments

    model = extend(_causal("llama"), LONG, "self_extend")
    ids = models.tokens(4, LONG)
    rows = [{"input_ids": row, "labels": row} for row in ids]
    given = TrainingArguments(str(tmp_path), max_steps=1, save_steps=1, report_to=[], use_cpu=True, disable_tqdm=True)
    Trainer(model, given, train_dataset=rows).train()
    again = longspan.load(tmp_path / "checkpoint-1")
    assert plan_of(again) == plan_of(model)
    with torch.no_grad():
        assert torch.equal(again(ids).logits, model.eval()(ids).logits)


@every([("bert", "grouped"), ("llama", "dca"), ("mpt", "alibi_interpolation")])
def test_after_restore_nothing_of_the_plan_is_saved(architecture: str, spec: str, tmp_path: Path) -> None:
    model = fresh(architecture)
    model.save_pretrained(tmp_path / "before")
    extend(model, LONG, spec)
    assert model.config.longspan == plan_of(model).to_json()
    restore(model).save_pretrained(tmp_path / "after")
    before, after = ((tmp_path / name / "config.json").read_text() for name in ("before", "after"))
    assert after == before
    assert not hasattr(model.config, "longspan")


@pytest.mark.parametrize("spec", ["yarn", "self_extend", "yarn + log_n"])
def test_a_model_built_from_the_same_configuration_stays_as_it_was(spec: str) -> None:
    ours = fresh("llama")
    other = AutoModel.from_config(ours.config).eval()
    assert other.config is ours.config
    before, said = models.states(other, models.tokens(1, LONG)), other.config.to_json_string(use_diff=False)
    extend(ours, LONG, spec)
    assert other.config.to_json_string(use_diff=False) == said
    assert other.config._attn_implementation == "sdpa"
    assert inspect(other).extended is None
    assert torch.equal(models.states(other, models.tokens(1, LONG)), before)
    extend(other, LONG, "ntk")
    restore(ours)
    assert ours.config.to_json_string(use_diff=False) == said
    assert inspect(other).window == LONG


def test_a_model_with_several_parts_keeps_the_plan_in_the_configuration_of_the_text(tmp_path: Path) -> None:
    vision = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    sizes = {**vision, "image_size": 8, "patch_size": 4}
    config = Gemma3Config(text_config=models.ALL["gemma3_text"], vision_config=sizes, mm_tokens_per_image=1)
    model = Gemma3ForConditionalGeneration(config).eval()
    before = config.text_config.to_json_string(use_diff=False)
    extend(model, LONG, "self_extend")
    assert model.config.text_config is model.model.language_model.config
    model.save_pretrained(tmp_path)
    assert inspect(tmp_path).extended == _json(plan_of(model))
    restore(model)
    assert config.text_config.to_json_string(use_diff=False) == before
    assert model.config is config


def test_a_model_whose_inside_was_extended_by_itself_is_not_saved_without_the_plan(tmp_path: Path) -> None:
    model = _causal("llama")
    extend(model.model, LONG, "self_extend")
    with pytest.raises(StorageError, match="a part of it was extended") as error:
        longspan.save(model, tmp_path / "longer")
    assert "extend the whole model" in error.value.hint


def test_what_was_loaded_extended_says_that_it_cannot_be_restored(tmp_path: Path) -> None:
    extend(_causal("llama"), LONG, "self_extend").save_pretrained(tmp_path)
    with pytest.raises(SeamError, match="nothing to take back"):
        restore(longspan.load(tmp_path))


@every([("llama", "yarn"), ("llama", "self_extend"), ("bert", "tile")])
def test_what_is_written_to_the_configuration_meanwhile_outlives_the_extension(architecture: str, spec: str) -> None:
    model = fresh(architecture)
    before = {**vars(model.config)}
    extend(model, LONG, spec)
    model.resize_token_embeddings(125)
    model.config.problem_type = "regression"
    restore(model)
    assert {**before, "vocab_size": 125, "problem_type": "regression"} == vars(model.config)
    assert len(models.states(model, torch.tensor([[124]]))) == 1


EDITS: dict[str, tuple[str, str, Callable[[dict[str, Any]], object], str]] = {
    "more rows than there are": ("bert", "tile", lambda c: c["longspan"].update(length=300), "150 rows"),
    "fewer rows than there are": ("bert", "tile", lambda c: c["longspan"].update(length=149), "150 rows"),
    "rows of another window": ("roberta", "interpolate", lambda c: c["longspan"].update(length=300), "150 rows"),
    "a limit below": ("modernbert", "self_extend", lambda c: c.update(max_position_embeddings=64), "embeddings=64"),
    "a length above": ("modernbert", "dca", lambda c: c["longspan"].update(length=300), "embeddings=150"),
    "another map": ("modernbert", "yarn", lambda c: c["longspan"].update(length=140), "another rotation map"),
    "another method": ("modernbert", "yarn", lambda c: c["longspan"].update(methods="NTK()"), "another rotation map"),
    "another kind of layer": (
        "modernbert",
        "self_extend",
        lambda c: c["longspan"]["geometry"].update(layer_type=""),
        "layer_type full_attention instead of",
    ),
    "a factor twice": (
        "bert",
        "tile + temperature(tau=0.6)",
        lambda c: c["longspan"]["geometry"].update(scalable_queries=False),
        "scalable_queries True instead of False",
    ),
}


@pytest.mark.parametrize(("architecture", "spec", "edit", "told"), EDITS.values(), ids=EDITS)
def test_an_edited_plan_is_held_against_its_checkpoint(
    architecture: str, spec: str, edit: Callable[[dict[str, Any]], object], told: str, tmp_path: Path
) -> None:
    model = extend(pipeline(tmp_path / "short", architecture=architecture), TO, spec)
    model.save(str(tmp_path / "saved"), create_model_card=False)
    place = tmp_path / "saved" / "config.json"
    config = json.loads(place.read_text())
    edit(config)
    place.write_text(json.dumps(config))
    with pytest.raises(PlanError, match=told):
        longspan.load(tmp_path / "saved")
