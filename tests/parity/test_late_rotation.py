"""A late rotation that changes nothing: every pair at its true distance, on every architecture it can be written into.

The whole machinery runs (raw cache, rotation inside attention, rows without their padding), and the untouched model
is what it must agree with.
"""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

from longspan.distances import plain
from longspan.errors import SeamError
from longspan.families import Frequencies, Range
from longspan.seams import rotation
from longspan.seams.layers import LAYER
from tests.written import written

PAD, SLIDING, LENGTH = 1, 8, 21
CLOSE = {"rtol": 1e-5, "atol": 1e-5}
_SIZE: dict[str, Any] = {
    "vocab_size": 120,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
    "pad_token_id": PAD,
    "bos_token_id": None,
    "eos_token_id": None,
}
_GQA = {**_SIZE, "num_key_value_heads": 2}
_WIDE = {**_GQA, "head_dim": 8}
_SLIDES = {"sliding_window": SLIDING}
_MIXED = {**_SLIDES, "num_hidden_layers": 4, "layer_types": ["sliding_attention"] * 3 + ["full_attention"]}
_EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 2}
_UNNAMED = {key: value for key, value in _GQA.items() if key != "num_attention_heads"}
DECODERS: dict[str, dict[str, Any]] = {
    "llama": _GQA,
    "qwen2": _GQA,
    "qwen3": _WIDE,
    "qwen2_moe": {**_GQA, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24},
    "mistral": {**_WIDE, **_SLIDES},
    "mixtral": {**_GQA, **_EXPERTS, "sliding_window": None},
    "gemma2": {**_WIDE, **_SLIDES, "query_pre_attn_scalar": 8},
    "gemma3_text": {**_WIDE, **_SLIDES, "layer_types": ["sliding_attention", "full_attention"]},
    "gpt_neox": {**_SIZE, "rotary_pct": 0.25},
    "phi": {**_GQA, "partial_rotary_factor": 0.5},
    "phi3": _GQA,
    "cohere": _GQA,
    "cohere2": {**_GQA, **_MIXED},
    "exaone4": {**_GQA, **_MIXED},
    "smollm3": {**_GQA, "num_hidden_layers": 4},
    "glm": _WIDE,
    "glm4": _WIDE,
    "ernie4_5": _WIDE,
    "helium": _WIDE,
    "olmo2": _GQA,
    "stablelm": _GQA,
    "starcoder2": {**_GQA, **_SLIDES},
    "granite": _GQA,
    "persimmon": _SIZE,
    "nemotron": _GQA,
    "jetmoe": {**_UNNAMED, **_EXPERTS, "kv_channels": 8},
    "gpt_oss": {**_WIDE, **_SLIDES, **_EXPERTS, "rope_parameters": {"rope_type": "default", "rope_theta": 1e4}},
}
_TOKENS = {"cls_token_id": None, "sep_token_id": None}
ENCODERS: dict[str, dict[str, Any]] = {
    "modernbert": {**_SIZE, **_TOKENS, "num_hidden_layers": 3, "global_attn_every_n_layers": 3, "local_attention": 16},
    "eurobert": {**_GQA, "mask_token_id": 4},
    "nomic_bert": _SIZE,
    "gte": _SIZE,
    "jina_embeddings_v3": _SIZE,
    "esm": {**_SIZE, "position_embedding_type": "rotary", "token_dropout": False, "mask_token_id": 4},
}
SPECIAL = ("gemma2", "gpt_oss")
"""Architectures that bound their logits or have attention sinks, which the fused kernels do not know."""
SLIDE = ("mistral", "gemma2", "gemma3_text", "cohere2", "exaone4", "starcoder2", "gpt_oss", "modernbert")
TWO_MAPS = ("gemma3_text", "modernbert")
"""Architectures whose sliding layers turn by a map of their own."""
STILL = {"cohere2": [3], "exaone4": [3], "smollm3": [3]}
"""Layers without positions."""
REFUSED: dict[str, dict[str, Any]] = {
    "falcon": {**_SIZE, "alibi": False},
    "gptj": {"vocab_size": 120, "n_embd": 32, "n_layer": 2, "n_head": 4, "rotary_dim": 4, "n_positions": 64},
    "codegen": {"vocab_size": 120, "n_embd": 32, "n_layer": 2, "n_head": 4, "rotary_dim": 4, "n_positions": 64},
    "bloom": {"vocab_size": 120, "hidden_size": 32, "n_layer": 2, "n_head": 4},
    "mpt": {"vocab_size": 120, "d_model": 32, "n_layers": 2, "n_heads": 4, "max_seq_len": 64},
    "mpnet": {**_SIZE, "max_position_embeddings": 66},
    "deberta-v2": {**_SIZE, "relative_attention": True, "position_buckets": 16, "pos_att_type": ["p2c", "c2p"]},
    "roformer": _SIZE,
    "llama4_text": {**_WIDE, "num_local_experts": 2, "intermediate_size_mlp": 48, "attention_chunk_size": 16},
    "deepseek_v3": {
        **_SIZE,
        "kv_lora_rank": 16,
        "q_lora_rank": 16,
        "qk_rope_head_dim": 8,
        "qk_nope_head_dim": 8,
        "v_head_dim": 8,
        "n_routed_experts": 4,
        "num_experts_per_tok": 2,
        "n_group": 1,
        "topk_group": 1,
        "moe_intermediate_size": 16,
        "first_k_dense_replace": 2,
    },
}
ALL = {**DECODERS, **ENCODERS, **REFUSED}
each_decoder = pytest.mark.parametrize("architecture", DECODERS)
each_model = pytest.mark.parametrize("architecture", [*DECODERS, *ENCODERS])


