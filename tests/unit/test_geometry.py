"""What inspect counts and refuses: models without text or attention, parameters, bands, caches, scalings in doubt."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

from longspan import InspectError, inspect, plan
from tests import models
from tests.laws import cases
from tests.models import WINDOW, tokens

NO_TEXT = {"vit": "pixel_values", "dinov2": "pixel_values", "whisper": "input_features", "wav2vec2": "input_values"}


@pytest.mark.parametrize(("kind", "reads"), NO_TEXT.items())
def test_a_model_that_reads_no_text_is_refused_as_such(kind: str, reads: str, tmp_path: Path) -> None:
    config = AutoConfig.for_model(kind)
    config.save_pretrained(tmp_path)
    with torch.device("meta"):
        model = AutoModel.from_config(config)
    for given in (model, tmp_path):
        with pytest.raises(InspectError, match=f"This {kind} reads {reads}, not token ids") as error:
            inspect(given)
        assert "text part" in error.value.hint


SIZES = {
    "vocab_size": 120,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
}
NO_ATTENTION = {"fnet": "num_attention_heads", "mamba": "num_attention_heads"}


@pytest.mark.parametrize(("kind", "fact"), NO_ATTENTION.items())
def test_a_model_without_the_facts_of_attention_is_refused(kind: str, fact: str) -> None:
    sizes = {name: size for name, size in SIZES.items() if hasattr(AutoConfig.for_model(kind), name)}
    with pytest.raises(InspectError, match=f"does not say its {fact}"):
        inspect(AutoModel.from_config(AutoConfig.for_model(kind, **sizes)))


def test_a_table_that_is_no_plain_embedding_is_refused_by_name() -> None:
    model = AutoModel.from_config(AutoConfig.for_model("ibert", **SIZES, max_position_embeddings=34))
    with pytest.raises(InspectError, match="This ibert keeps its positions in a QuantEmbedding"):
        inspect(model)


def test_rows_that_are_never_read_are_no_window() -> None:
    model = AutoModel.from_config(AutoConfig.for_model("nystromformer", **SIZES, max_position_embeddings=34))
    assert inspect(model).window == 34


@pytest.mark.parametrize(("architecture", "bias"), [("mpnet", True), ("bert", False), ("llama", False)])
def test_a_relative_bias_beside_other_positions_is_told(architecture: str, bias: bool) -> None:
    geometry = inspect(models.build(architecture))
    assert geometry.relative_bias is bias
    assert ("a relative bias" in geometry.describe()) is bias
    assert "learned, 32 rows, 2 rows before position 0, and a relative bias" in geometry.describe() or not bias


@pytest.mark.parametrize("tied", [True, False])
def test_the_parameters_of_a_folder_are_those_that_load_gives(tied: bool, tmp_path: Path) -> None:
    config = AutoConfig.for_model("llama", **models.ALL["llama"], tie_word_embeddings=tied)
    model = AutoModelForCausalLM.from_config(config)
    model.save_pretrained(tmp_path)
    counted = sum(p.numel() for p in model.parameters())
    assert counted - sum(p.numel() for p in model.model.parameters()) == (0 if tied else 120 * 32)
    assert inspect(tmp_path).parameters == inspect(model).parameters == counted


def test_sliding_layers_are_told_with_their_width() -> None:
    said = inspect(models.build("gemma3_text")).describe()
    assert "1 of 2 layers look 16 tokens back" in said
    assert "2 of 3 layers look 8 tokens aside" in inspect(models.build("modernbert")).describe()
    assert "layers look" not in inspect(models.build("llama")).describe()


CACHES = {"gemma3_text": {}, "mistral": {"sliding_window": 16}, "llama": {}, "qwen2": {}}


@pytest.mark.parametrize(("architecture", "changes"), CACHES.items())
def test_the_cache_is_as_large_as_told(architecture: str, changes: dict) -> None:
    model = models.build(architecture, **changes)
    with torch.no_grad():
        cache = model(tokens(1, 100), use_cache=True).past_key_values
    held = sum(4 * part.numel() for layer in cache.layers for part in (layer.keys, layer.values))
    geometry = inspect(model)
    one = 2 * geometry.layers * geometry.kv_heads * geometry.head_dim * 4
    assert held <= geometry.cache_bytes(100) <= held + one  # transformers drops a sliding layer's last token early
    assert geometry.cache_bytes(10) == 10 * one


def test_layers_that_are_no_attention_keep_no_tokens() -> None:
    geometry = inspect(models.build("llama"))
    mixed = replace(geometry, layer_types=("linear_attention", "full_attention"))
    assert 2 * mixed.cache_bytes(100) == geometry.cache_bytes(100)


def test_a_plan_tells_the_cache_of_sliding_layers_once() -> None:
    layers = ("sliding_attention",) * 5 + ("full_attention",)
    facts = {"layers": 60, "layer_types": layers * 10, "sliding": 1024}
    with_bands, without = cases.rotary(window=32768, layers=60), cases.rotary(window=32768, layers=60)
    with_bands = replace(with_bands, **facts)
    ratio = without.cache_bytes(131072) / with_bands.cache_bytes(131072)
    assert 5.5 < ratio < 6
    said = f"{with_bands.cache_bytes(131072):,} bytes a sequence at 131072 tokens"
    assert said in plan(with_bands, "yarn", 131072).describe()


def test_a_linear_scaling_that_may_not_be_counted_is_told() -> None:
    rope = {"rope_type": "linear", "rope_theta": 10_000.0, "factor": 4.0}
    doubtful = inspect(models.build("llama", rope_parameters=rope))
    assert doubtful.window == WINDOW
    assert "32 tokens trained; 128 if they do not count the scaling: then pass window" in doubtful.describe()
    assert "scaled by linear 4x" in doubtful.describe()
    sure = inspect(models.build("llama", rope_parameters={**rope, "original_max_position_embeddings": 32}))
    assert sure.window == 128
    assert "count the scaling" not in sure.describe()
