"""Which way a model looks: read from what it says of itself, or seen by running it; alike with and without weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

from longspan import PlanError, SeamError, extend, inspect
from tests.models import WINDOW, tokens

_SIZE: dict[str, Any] = {
    "vocab_size": 120,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": WINDOW,
    "pad_token_id": 1,
    "bos_token_id": 2,
    "eos_token_id": 3,
}
_SEQ2SEQ: dict[str, Any] = {
    "vocab_size": 120,
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "max_position_embeddings": WINDOW,
}
CAUSAL: dict[str, dict[str, Any]] = {
    "doge": {**_SIZE, "num_key_value_heads": 2},
    "megatron-bert": {**_SIZE, "is_decoder": True},
    "rembert": {**_SIZE, "is_decoder": True, "input_embedding_size": 16, "output_embedding_size": 16},
    "big_bird": {**_SIZE, "is_decoder": True},
    "roformer": {**_SIZE, "is_decoder": True},
    "trocr": {key: value for key, value in _SEQ2SEQ.items() if "encoder" not in key},
    "mvp": _SEQ2SEQ,
    "bigbird_pegasus": _SEQ2SEQ,
    "xglm": {
        "vocab_size": 120,
        "max_position_embeddings": WINDOW,
        "d_model": 32,
        "ffn_dim": 48,
        "num_layers": 2,
        "attention_heads": 4,
    },
    "gpt_neox_japanese": {**_SIZE, "intermediate_multiple_size": 2},
    "openai-gpt": {"vocab_size": 120, "n_positions": WINDOW, "n_embd": 32, "n_layer": 2, "n_head": 4},
}


def _alike(model: Any, path: Path) -> str:
    """The role that a live model and its folder agree on."""
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(path)
    live = inspect(model).role
    assert inspect(path).role == live
    return live


@pytest.mark.parametrize("architecture", CAUSAL)
def test_a_causal_language_model_is_a_decoder(architecture: str, tmp_path: Path) -> None:
    config = AutoConfig.for_model(architecture, **CAUSAL[architecture])
    assert _alike(AutoModelForCausalLM.from_config(config).eval(), tmp_path) == "decoder"


@pytest.mark.parametrize("architecture", ["doge", "xglm", "gpt_neox_japanese", "openai-gpt", "clip_text_model"])
def test_a_causal_model_without_its_head_is_a_decoder(architecture: str, tmp_path: Path) -> None:
    config = AutoConfig.for_model(architecture, **CAUSAL.get(architecture, _SIZE))
    assert _alike(AutoModel.from_config(config).eval(), tmp_path) == "decoder"


@pytest.mark.parametrize("architecture", ["megatron-bert", "rembert", "big_bird", "roformer", "mvp"])
def test_the_same_architecture_is_an_encoder_where_it_looks_both_ways(architecture: str, tmp_path: Path) -> None:
    config = AutoConfig.for_model(architecture, **{**CAUSAL[architecture], "is_decoder": False})
    model = AutoModel.from_config(config).eval()
    assert _alike(model, tmp_path) == "encoder"
    if architecture == "mvp":
        assert inspect(model.get_encoder()).role == "encoder"


def test_a_decoder_made_to_look_both_ways_is_an_encoder(tmp_path: Path) -> None:
    config = AutoConfig.for_model("llama", **_SIZE)
    config.is_causal = False
    assert _alike(AutoModel.from_config(config).eval(), tmp_path) == "encoder"


def test_looking_draws_no_random_number(tmp_path: Path) -> None:
    AutoConfig.for_model("xglm", **CAUSAL["xglm"]).save_pretrained(tmp_path)
    torch.manual_seed(0)
    wanted = torch.rand(3)
    torch.manual_seed(0)
    inspect(tmp_path)
    assert torch.equal(torch.rand(3), wanted)


@pytest.mark.parametrize("spec", ["grouped", "interpolate"])
@pytest.mark.parametrize("architecture", ["megatron-bert", "rembert", "big_bird", "openai-gpt"])
def test_positions_that_a_cache_cannot_follow_are_refused(architecture: str, spec: str) -> None:
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(architecture, **CAUSAL[architecture])).eval()
    with pytest.raises(PlanError, match="cached keys keep the old one"):
        extend(model, 96, spec)


def test_attention_with_a_mask_of_its_layers_own_is_not_rotated_late() -> None:
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model("doge", **CAUSAL["doge"])).eval()
    ids = tokens(1, 30)
    with torch.no_grad():
        before = model(ids).logits
        with pytest.raises(SeamError, match="adds a bias that its layer makes"):
            extend(model, 96, "dca")
        assert torch.equal(model(ids).logits, before)
        extend(model, 96, "yarn")
        changed = torch.cat([ids[:, :-1], tokens(1, 1, seed=1)], 1)
        assert torch.equal(model(ids).logits[:, :-1], model(changed).logits[:, :-1])