@cache
def _built(architecture: str) -> Any:
    torch.manual_seed(0)
    config = AutoConfig.for_model(architecture, **ALL[architecture])
    kind = AutoModelForCausalLM if architecture in DECODERS else AutoModel
    model = kind.from_config(config).eval()
    for name, weight in model.named_parameters():
        if weight.dim() > 1 and "embed" not in name:
            torch.nn.init.normal_(weight, std=0.2)
    return model


def _true(causal: bool, query: Tensor, key: Tensor, length: int) -> list[Range]:
    return [plain(query, key, length, causal=causal)]


def _late(architecture: str, backend: str | None = None) -> Any:
    """A copy in which attention rotates, by the true positions."""
    model, causal = copy.deepcopy(_built(architecture)), architecture in DECODERS
    true = partial(_true, causal)
    layer_type = "full_attention" if architecture in TWO_MAPS else ""
    written(rotation.apply, model, true, window=4, causal=causal, layer_type=layer_type, backend=backend)
    return model


def _draw(rows: int, length: int) -> Tensor:
    return torch.randint(5, 120, (rows, length), generator=torch.Generator().manual_seed(length))


def _padded(side: str) -> tuple[Tensor, Tensor]:
    """Rows of 21, 13 and 20 tokens, padded."""
    ids, mask = _draw(3, LENGTH), torch.ones(3, LENGTH, dtype=torch.long)
    for row, gone in ((1, 8), (2, 1)):
        mask[row, slice(LENGTH - gone, None) if side == "right" else slice(0, gone)] = 0
    return torch.where(mask.bool(), ids, PAD), mask


def _read(model: Any, ids: Tensor, mask: Tensor | None = None, **given: Any) -> Any:
    if mask is not None and model.config.model_type in DECODERS:  # as generate counts them
        given["position_ids"] = (mask.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :]
    with torch.no_grad():
        return model(input_ids=ids, attention_mask=mask, **given)


@each_model
def test_states_are_those_of_the_untouched_model(architecture: str) -> None:
    plain_model, late = _built(architecture), _late(architecture)
    ids = _draw(2, LENGTH)
    torch.testing.assert_close(_read(late, ids)[0], _read(plain_model, ids)[0], **CLOSE)
    for side in ("right", "left"):
        ids, mask = _padded(side)
        real = mask.bool()
        torch.testing.assert_close(
            _read(late, ids, mask)[0][real], _read(plain_model, ids, mask)[0][real], **CLOSE, msg=side
        )


@each_model
def test_the_dense_form_gives_the_same(architecture: str) -> None:
    ids, mask = _padded("left")
    real = mask.bool()
    wanted = _read(_built(architecture), ids, mask)[0][real]
    torch.testing.assert_close(_read(_late(architecture, "eager"), ids, mask)[0][real], wanted, **CLOSE)


