"""Seams: what they refuse leaves a model untouched, and what callers give themselves is respected."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from longspan import PlanError, SeamError, extend, extended, inspect, plan, restore
from longspan.extension import plan_of
from longspan.seams import anatomy
from tests.laws import cases
from tests.laws.cases import LONG, WINDOW, fresh
from tests.models import states, tokens


def _unchanged(model, before: Tensor, config: str) -> bool:
    same = torch.equal(states(model, tokens(1, WINDOW)), before)
    return same and model.config.to_json_string(use_diff=False) == config and plan_of(model) is None


@pytest.mark.parametrize("scale", cases.specs("scales", "learned", "encoder"))
@pytest.mark.parametrize("table", ["tile", "interpolate"])
def test_mpnet_cannot_take_a_scale_and_stays_as_it_was(table: str, scale: str) -> None:
    model = fresh("mpnet")
    before, config = states(model, tokens(1, WINDOW)), model.config.to_json_string(use_diff=False)
    with pytest.raises(SeamError, match="A MPNetModel does not dispatch attention") as error:
        extend(model, LONG, f"{table} + {scale}")
    assert error.value.hint == "leave the scale out"
    assert _unchanged(model, before, config)
    assert bool(states(extend(model, LONG, table), tokens(1, LONG)).isfinite().all())


class _Deaf(LlamaRotaryEmbedding):
    """A rotary module that does not listen to the configuration."""

    def __init__(self, config) -> None:
        super().__init__(config)
        self.inv_freq.copy_(10_000.0 ** -(torch.arange(4) / 4))


@pytest.mark.parametrize("spec", ["yarn", "longrope(first=4)", "giraffe_power + log_n"])
def test_a_rotation_that_ignores_the_configuration_is_refused_and_stays_as_it_was(spec: str) -> None:
    model = fresh("llama")
    model.rotary_emb = _Deaf(model.config)
    before, config = states(model, tokens(1, WINDOW)), model.config.to_json_string(use_diff=False)
    with pytest.raises(SeamError, match="did not take the new rotation map"):
        extend(model, LONG, spec)
    assert _unchanged(model, before, config)


@pytest.mark.parametrize("spec", ["interpolate", "tile + log_n"])
def test_a_forward_that_another_library_wrapped_is_refused_and_the_model_stays_as_it_was(spec: str) -> None:
    model = fresh("bert")
    inner = model.forward
    model.forward = lambda *args, **kwargs: inner(*args, **kwargs)
    before, config = states(model, tokens(1, WINDOW)), model.config.to_json_string(use_diff=False)
    with pytest.raises(SeamError, match="was replaced"):
        extend(model, LONG, spec)
    assert _unchanged(model, before, config)


@pytest.mark.parametrize(
    ("architecture", "spec"), [("bert", "interpolate"), ("bert", "tile + log_n"), ("llama", "log_n")]
)
def test_a_mask_that_does_not_tell_lengths_is_refused(architecture: str, spec: str) -> None:
    model = extend(fresh(architecture), LONG, spec)
    with pytest.raises(SeamError, match="does not tell how long each input is"):
        states(model, tokens(1, 8), torch.ones(1, 1, 8, 8, dtype=torch.bool))


@pytest.mark.parametrize("spec", ["interpolate", "grouped", "interpolate + log_n"])
@pytest.mark.parametrize("architecture", ["bert", "roberta", "electra"])
def test_position_ids_of_the_caller_are_kept(architecture: str, spec: str) -> None:
    model, ids = extend(fresh(architecture), LONG, spec), tokens(1, 8)
    positions = torch.arange(8).flip(0).unsqueeze(0) + inspect(fresh(architecture)).pad_offset
    with torch.no_grad():
        given = model(input_ids=ids, attention_mask=torch.ones_like(ids), position_ids=positions).last_hidden_state
    assert not torch.equal(given, states(model, ids))


@pytest.mark.parametrize(
    ("architecture", "spec"),
    [
        ("bert", "interpolate + log_n"),
        ("roberta", "grouped"),
        ("llama", "yarn + log_n"),
        ("llama", "longrope(first=4)"),
    ],
)
@pytest.mark.parametrize("length", [8, LONG])
def test_a_model_may_be_called_in_any_way(architecture: str, spec: str, length: int) -> None:
    model, ids = extend(fresh(architecture), LONG, spec), tokens(2, length)
    wanted = states(model, ids)
    with torch.no_grad():
        positional = model(ids, torch.ones_like(ids)).last_hidden_state
        unmasked = model(ids).last_hidden_state
        forward = model.forward(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
        as_tuple = model(ids, return_dict=False)[0]
        embedded = model(inputs_embeds=model.get_input_embeddings()(ids)).last_hidden_state
    for other in (positional, unmasked, forward, as_tuple, embedded):
        torch.testing.assert_close(other, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("architecture", "spec"), [("bert", "interpolate + log_n"), ("llama", "yarn + log_n")])
def test_an_extended_forward_says_its_arguments(architecture: str, spec: str) -> None:
    import inspect as python

    plain = python.signature(fresh(architecture).forward)
    assert python.signature(extend(fresh(architecture), LONG, spec).forward) == plain


@pytest.mark.parametrize("architecture", ["bert", "electra", "distilbert", "roberta", "mpnet", "gpt2", "opt"])
def test_the_table_is_as_long_as_the_target_and_its_offset(architecture: str) -> None:
    model = fresh(architecture)
    old = anatomy.position_table(model).module
    offset = inspect(model).pad_offset
    extend(model, LONG, "tile")
    new = anatomy.position_table(model).module
    assert type(new) is type(old)
    assert new.num_embeddings == len(new.weight) == LONG + offset
    assert torch.equal(new.weight[:offset], old.weight[:offset])
    assert torch.equal(new.weight[offset : offset + WINDOW], old.weight[offset:])
    assert new.weight.requires_grad


@pytest.mark.parametrize("architecture", [*cases.models.LEARNED, *cases.models.ROPE])
def test_the_configuration_says_the_new_length(architecture: str) -> None:
    model = extend(fresh(architecture), LONG)
    geometry = inspect(model)
    assert geometry.window == LONG


def test_one_more_token_than_the_target_is_too_many_for_a_table() -> None:
    model = extend(fresh("bert"), LONG, "tile")
    with pytest.raises((IndexError, RuntimeError)):
        states(model, tokens(1, LONG + 1))


@pytest.mark.parametrize(("architecture", "other"), [("bert", "roberta"), ("llama", "bert"), ("llama", "gpt_neox")])
def test_a_plan_of_another_model_is_refused(architecture: str, other: str) -> None:
    model = fresh(architecture)
    with pytest.raises((PlanError, SeamError)):
        extend(model, method=plan(inspect(fresh(other)), None, LONG))


def test_the_model_inside_an_extended_one_is_extended_too() -> None:
    outer = AutoModelForCausalLM.from_config(fresh("llama").config)
    made = plan_of(extend(outer, LONG, "yarn"))
    assert plan_of(outer.model) == made
    with pytest.raises(PlanError, match="already extended"):
        extend(outer.model, 2 * LONG, "ntk")


def test_a_target_must_be_given() -> None:
    with pytest.raises(PlanError, match="No target length"):
        extend(fresh("bert"), method="tile")


def test_a_pipeline_reads_the_target_until_it_is_restored(minilm) -> None:
    with extended(minilm, 4096, "tile"):
        assert minilm.max_seq_length == 4096
        assert minilm.tokenizer.model_max_length >= 4096
        assert minilm[0].auto_model.config.max_position_embeddings == 4096
    assert minilm.max_seq_length == 256
    assert minilm[0].auto_model.config.max_position_embeddings == 512


@pytest.mark.parametrize("architecture", ["nemotron", "stablelm"])
def test_a_factor_that_would_not_reach_attention_is_refused(architecture: str) -> None:
    config = AutoConfig.for_model(architecture, **{**cases.models.ALL["llama"], "num_key_value_heads": 4})
    model = AutoModelForCausalLM.from_config(config).eval()
    before, attention = model.config.to_json_string(use_diff=False), model.config._attn_implementation
    with pytest.raises(SeamError, match="hand no keywords on"):
        extend(model, LONG, "pi + log_n")
    assert model.config.to_json_string(use_diff=False) == before
    assert model.config._attn_implementation == attention
    assert plan_of(model) is None


@pytest.mark.parametrize("spec", ["grouped", "interpolate"])
@pytest.mark.parametrize("architecture", ["bart", "mbart", "plbart", "mvp", "blenderbot"])
def test_an_encoder_that_takes_no_position_ids_is_refused_and_takes_tile(architecture: str, spec: str) -> None:
    sizes = {"vocab_size": 120, "d_model": 32, "max_position_embeddings": WINDOW}
    counts = {"layers": 2, "attention_heads": 4, "ffn_dim": 48}
    sides = {f"{side}_{name}": count for side in ("encoder", "decoder") for name, count in counts.items()}
    config = AutoConfig.for_model(architecture, **sizes, **sides)
    model = AutoModel.from_config(config).eval().get_encoder()
    before = states(model, tokens(1, WINDOW))
    with pytest.raises(SeamError, match="takes no position_ids") as error:
        extend(model, LONG, spec)
    assert "tile" in error.value.hint
    assert torch.equal(states(model, tokens(1, WINDOW)), before)
    assert torch.equal(states(extend(model, LONG, "tile"), tokens(1, WINDOW)), before)


@pytest.mark.parametrize(
    ("architecture", "spec"),
    [
        ("llama", "self_extend"),
        ("modernbert", "dca"),
        ("llama", "dynamic_ntk"),
        ("bert", "tile + log_n"),
        ("gpt2", "tile + temperature"),
        ("llama", "self_extend + log_n"),
    ],
)
def test_another_attention_after_extending_is_refused_until_the_model_is_restored(architecture: str, spec: str) -> None:
    model = fresh(architecture)
    before = states(model, tokens(1, WINDOW))
    extend(model, LONG, spec)
    model.set_attn_implementation("sdpa")
    for length in (8, LONG):
        with pytest.raises(SeamError, match="told to attend by 'sdpa'") as error:
            states(model, tokens(1, length))
    assert "restore(model) first" in error.value.hint
    restore(model)
    assert torch.equal(states(model, tokens(1, WINDOW)), before)
    assert bool(states(extend(model, LONG, spec), tokens(1, LONG)).isfinite().all())
