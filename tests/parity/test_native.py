"""The numbers of transformers' own rotary modules, built from a plan's rope parameters."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModel
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from longspan import PlanError, extend, inspect, plan
from longspan.planning import Plan
from longspan.seams import anatomy
from longspan.spec import parse
from tests.laws import cases
from tests.models import states, tokens

WINDOW, LONG = 2048, 9000
SHAPE: dict[str, Any] = {
    "vocab_size": 40,
    "hidden_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": WINDOW,
    "pad_token_id": 1,
    "bos_token_id": 2,
    "eos_token_id": 3,
    "cls_token_id": 2,
    "sep_token_id": 3,
}
PER_LAYER = {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 512}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "llama": {"num_key_value_heads": 1},
    "llama-3": {"num_key_value_heads": 1, "rope_theta": 500_000.0},
    "mistral": {"num_key_value_heads": 1, "sliding_window": None},
    "qwen3": {"num_key_value_heads": 1, "head_dim": 64},
    "phi3": {"num_key_value_heads": 1},
    "gpt_neox": {"rotary_pct": 0.25},
    "eurobert": {"num_key_value_heads": 1},
    "nomic_bert": {},
    "modernbert": {"global_attn_every_n_layers": 2, "local_attention": 512},
    "gemma3_text": {"num_key_value_heads": 1, "head_dim": 128, **PER_LAYER},
}
LAYERED = ["modernbert", "gemma3_text"]
WHOLE_HEAD = [name for name in ARCHITECTURES if name not in (*LAYERED, "gpt_neox")]
SCALED: dict[str, dict[str, Any]] = {
    "linear": {"rope_type": "linear", "factor": 4.0},
    "llama3": {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": WINDOW // 8,
    },
    "yarn": {"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": WINDOW // 8},
    "proportional": {"rope_type": "proportional", "partial_rotary_factor": 0.5},
}
SPECS = [
    # One map for every length: what depends on the length is no parameter of transformers.
    *(
        name
        for name in cases.specs("frequencies", "rope", "encoder")
        if not getattr(parse(name)[0], "by_length", False)
    ),
    "yarn(beta_fast=16, beta_slow=2, truncate=false)",
    "ntk_by_parts(ramp='dimensions', truncate=false)",
    "llama3(low_freq_factor=2, high_freq_factor=8)",
    "longrope(magnitude='yarn')",
]
WITH_SCALES = ["yarn + su", "pi + temperature(tau=0.7)", "giraffe_power + su"]
SCALES = ["su", "temperature"]
NATIVE_TYPES = {
    "pi": "linear",
    "ntk": "default",
    "abf(base=1e7)": "default",
    "yarn": "yarn",
    "yarn(beta_fast=16, beta_slow=2, truncate=false)": "yarn",
    "ntk_by_parts(ramp='dimensions')": "yarn",
    "llama3": "llama3",
    "longrope": "longrope",
    "ntk_by_parts": "longrope",
    "giraffe_power": "longrope",
    "giraffe_truncated": "longrope",
    "su": "longrope",
    "yarn + su": "longrope",
}


def _skeleton(architecture: str, **changes: Any) -> Any:
    """A model without weights."""
    name = architecture.removesuffix("-3")
    config = AutoConfig.for_model(name, **{**SHAPE, **ARCHITECTURES[architecture], **changes})
    with torch.device("meta"):
        return AutoModel.from_config(config)


def _scaled(kind: str) -> Any:
    return _skeleton("llama", rope_parameters={"rope_theta": 10_000.0, **SCALED[kind]})


def _native(model: Any, made: Plan) -> tuple[torch.Tensor, float]:
    """What the model's own rotary class makes of the plan's parameters."""
    config, geometry = copy.deepcopy(model.config), made.geometry
    config.rope_parameters = (
        {**config.rope_parameters, geometry.layer_type: made.rope_parameters}
        if geometry.layer_type
        else made.rope_parameters
    )
    config.max_position_embeddings = made.length
    if hasattr(config, "original_max_position_embeddings"):  # Phi-3's; the seam sets it too
        config.original_max_position_embeddings = geometry.window
    module = type(anatomy.rotary_modules(model)[0].module)(config=config)
    prefix = f"{geometry.layer_type}_" if geometry.layer_type else ""
    return getattr(module, f"{prefix}inv_freq"), getattr(module, f"{prefix}attention_scaling")


def _assert_same(native: tuple[torch.Tensor, float], made: Plan) -> None:
    # A stopped pair turns by less than 1e-12 radians a token in the container.
    torch.testing.assert_close(native[0].double(), made.frequencies.inv_freq, rtol=1e-6, atol=1.1e-12)
    assert native[1] == pytest.approx(made.frequencies.attention_factor, rel=1e-6)


@cases.every([(name, spec) for name in ARCHITECTURES for spec in SPECS + WITH_SCALES])
def test_the_models_own_rotary_class_builds_the_planned_map(architecture: str, spec: str) -> None:
    model = _skeleton(architecture)
    made = plan(inspect(model), spec, LONG)
    _assert_same(_native(model, made), made)


@cases.every([(name, spec) for name in WHOLE_HEAD for spec in SCALES])
def test_a_constant_scale_alone_is_a_factor_on_cos_and_sin(architecture: str, spec: str) -> None:
    model = _skeleton(architecture)
    made = plan(inspect(model), spec, LONG)
    _assert_same(_native(model, made), made)
    assert made.frequencies.inv_freq.tolist() == list(made.geometry.inv_freq)
    assert made.scale_home == "rotation"
    assert made.native


@cases.every([(name, spec) for name in ARCHITECTURES if name not in WHOLE_HEAD for spec in SCALES])
def test_a_constant_scale_waits_for_attention_where_cos_and_sin_are_not_all_of_it(architecture: str, spec: str) -> None:
    made = plan(inspect(_skeleton(architecture)), spec, LONG)
    assert made.rope_parameters is None
    assert made.scale_home == "attention"
    assert not made.native


# Half of this model's pairs stand still already, and the others turn often enough: nothing is left to truncate.
UNCHANGED = ("proportional", "giraffe_truncated")


def test_a_map_that_would_change_nothing_is_refused() -> None:
    with pytest.raises(PlanError, match="leaves the rotation"):
        plan(inspect(_scaled(UNCHANGED[0])), UNCHANGED[1], LONG)


@pytest.mark.parametrize(("kind", "spec"), [(k, s) for k in SCALED for s in SPECS if (k, s) != UNCHANGED])
def test_a_model_that_is_scaled_already_gets_the_planned_map(kind: str, spec: str) -> None:
    model = _scaled(kind)
    made = plan(inspect(model), spec, LONG)
    assert made.rope_parameters["rope_type"] == "longrope"
    _assert_same(_native(model, made), made)


@pytest.mark.parametrize("kind", SCALED)
def test_a_scaled_model_is_read_with_its_scaled_map(kind: str) -> None:
    geometry = inspect(_scaled(kind))
    config = AutoConfig.for_model("llama", **{**SHAPE, **ARCHITECTURES["llama"]})
    config.rope_parameters = {"rope_theta": 10_000.0, **SCALED[kind]}
    trained, factor = ROPE_INIT_FUNCTIONS[kind](config)
    assert geometry.window == WINDOW
    assert geometry.inv_freq == pytest.approx(trained.tolist(), rel=1e-6)
    assert geometry.attention_factor == pytest.approx(factor, rel=1e-6)


@pytest.mark.parametrize(("spec", "rope_type"), NATIVE_TYPES.items())
def test_a_map_is_written_in_transformers_own_type_where_it_has_one(spec: str, rope_type: str) -> None:
    assert plan(inspect(_skeleton("llama")), spec, LONG).rope_parameters["rope_type"] == rope_type


_BY_HAND: dict[str, dict[str, Any]] = {
    "pi": {"rope_type": "linear", "factor": LONG / WINDOW},
    "yarn": {"rope_type": "yarn", "factor": LONG / WINDOW, "original_max_position_embeddings": WINDOW},
    "ntk_by_parts(ramp='dimensions')": {
        "rope_type": "yarn",
        "factor": LONG / WINDOW,
        "attention_factor": 1.0,
        "original_max_position_embeddings": WINDOW,
    },
    "llama3": {
        "rope_type": "llama3",
        "factor": LONG / WINDOW,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": WINDOW,
    },
}


@pytest.mark.parametrize("architecture", ["llama", "llama-3", "qwen3", "eurobert"])
@pytest.mark.parametrize("spec", _BY_HAND)
def test_a_map_equals_transformers_function_of_the_parameters_people_write(spec: str, architecture: str) -> None:
    model = _skeleton(architecture)
    made = plan(inspect(model), spec, LONG)
    config = copy.deepcopy(model.config)
    config.rope_parameters = {"rope_theta": made.geometry.base, **_BY_HAND[spec]}
    config.max_position_embeddings = LONG
    _assert_same(ROPE_INIT_FUNCTIONS[_BY_HAND[spec]["rope_type"]](config), made)


def test_longrope_equals_transformers_function_of_searched_factors() -> None:
    model = _skeleton("phi3")
    factors = [1.0 + 0.05 * pair for pair in range(64)]
    made = plan(inspect(model), f"longrope(factors={tuple(factors)})", LONG)
    config = copy.deepcopy(model.config)
    config.original_max_position_embeddings, config.max_position_embeddings = WINDOW, LONG
    config.rope_parameters = {
        "rope_type": "longrope",
        "rope_theta": made.geometry.base,
        "short_factor": factors,
        "long_factor": factors,
        "original_max_position_embeddings": WINDOW,
    }
    _assert_same(ROPE_INIT_FUNCTIONS["longrope"](config), made)


@pytest.mark.parametrize("spec", ["yarn", "giraffe_power", "longrope(first=4)", "su"])
@pytest.mark.parametrize("architecture", LAYERED)
def test_only_the_layers_that_look_far_are_changed(architecture: str, spec: str) -> None:
    model = cases.fresh(architecture)
    before = anatomy.rotary_modules(model)[0].module.sliding_attention_inv_freq.clone()
    extend(model, cases.LONG, spec)
    states(model, tokens(1, cases.LONG))
    assert torch.equal(anatomy.rotary_modules(model)[0].module.sliding_attention_inv_freq, before)


@pytest.mark.parametrize("architecture", ["llama", "phi3", "eurobert", "gemma3_text"])
def test_the_first_positions_keep_the_trained_rotation(architecture: str) -> None:
    first = 4
    plain, kept, moved = (cases.fresh(architecture) for _ in range(3))
    extend(kept, cases.LONG, f"longrope(first={first})")
    extend(moved, cases.LONG, "longrope")
    hidden, position = torch.zeros(1, 1), torch.arange(cases.LONG).unsqueeze(0)
    layer = inspect(plain).layer_type
    given = {"layer_type": layer} if layer else {}
    turned = [anatomy.rotary_modules(m)[0].module(hidden, position, **given) for m in (plain, kept, moved)]
    for trained, ours, scaled in zip(*turned, strict=True):
        assert torch.equal(ours[:, :first], trained[:, :first])
        assert torch.equal(ours[:, first:], scaled[:, first:])