@each_decoder
def test_chunks_and_single_tokens_with_a_cache_give_the_same(architecture: str) -> None:
    ids, mask = _padded("left")
    real, late, cache_, parts = mask.bool(), _late(architecture), None, []
    for start, end in ((0, 6), (6, 15), (15, 16), (16, 17), (17, LENGTH)):
        out = _read(late, ids[:, start:end], mask[:, :end], past_key_values=cache_, use_cache=True)
        cache_ = out.past_key_values
        parts.append(out.logits)
    wanted = _read(_built(architecture), ids, mask).logits
    torch.testing.assert_close(torch.cat(parts, dim=1)[real], wanted[real], **CLOSE)


def _generate(model: Any, ids: Tensor, mask: Tensor, **options: Any) -> tuple[Tensor, Tensor]:
    """The tokens made and, of each step, the scores."""
    options = {"max_new_tokens": 8, "do_sample": False, "pad_token_id": PAD, **options}
    made = model.generate(ids, attention_mask=mask, output_scores=True, return_dict_in_generate=True, **options)
    return made.sequences, torch.stack(made.scores)


@each_decoder
def test_generate_makes_the_same_tokens(architecture: str) -> None:
    ids, mask = _padded("left")
    (wanted, expected), (made, scores) = (_generate(m, ids, mask) for m in (_built(architecture), _late(architecture)))
    assert torch.equal(made, wanted)
    torch.testing.assert_close(scores, expected, **CLOSE)


@each_decoder
def test_beams_are_the_same(architecture: str) -> None:
    ids, mask = _padded("left")
    models, options = (_built(architecture), _late(architecture)), {"num_beams": 3, "max_new_tokens": 5}
    wanted, made = (_generate(model, ids, mask, **options)[0] for model in models)
    assert torch.equal(made, wanted)


@each_decoder
def test_a_left_padded_row_makes_what_it_makes_alone(architecture: str) -> None:
    (ids, mask), late = _padded("left"), _late(architecture)
    together = _generate(late, ids, mask, max_new_tokens=4)[0]
    for row, gone in enumerate((0, 8, 1)):
        alone = _generate(late, ids[row : row + 1, gone:], mask[row : row + 1, gone:], max_new_tokens=4)[0]
        assert torch.equal(together[row, gone:], alone[0])


def _attentions(model: Any) -> list[Any]:
    return [module.__dict__[LAYER] for module in model.modules() if LAYER in module.__dict__]


@each_model
def test_layers_without_positions_are_told_from_those_that_turn(architecture: str) -> None:
    model = _late(architecture)
    layers = _attentions(model)
    assert len(layers) == model.config.num_hidden_layers
    assert [index for index, layer in enumerate(layers) if layer.rotary is None] == STILL.get(architecture, [])
    assert any(layer.special for layer in layers) == (architecture in SPECIAL)


@each_model
def test_another_map_and_its_factor_turn_in_place_of_the_trained_ones(architecture: str) -> None:
    layer = next(layer for layer in _attentions(_late(architecture)) if layer.rotary is not None)
    pairs = next(len(buffer) for name, buffer in layer.rotary.named_buffers() if name.endswith("inv_freq"))
    position, new = torch.tensor([0.0, 3.0, 3.5, 70.0]), torch.linspace(1, 0.01, pairs, dtype=torch.float64)
    angles = position[:, None] * new
    trained = layer.turn(torch.zeros(1, 1, 4, 8), position, None)
    found = layer.turn(torch.zeros(1, 1, 4, 8), position, Frequencies(new, 1.3))
    layouts = (angles, angles.repeat(1, 2), angles.repeat_interleave(2, dim=1))
    for states, rule in zip(found, (torch.cos, torch.sin), strict=True):
        wanted = [1.3 * rule(each).float() for each in layouts if each.shape == states[0].shape]
        assert any(torch.allclose(states[0], each, atol=1e-4) for each in wanted)
    again = layer.turn(torch.zeros(1, 1, 4, 8), position, None)
    assert all(torch.equal(one, other) for one, other in zip(trained, again, strict=True))


