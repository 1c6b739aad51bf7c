"""Logit factors: their formulas, and that a model's logits are multiplied by exactly them."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from transformers import AutoConfig, AutoModel

from longspan import extend
from longspan.seams import scale as seam
from longspan.spec import parse
from tests.laws import cases
from tests.laws.cases import LONG, WINDOW, fresh
from tests.models import states, tokens
from tests.written import written

CLOSE = {"rtol": 1e-4, "atol": 1e-4}


@pytest.mark.parametrize("length", [1, 2, 511, 512, 513, 4096, 100_000])
def test_log_n_is_its_formula(length: int) -> None:
    wanted = max(1.0, math.log(length) / math.log(512))
    by_length, by_position = parse("log_n(by='length') + log_n(by='position')")
    last, whole = torch.tensor([[length - 1]]), torch.tensor([[length]])
    for geometry in (cases.learned(512), cases.rotary(window=512, role="encoder")):
        assert float(by_length.scale(last, whole, geometry, 4096)) == pytest.approx(wanted, rel=1e-12)
        assert float(by_position.scale(last, whole, geometry, 4096)) == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("length", [1, 127, 128, 129, 512, 4096])
def test_log_n_with_a_base_of_its_own_keeps_logits_up_to_there(length: int) -> None:
    one, whole = torch.ones(1, 1), torch.tensor([[length]])
    factor = parse("log_n(base=128)")[0].scale(one, whole, cases.learned(512), 4096)
    assert float(factor) == pytest.approx(max(1.0, math.log(length) / math.log(128)), rel=1e-12)


@pytest.mark.parametrize("length", [2, 100, 512, 4096])
def test_log_n_without_a_clip_flattens_short_inputs_too(length: int) -> None:
    one, whole = torch.ones(1, 1), torch.tensor([[length]])
    factor = parse("log_n(by='length', clip=false)")[0].scale(one, whole, cases.learned(512), 4096)
    assert float(factor) == pytest.approx(math.log(length) / math.log(512), rel=1e-12)


@pytest.mark.parametrize(("window", "target"), [(512, 512), (512, 4096), (4096, 131_072)])
def test_su_is_the_square_of_longropes_magnitude(window: int, target: int) -> None:
    geometry = cases.rotary(window=window)
    magnitude = parse("longrope")[0].frequencies(geometry, target / window, target).attention_factor
    one = torch.ones(1, 1)
    assert parse("su")[0].scale(one, one, geometry, target) == pytest.approx(magnitude**2, rel=1e-12)
    assert parse("su")[0].scale(one, one, geometry, target) == pytest.approx(
        1 + math.log(target / window) / math.log(window), rel=1e-12
    )


@pytest.mark.parametrize("tau", [0.5, 0.9, 1.0, 2.0])
def test_temperature_divides(tau: float) -> None:
    one = torch.ones(1, 1)
    assert parse(f"temperature(tau={tau})")[0].scale(one, one, cases.learned(), 4096) == 1 / tau


QUERIES = {  # what makes the query of every layer, where nothing but a rotation follows it
    "bert": lambda model: [layer.attention.self.query for layer in model.encoder.layer],
    "roberta": lambda model: [layer.attention.self.query for layer in model.encoder.layer],
    "distilbert": lambda model: [layer.attention.q_lin for layer in model.transformer.layer],
    "electra": lambda model: [layer.attention.self.query for layer in model.encoder.layer],
    "opt": lambda model: [layer.self_attn.q_proj for layer in model.decoder.layers],
    "llama": lambda model: [layer.self_attn.q_proj for layer in model.layers],
    "mistral": lambda model: [layer.self_attn.q_proj for layer in model.layers],
    "qwen2": lambda model: [layer.self_attn.q_proj for layer in model.layers],
    "eurobert": lambda model: [layer.self_attn.q_proj for layer in model.layers],
}


def _with_larger_queries(architecture: str, factor: float, spec: str):
    """The model whose weights, not whose attention, carry the factor."""
    model = fresh(architecture)
    for query in QUERIES[architecture](model):
        for weight in query.parameters():
            weight.data *= factor
    return extend(model, LONG, spec)


def _map_alone(architecture: str) -> str:
    return "tile" if (architecture, "tile") in cases.LEARNED else "pi"


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("scale", ["temperature(tau=0.5)", "su"])
@pytest.mark.parametrize("architecture", QUERIES)
def test_a_constant_factor_is_a_factor_on_every_query(architecture: str, scale: str, attention: str) -> None:
    spec = _map_alone(architecture)
    factor = 2.0 if "temperature" in scale else 1 + math.log(LONG / WINDOW) / math.log(WINDOW)
    model = fresh(architecture)
    model.set_attn_implementation(attention)
    ours = states(extend(model, LONG, f"{spec} + {scale}"), tokens(2, LONG))
    theirs = states(_with_larger_queries(architecture, factor, spec), tokens(2, LONG))
    torch.testing.assert_close(ours, theirs, **CLOSE)


@pytest.mark.parametrize("architecture", ["bert", "roberta", "distilbert", "electra", "eurobert"])
@pytest.mark.parametrize("length", [WINDOW // 2, WINDOW + 1, LONG])
def test_log_n_of_an_encoder_is_a_factor_of_its_length_on_every_query(architecture: str, length: int) -> None:
    spec = _map_alone(architecture)
    factor = max(1.0, math.log(length) / math.log(WINDOW))
    ours = states(extend(fresh(architecture), LONG, f"{spec} + log_n"), tokens(2, length))
    theirs = states(_with_larger_queries(architecture, factor, spec), tokens(2, length))
    torch.testing.assert_close(ours, theirs, **CLOSE)


def test_yarns_temperature_is_the_square_of_its_factor_on_every_query() -> None:
    ours = states(extend(fresh("llama"), LONG, "yarn"), tokens(2, LONG))
    factor = (0.1 * math.log(LONG / WINDOW) + 1) ** 2
    theirs = states(_with_larger_queries("llama", factor, "ntk_by_parts(ramp='dimensions')"), tokens(2, LONG))
    torch.testing.assert_close(ours, theirs, **CLOSE)


MAPS = ["pi", "yarn", "longrope", "longrope(first=4)", "giraffe_truncated"]
ROTARY = ["llama", "qwen3", "olmo2", "modernbert", "gemma3_text", "gpt_neox", "jina_embeddings_v3"]
LEARNED = ["bert", "electra", "distilbert", "roberta", "gpt2", "opt"]


@cases.every([(name, spec) for name in ROTARY for spec in MAPS] + [(name, "tile") for name in LEARNED])
def test_a_scale_multiplies_every_logit_wherever_it_is_written(architecture: str, spec: str) -> None:
    ours = states(extend(fresh(architecture), LONG, f"{spec} + temperature(tau=0.5)"), tokens(2, LONG))
    model = extend(fresh(architecture), LONG, spec)
    written(seam.apply, model, lambda position, length: 2.0)
    torch.testing.assert_close(ours, states(model, tokens(2, LONG)), **CLOSE)


NORMALISED = {  # queries that are normalised or cut off behind their projection, under other names than q_norm
    "phi": {"qk_layernorm": True, "partial_rotary_factor": 0.5},
    "olmo": {"clip_qkv": 0.1},
}
SHAPE = {"vocab_size": 120, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
SHAPE |= {"intermediate_size": 48, "max_position_embeddings": WINDOW, "pad_token_id": 1}


@pytest.mark.parametrize("spec", ["longrope(first=4)", "pi"])
@pytest.mark.parametrize(("architecture", "changes"), NORMALISED.items())
def test_a_scale_passes_what_changes_queries_behind_their_projection(
    architecture: str, changes: dict, spec: str
) -> None:
    torch.manual_seed(0)
    weights = AutoModel.from_config(AutoConfig.for_model(architecture, **{**SHAPE, **changes})).eval()
    ours, model = extend(copy.deepcopy(weights), LONG, f"{spec} + temperature(tau=0.5)"), extend(weights, LONG, spec)
    written(seam.apply, model, lambda position, length: 2.0)
    torch.testing.assert_close(states(ours, tokens(2, LONG)), states(model, tokens(2, LONG)), **CLOSE)
