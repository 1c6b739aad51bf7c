"""Late rotation: what it refuses, and what callers may do with a model that is extended by it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

from longspan import LongspanError, PlanError, SeamError, extend
from longspan.distances import plain
from longspan.extension import plan_of
from longspan.seams.layers import LAYER, Tables
from tests import models
from tests.laws.cases import LONG, WINDOW, fresh
from tests.models import states, tokens

PAD = 1
CLOSE = {"rtol": 1e-5, "atol": 1e-5}
_GEMMA2 = {**models.ALL["gemma"], "sliding_window": 16, "query_pre_attn_scalar": 8}
BOTH = pytest.mark.parametrize(("architecture", "spec"), [("llama", "self_extend"), ("modernbert", "dca")])


def _late(architecture: str = "llama", spec: str = "self_extend", attention: str | None = None, **changes: Any) -> Any:
    return extend(fresh(architecture, **changes), LONG, spec, attention=attention)


def _config(architecture: str, facts: dict[str, Any]) -> Any:
    config = AutoConfig.for_model(architecture, **facts)
    config.bos_token_id = config.eos_token_id = None
    return config


def _traces(model: Any) -> tuple[Any, ...]:
    hooks = [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()]
    return hooks, model.config.to_json_string(use_diff=False), model.config._attn_implementation, plan_of(model)


def _untouched(model: Any, **given: Any) -> LongspanError:
    """The error of an extension that is refused, after which the model is as it was."""
    before = states(model, tokens(1, WINDOW))
    traces = _traces(model)
    with pytest.raises(LongspanError) as error:
        extend(model, LONG, **{"method": "self_extend", **given})
    assert torch.equal(states(model, tokens(1, WINDOW)), before)
    assert _traces(model) == traces
    return error.value


def test_there_is_no_such_backend() -> None:
    error = _untouched(fresh("llama"), attention="nonsense")
    assert isinstance(error, SeamError)
    assert "'nonsense'" in str(error)
    assert {"eager", "sdpa"} <= set(error.hint.replace(",", "").split())


@pytest.mark.parametrize(("architecture", "spec"), [("llama", "yarn"), ("llama", "log_n"), ("bert", "tile")])
def test_a_choice_of_attention_that_has_no_effect_is_refused(architecture: str, spec: str) -> None:
    error = _untouched(fresh(architecture), method=spec, attention="eager")
    assert isinstance(error, PlanError)
    assert "would have no effect" in str(error)


def test_fused_kernels_are_refused_where_logits_are_bounded_and_the_rule_takes_the_dense_form() -> None:
    model = AutoModel.from_config(_config("gemma2", _GEMMA2)).eval()
    error = _untouched(model, attention="sdpa")
    assert isinstance(error, SeamError)
    assert 'attention="eager"' in error.hint
    by_rule = states(extend(copy.deepcopy(model), LONG, "self_extend"), tokens(1, LONG))
    assert torch.equal(states(extend(model, LONG, "self_extend", attention="eager"), tokens(1, LONG)), by_rule)


@pytest.mark.parametrize("architecture", ["mpnet", "deberta-v2", "falcon"])
def test_a_model_that_cannot_rotate_late_is_refused_with_what_works(architecture: str) -> None:
    changes = {"falcon": {"alibi": False}, "deberta-v2": {"relative_attention": True, "position_buckets": 16}}
    facts = {**models.ALL["mpnet"], **changes.get(architecture, {})}
    model = AutoModel.from_config(AutoConfig.for_model(architecture, **facts)).eval()
    assert any(name in _untouched(model).hint for name in ("tile", "yarn"))


@BOTH
def test_a_mask_of_another_rank_is_refused(architecture: str, spec: str) -> None:
    with pytest.raises(SeamError, match="4 dimensions does not tell how long each input is"):
        states(_late(architecture, spec), tokens(1, 8), torch.ones(1, 1, 8, 8, dtype=torch.bool))


def _positioned(model: Any, ids: Tensor, positions: Tensor, mask: Tensor | None = None) -> Tensor:
    with torch.no_grad():
        return model(input_ids=ids, attention_mask=mask, position_ids=positions).last_hidden_state


@BOTH
def test_position_ids_that_count_real_tokens_are_accepted_and_others_refused(architecture: str, spec: str) -> None:
    model, ids = _late(architecture, spec), tokens(2, LONG)
    wanted = states(model, ids)
    count = torch.arange(LONG).unsqueeze(0)
    assert torch.equal(_positioned(model, ids, count), wanted)
    assert torch.equal(_positioned(model, ids, count.expand(2, -1)), wanted)
    for other in (count + 1, count.flip(1), count % WINDOW, count * 2):
        with pytest.raises(SeamError, match="do not count each row's real tokens from 0") as error:
            _positioned(model, ids, other)
        assert "leave position_ids out" in error.value.hint


@BOTH
@pytest.mark.parametrize("filler", [0, 1, 7])
def test_position_ids_of_padding_do_not_matter(architecture: str, spec: str, filler: int) -> None:
    model, ids, mask = _late(architecture, spec), tokens(2, LONG), torch.ones(2, LONG, dtype=torch.long)
    mask[1, :20] = 0
    positions = (mask.cumsum(1) - 1).masked_fill(mask == 0, filler)
    assert torch.equal(_positioned(model, ids, positions, mask)[mask.bool()], states(model, ids, mask)[mask.bool()])


@BOTH
def test_padding_inside_a_row_leaves_the_row_as_it_is(architecture: str, spec: str) -> None:
    model, row, pad = _late(architecture, spec), tokens(1, LONG - 20), torch.full((1, 4), PAD)
    ids = torch.cat([pad, row[:, :30], pad, row[:, 30:31], pad, row[:, 31:], pad], dim=1)
    alone, found = states(model, row)[0], states(model, ids, (ids != PAD).long())[0][ids[0] != PAD]
    torch.testing.assert_close(found, alone, **CLOSE)


@BOTH
@pytest.mark.parametrize("backend", ["eager", "sdpa"])
def test_a_row_of_padding_alone_disturbs_nothing(architecture: str, spec: str, backend: str) -> None:
    model, ids, mask = _late(architecture, spec, backend), tokens(3, 40), torch.ones(3, 40, dtype=torch.long)
    mask[1] = 0
    found = states(model, ids, mask)
    assert found.isfinite().all()
    torch.testing.assert_close(found[[0, 2]], states(model, ids[[0, 2]]), **CLOSE)
    assert states(model, ids, torch.zeros_like(mask)).isfinite().all()


@BOTH
def test_weights_are_refused_where_the_backend_never_holds_them(architecture: str, spec: str) -> None:
    model = _late(architecture, spec)
    with pytest.raises(SeamError, match="sdpa backend never holds the weights") as error:
        model(input_ids=tokens(1, 8), output_attentions=True)
    assert error.value.hint == 'extend with attention="eager"'


def _asking(architecture: str) -> Any:
    """A model whose configuration asks for weights."""
    model = fresh(architecture)
    model.set_attn_implementation("eager")
    model.config.output_attentions = True
    return model


def test_weights_that_the_configuration_asks_for_are_refused_when_extending() -> None:
    error = _untouched(_asking("llama"))
    assert isinstance(error, SeamError)
    assert "never holds the weights" in str(error)


@BOTH
def test_weights_of_the_dense_form_sum_to_one_and_are_zero_on_padding(architecture: str, spec: str) -> None:
    asking = extend(_asking(architecture), LONG, spec, attention="eager")
    model, ids, mask = _late(architecture, spec, "eager"), tokens(3, 40), torch.ones(3, 40, dtype=torch.long)
    mask[1, :9] = mask[2, 35:] = 0
    found = model(input_ids=ids, attention_mask=mask, output_attentions=True).attentions
    assert len(found) == model.config.num_hidden_layers
    by_config = asking(input_ids=ids, attention_mask=mask).attentions
    for weights, same in zip(found, by_config, strict=True):
        assert weights.shape == (3, model.config.num_attention_heads, 40, 40)
        assert torch.equal(weights, same)
        real = mask.bool()
        total = weights.sum(-1).transpose(1, 2)
        torch.testing.assert_close(total[real], torch.ones_like(total[real]))
        assert not total[~real].any()
        assert not weights.permute(0, 3, 1, 2)[~real].any()
        alone = model(input_ids=ids[1:2, 9:], output_attentions=True).attentions
    torch.testing.assert_close(found[0][1:2, :, 9:, 9:], alone[0], **CLOSE)


def test_weights_of_a_token_after_a_padded_cache_are_zero_on_padding() -> None:
    model, ids, mask = _late(attention="eager"), tokens(1, 40), torch.ones(1, 40, dtype=torch.long)
    mask[:, :5] = 0
    with torch.no_grad():
        wanted = model(input_ids=ids, attention_mask=mask, output_attentions=True).attentions
        past = model(input_ids=ids[:, :39], attention_mask=mask[:, :39], use_cache=True).past_key_values
        found = model(input_ids=ids[:, 39:], attention_mask=mask, past_key_values=past, output_attentions=True)
    for weights, full in zip(found.attentions, wanted, strict=True):
        torch.testing.assert_close(weights, full[:, :, 39:], **CLOSE)


def test_a_part_of_an_extended_model_is_not_called_alone() -> None:
    model, given = _late(), torch.randn(1, 4, 32)
    turn = model.rotary_emb(given, torch.arange(4).unsqueeze(0))
    states(model, tokens(1, 40))
    for part in (model.layers[0], model.layers[0].self_attn):
        with pytest.raises(SeamError, match="LlamaAttention was called without") as error:
            part(hidden_states=given, position_embeddings=turn, attention_mask=None)
        assert error.value.hint == "call the extended model, not a part of it"


def test_dropout_of_weights_trains_in_the_dense_form_alone() -> None:
    ids = tokens(2, 40)
    with pytest.raises(SeamError, match="dropout of weights") as error:
        _late(attention_dropout=0.3).train()(input_ids=ids)
    assert 'attention="eager"' in error.value.hint
    assert states(_late(attention_dropout=0.3), ids).isfinite().all()  # no dropout in evaluation
    model = _late(attention="eager", attention_dropout=0.3).train()
    once, again = (model(input_ids=ids).last_hidden_state for _ in range(2))
    assert not torch.equal(once, again)
    once.square().sum().backward()
    assert all(weight.grad.isfinite().all() for weight in model.parameters())


@pytest.mark.parametrize("frozen", ["q_proj", "k_proj", "v_proj"])
def test_weights_that_stay_frozen_do_not_change_the_gradients_of_the_rest(frozen: str) -> None:
    def gradients(attention: str) -> dict[str, Tensor]:
        model = _late(attention=attention).train().requires_grad_(False)
        for name, weight in model.named_parameters():
            weight.requires_grad_("layers.0.self_attn" in name and "_proj" in name and frozen not in name)
        out = model(input_ids=tokens(2, 60)).last_hidden_state
        (out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum().backward()
        return {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}

    wanted, found = gradients("eager"), gradients("sdpa")
    assert wanted.keys() == found.keys()
    for name, gradient in wanted.items():
        close = 1e-4 * float(gradient.abs().max())
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=close, msg=name)


def _causal(architecture: str, **changes: Any) -> Any:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(_config(architecture, {**models.ALL[architecture], **changes})).eval()
    return extend(model, LONG, "self_extend")


def _generate(model: Any, ids: Tensor, mask: Tensor, **options: Any) -> Tensor:
    return model.generate(ids, attention_mask=mask, max_new_tokens=40, do_sample=False, pad_token_id=PAD, **options)


@pytest.mark.parametrize(("architecture", "changes"), [("llama", {}), ("mistral", {"sliding_window": 48})])
def test_a_static_cache_makes_what_a_dynamic_one_makes(architecture: str, changes: dict[str, int]) -> None:
    model, ids = _causal(architecture, **changes), tokens(2, WINDOW - 4)
    mask = torch.ones_like(ids)
    made = _generate(model, ids, mask, cache_implementation="static")
    assert torch.equal(made, _generate(model, ids, mask))


def test_a_static_cache_that_hides_padding_is_refused() -> None:
    model, ids = _causal("llama"), tokens(2, WINDOW - 4)
    mask = torch.ones_like(ids)
    mask[1, :9] = 0
    with pytest.raises(SeamError) as error:
        _generate(model, ids, mask, cache_implementation="static")
    assert "with a dynamic cache" in error.value.hint


def test_a_sliding_cache_makes_what_a_full_forward_makes() -> None:
    model, ids = _causal("mistral", sliding_window=WINDOW + 16), tokens(1, WINDOW - 4)
    made = _generate(model, ids, torch.ones_like(ids))
    with torch.no_grad():
        past = model(input_ids=ids).past_key_values
        greedy = model(input_ids=made).logits.argmax(-1)
    assert "Sliding" in type(past.layers[0]).__name__
    assert torch.equal(greedy[0, WINDOW - 5 : -1], made[0, WINDOW - 4 :])


def test_rotation_tables_are_kept_apart_by_dtype() -> None:
    layer, position = _late().layers[0].self_attn.__dict__[LAYER], torch.arange(4)
    every_pair = plain(position, position, 4, causal=True)
    shared = Tables()
    for dtype in (torch.float32, torch.bfloat16, torch.float32):
        turn = shared.at(layer, torch.zeros(1, 1, 4, 8, dtype=dtype), position.double(), every_pair)
        assert {states.dtype for states in turn} == {dtype}