def _gradients(model: Any, checkpointing: bool) -> dict[str, Tensor]:
    model = copy.deepcopy(model).train()
    if checkpointing:
        model.activation_checkpointing_enable()
    ids, mask = _padded("right")
    out = model(input_ids=ids, attention_mask=mask, use_cache=False)[0][mask.bool()]
    (out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum().backward()
    return {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}


@pytest.mark.parametrize("architecture", ["llama", "nemotron", "stablelm", "phi3", "gemma3_text"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_are_those_of_the_untouched_model(architecture: str, checkpointing: bool) -> None:
    wanted, found = _gradients(_built(architecture), False), _gradients(_late(architecture), checkpointing)
    assert wanted.keys() == found.keys()
    for name, gradient in wanted.items():
        close = 2e-5 * max(float(gradient.abs().max()), 1.0)
        torch.testing.assert_close(found[name], gradient, rtol=1e-5, atol=close, msg=name)


@pytest.mark.parametrize("architecture", ["nemotron", "stablelm"])
def test_a_layer_that_hands_no_keywords_on_is_relayed_for_its_own_forward_alone(architecture: str) -> None:
    late, ids = _late(architecture), _draw(2, LENGTH)
    wanted = _read(_built(architecture), ids)[0]
    twin = pickle.loads(pickle.dumps(late))
    for model in (late, copy.deepcopy(late), twin):
        torch.testing.assert_close(_read(model, ids)[0], wanted, **CLOSE)
    layer = late.base_model.layers[0]
    with pytest.raises(SeamError, match="was called without the extension's ranges"):
        layer.self_attn(
            hidden_states=torch.randn(1, 4, 32), attention_mask=None, position_embeddings=(torch.ones(1), torch.ones(1))
        )
    with ThreadPoolExecutor(2) as pool:
        inputs = [_draw(1, length) for length in (5, 30, 17, 40) * 4]
        threaded = list(pool.map(lambda each: _read(late, each)[0], inputs))
    for each, found in zip(inputs, threaded, strict=True):
        torch.testing.assert_close(found, _read(_built(architecture), each)[0], **CLOSE)


@pytest.mark.parametrize("architecture", SLIDE)
def test_a_sliding_layer_keeps_its_window(architecture: str) -> None:
    model, sees = _late(architecture), SLIDING + (architecture == "modernbert")  # which counts both sides
    inner = model.base_model
    inner.layers = inner.layers[1:2] if architecture == "modernbert" else inner.layers[:1]
    ids, last = _draw(1, LENGTH), LENGTH - 1
    before = _read(model, ids)[0][0]
    ids[0, last - sees] += 1
    moved = (before - _read(model, ids)[0][0]).abs().amax(-1) > 0
    assert moved[last - sees : last].all()
    assert not moved[last]


def _state(model: Any) -> tuple[Any, ...]:
    modules = list(model.modules())
    hooks = [(m._forward_hooks, m._forward_pre_hooks) for m in modules if m._forward_hooks or m._forward_pre_hooks]
    marks = [sorted(name for name in vars(m) if "longspan" in name or name == "forward") for m in modules]
    return hooks, marks, model.config.to_json_string(use_diff=False), model.config._attn_implementation


@pytest.mark.parametrize("architecture", REFUSED)
def test_what_cannot_be_rotated_late_is_refused_and_stays_as_it_was(architecture: str) -> None:
    model, ids = copy.deepcopy(_built(architecture)), _draw(2, 9)
    before, state = _read(model, ids)[0], _state(model)
    with pytest.raises(SeamError) as error:
        written(
            rotation.apply, model, lambda *_: [], window=4, causal=architecture != "mpnet", layer_type="", backend=None
        )
    assert "use a static frequency method" in error.value.hint
    assert torch.equal(_read(model, ids)[0], before)
    assert _state(model) == state


@pytest.mark.parametrize("architecture", SPECIAL)
def test_a_backend_that_cannot_compute_a_model_is_refused_and_the_model_stays_as_it_was(architecture: str) -> None:
    model, ids = copy.deepcopy(_built(architecture)), _draw(2, 9)
    before, state = _read(model, ids)[0], _state(model)
    with pytest.raises(SeamError, match="bound on the logits and no attention sinks") as error:
        written(rotation.apply, model, lambda *_: [], window=4, causal=True, layer_type="", backend="sdpa")
    assert 'attention="eager"' in error.value.hint
    assert torch.equal(_read(model, ids)[0], before)
    assert _state(model) == state


@each_model
def test_the_undo_leaves_nothing_behind(architecture: str) -> None:
    model, ids = copy.deepcopy(_built(architecture)), _draw(2, 9)
    before, state = _read(model, ids)[0], _state(model)
    undo = written(rotation.apply, model, lambda *_: [], window=4, causal=True, layer_type="", backend=None)
    assert _state(model) != state
    undo()
    assert torch.equal(_read(model, ids)[0], before)
    assert _state(model) == state
