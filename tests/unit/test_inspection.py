"""inspect: the facts of every tiny architecture, of folders and pipelines, and what it says of broken ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModel

from longspan import InspectError, PlanError, extended, inspect, plan
from longspan.geometry import Geometry
from tests import models
from tests.laws.test_slopes import encoder
from tests.models import WINDOW, states, tokens

ENCODERS = {**models.LEARNED_ENCODERS, **models.ROPE_ENCODERS}
OFFSETS = dict.fromkeys(("roberta", "xlm-roberta", "camembert", "mpnet", "opt"), 2)
PARTIAL = {"gpt_neox": 4}
LAYERED = {"modernbert": 160_000.0, "gemma3_text": 1e6}


@pytest.mark.parametrize("architecture", {**models.LEARNED, **models.ROPE})
def test_role_encoding_window_and_offset_of(architecture: str) -> None:
    geometry = inspect(models.build(architecture))
    assert geometry.role == ("encoder" if architecture in ENCODERS else "decoder")
    assert geometry.encoding == ("learned" if architecture in models.LEARNED else "rope")
    assert geometry.window == geometry.reads == WINDOW
    assert geometry.pad_offset == OFFSETS.get(architecture, 0)
    assert (geometry.heads, geometry.head_dim, geometry.hidden) == (4, 8, 32)
    assert geometry.extended is None
    assert geometry.reach is None


@pytest.mark.parametrize("architecture", models.ROPE)
def test_the_rotation_of(architecture: str) -> None:
    geometry = inspect(models.build(architecture))
    dim = PARTIAL.get(architecture, 8)
    assert geometry.rotary_dim == dim
    assert geometry.inv_freq == pytest.approx([geometry.base ** (-2 * c / dim) for c in range(dim // 2)], rel=1e-6)
    assert geometry.attention_factor == 1
    assert geometry.rope_type == "default"
    assert geometry.layer_type == ("full_attention" if architecture in LAYERED else "")
    assert geometry.base == LAYERED.get(architecture, geometry.base)


@pytest.mark.parametrize("architecture", models.ROPE)
def test_a_model_cast_to_bfloat16_has_the_rotation_it_was_trained_with(architecture: str) -> None:
    plain, cast = inspect(models.build(architecture)), inspect(models.build(architecture).to(torch.bfloat16))
    assert cast.inv_freq == plain.inv_freq


@pytest.mark.parametrize(("architecture", "kv_heads"), [("llama", 2), ("eurobert", 2), ("bert", 4), ("gpt_neox", 4)])
def test_key_heads_are_counted_apart(architecture: str, kv_heads: int) -> None:
    geometry = inspect(models.build(architecture))
    assert geometry.kv_heads == kv_heads
    cached = 0 if geometry.role == "encoder" else 2 * 2 * kv_heads * 8 * 100 * 4
    assert geometry.cache_bytes(100) == cached


@pytest.mark.parametrize("architecture", models.ALIBI)
def test_slopes_are_told_from_rotation(architecture: str) -> None:
    geometry = inspect(models.build(architecture))
    assert (geometry.encoding, geometry.role, geometry.window) == ("alibi", "decoder", WINDOW)


@pytest.mark.parametrize("as_buffer", [True, False])
def test_slopes_of_an_encoder_are_told_from_the_bias_it_keeps(as_buffer: bool) -> None:
    geometry = inspect(encoder(as_buffer))
    assert (geometry.encoding, geometry.role, geometry.window, geometry.heads) == ("alibi", "encoder", WINDOW, 4)


@pytest.mark.parametrize(("architecture", "encoding"), [("bloom", "alibi"), ("t5", "relative")])
def test_a_model_that_does_not_say_its_window_is_asked_for_it(architecture: str, encoding: str) -> None:
    model = models.build(architecture, seq_length=None)  # published BLOOM models say it, but need not
    with pytest.raises(InspectError, match="does not say its trained length") as error:
        inspect(model)
    assert "window=2048" in error.value.hint
    assert inspect(model, window=64).window == 64
    assert inspect(model, window=64).encoding == encoding


@pytest.mark.parametrize(("architecture", "window"), [("llama", 16), ("llama", 64), ("bert", 16), ("roberta", 30)])
def test_a_given_window_counts(architecture: str, window: int) -> None:
    assert inspect(models.build(architecture), window=window).window == window


@pytest.mark.parametrize("architecture", ["bert", "roberta"])
def test_a_window_beyond_the_rows_of_the_table_is_refused(architecture: str) -> None:
    with pytest.raises(InspectError, match="exceeds the 32 rows"):
        inspect(models.build(architecture), window=33)


@pytest.mark.parametrize("window", [-1, 2.5, "64"])
def test_a_window_that_counts_no_tokens_is_refused(window: object) -> None:
    with pytest.raises(InspectError, match="window"):
        inspect(models.build("llama"), window=window)


@pytest.mark.parametrize("architecture", ["bert", "roberta", "opt"])
def test_a_table_can_be_extended_from_a_part_of_its_rows(architecture: str) -> None:
    model = models.build(architecture)
    before = states(model, tokens(1, 16))
    with extended(model, 64, "tile", window=16):
        assert torch.equal(states(model, tokens(1, 16)), before)
        assert bool(states(model, tokens(1, 64)).isfinite().all())
    assert bool(states(model, tokens(1, WINDOW)).isfinite().all())


SCALED = {
    "linear": ({"rope_type": "linear", "factor": 4.0}, 128, 128),
    "llama3": (
        {
            "rope_type": "llama3",
            "factor": 4.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 32,
        },
        128,
        128,
    ),
    "yarn, the long length in the configuration": (
        {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32},
        128,
        128,
    ),
    "yarn, the short length in the configuration": (
        {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32},
        32,
        128,
    ),
    "dynamic": ({"rope_type": "dynamic", "factor": 4.0}, 32, 32),
}


@pytest.mark.parametrize(("rope", "positions", "window"), SCALED.values(), ids=SCALED)
def test_a_scaled_model_is_read_at_its_scaled_window(rope: dict, positions: int, window: int) -> None:
    parameters = {"rope_theta": 10_000.0, **rope}
    model = models.build("llama", rope_parameters=parameters, max_position_embeddings=positions)
    geometry = inspect(model)
    assert geometry.window == window
    assert geometry.rope_type == rope["rope_type"]
    assert geometry.inv_freq == tuple(model.rotary_emb.inv_freq.tolist())
    assert geometry.attention_factor == model.rotary_emb.attention_scaling
    assert f"scaled by {rope['rope_type']}" in geometry.describe()


def test_layers_that_all_slide_say_how_far_they_look() -> None:
    geometry = inspect(models.build("mistral", sliding_window=16))
    assert geometry.reach == 16
    assert "16 tokens back in every layer" in geometry.describe()


def test_one_layer_that_looks_everywhere_is_enough() -> None:
    assert inspect(models.build("gemma3_text")).reach is None


def _folder(path: Path, text: str) -> Path:
    (path / "config.json").write_text(text, encoding="utf-8")
    return path


def _config(architecture: str, **changes: object) -> str:
    return json.dumps({**models.build(architecture).config.to_dict(), **changes})


@pytest.mark.parametrize("architecture", {**models.LEARNED, **models.ROPE})
def test_a_folder_without_weights_is_read_like_the_model(tmp_path: Path, architecture: str) -> None:
    models.build(architecture).config.save_pretrained(tmp_path)
    from_folder, from_model = inspect(tmp_path), inspect(models.build(architecture))
    for field in ("architecture", "role", "encoding", "window", "pad_offset", "inv_freq", "layer_type", "parameters"):
        assert getattr(from_folder, field) == getattr(from_model, field), field
    assert inspect(str(tmp_path)) == from_folder
    assert from_folder.source == str(tmp_path)


@pytest.mark.parametrize("source", ["no/such-model", "/no/such/folder", "", "not a name"])
def test_a_wrong_path_is_an_inspect_error(source: str) -> None:
    with pytest.raises(InspectError, match="cannot be read") as error:
        inspect(source)
    assert "config.json" in error.value.hint


def test_an_empty_folder_is_an_inspect_error(tmp_path: Path) -> None:
    with pytest.raises(InspectError, match="cannot be read"):
        inspect(tmp_path)


BROKEN = {
    "no JSON": lambda: "{not json",
    "cut off": lambda: _config("bert")[:-20],
    "nothing": lambda: "",
    "a list": lambda: "[]",
    "null": lambda: "null",
    "no model type": lambda: "{}",
    "an unknown model type": lambda: '{"model_type": "nosuch"}',
    "an unknown activation": lambda: _config("bert", hidden_act="nosuch"),
    "a number that is text": lambda: _config("bert", hidden_size="many"),
    "no heads": lambda: _config("bert", num_attention_heads=0),
    "heads that do not fit": lambda: _config("bert", num_attention_heads=7),
    "negative rows": lambda: _config("bert", max_position_embeddings=-5),
    "no rows": lambda: _config("bert", max_position_embeddings=0),
    "an unknown rotation": lambda: _config("llama", rope_parameters={"rope_type": "nosuch", "rope_theta": 1e4}),
    "a rotation without its factor": lambda: _config("llama", rope_parameters={"rope_type": "linear"}),
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
def test_a_broken_configuration_is_an_inspect_error_with_a_hint(tmp_path: Path, text) -> None:
    with pytest.raises(InspectError) as error:
        inspect(_folder(tmp_path, text()))
    assert error.value.hint


@pytest.mark.parametrize("text", ["{not json", '{"max_seq_length": "many"}'])
def test_a_broken_file_of_sentence_transformers_is_an_inspect_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "sentence_bert_config.json").write_text(text, encoding="utf-8")
    with pytest.raises(InspectError):
        inspect(_folder(tmp_path, _config("bert")))


@pytest.mark.parametrize("thing", [3, None, torch.nn.Linear(2, 2), ["a", "b"]])
def test_what_is_no_model_is_an_inspect_error(thing: object) -> None:
    with pytest.raises(InspectError, match=r"has no transformers configuration|was given where a model belongs"):
        inspect(thing)


def test_a_folder_of_sentence_transformers_says_what_it_reads_and_how_it_pools(minilm_path: str) -> None:
    geometry = inspect(minilm_path)
    assert (geometry.architecture, geometry.role, geometry.encoding) == ("bert", "encoder", "learned")
    assert (geometry.window, geometry.reads, geometry.pooling) == (512, 256, "mean")
    assert geometry.parameters == 22_713_216
    assert "256 tokens; the pipeline cuts the rest" in geometry.describe()


def test_a_loaded_pipeline_is_read_like_its_folder(minilm, minilm_path: str) -> None:
    from dataclasses import replace

    assert replace(inspect(minilm), source="") == replace(inspect(minilm_path), source="")


def test_a_geometry_reads_back_from_json() -> None:
    geometry = inspect(models.build("gemma3_text"))
    assert Geometry.from_json(json.loads(json.dumps(geometry.to_json()))) == geometry


def test_an_extended_model_says_so() -> None:
    model = models.build("llama")
    model.config.longspan = {"length": 128, "methods": "YaRN()"}
    assert "extended     to 128 tokens by YaRN()" in inspect(model).describe()


@pytest.mark.parametrize("architecture", ["roformer", "gptj"])
def test_a_rotation_without_a_rotary_module_is_no_position_that_a_method_can_change(architecture: str) -> None:
    sizes = {"vocab_size": 120, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "rotary_dim": 4}
    model = AutoModel.from_config(AutoConfig.for_model(architecture, **sizes, bos_token_id=2, eos_token_id=3))
    assert inspect(model).encoding == "none"
    with pytest.raises(PlanError, match=f"this {architecture} has none that longspan knows"):
        plan(inspect(model), "self_extend", 8192)
