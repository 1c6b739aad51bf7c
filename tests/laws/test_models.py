"""Laws of an extended model: every method on every tiny architecture it applies to."""

from __future__ import annotations

import json

import pytest
import torch

from longspan import extend, extended, inspect, plan, restore
from longspan.errors import PlanError, SeamError
from longspan.extension import plan_of
from longspan.planning import Plan
from tests.laws import cases
from tests.laws.cases import LONG, WINDOW, every, fresh, geometry
from tests.models import states, tokens

SHORT = (1, 2, WINDOW // 2, WINDOW)


def _keeps_short_inputs(pair: tuple[str, str]) -> bool:
    return plan(geometry(pair[0]), pair[1], LONG).short_inputs != "changed"


def _in_another_order(pair: tuple[str, str]) -> bool:
    """Whether sliding layers, which transformers computes under a full mask, are computed band by band."""
    return "sliding_attention" in geometry(pair[0]).layer_types and plan(geometry(pair[0]), pair[1], LONG).late


@every([pair for pair in cases.ALL if _keeps_short_inputs(pair)])
def test_inputs_within_the_window_are_bit_identical_where_the_plan_says_so(architecture: str, spec: str) -> None:
    model = fresh(architecture)
    before = [states(model, tokens(2, length)) for length in SHORT]
    extend(model, LONG, spec)
    for length, old in zip(SHORT, before, strict=True):
        new = states(model, tokens(2, length))
        if _in_another_order((architecture, spec)):
            torch.testing.assert_close(new, old, rtol=1e-5, atol=1e-5)
        else:
            assert torch.equal(new, old), length


@every(cases.ALL)
def test_restore_brings_back_outputs_keys_and_configuration(architecture: str, spec: str) -> None:
    model = fresh(architecture)
    before = states(model, tokens(2, WINDOW))
    keys, config = list(model.state_dict()), model.config.to_json_string(use_diff=False)
    attention = model.config._attn_implementation
    extend(model, LONG, spec)
    states(model, tokens(2, LONG))
    assert restore(model) is model
    assert torch.equal(states(model, tokens(2, WINDOW)), before)
    assert list(model.state_dict()) == keys
    assert model.config.to_json_string(use_diff=False) == config
    assert model.config._attn_implementation == attention
    assert plan_of(model) is None


@every(cases.ALL)
def test_states_are_finite_at_the_target_in_float32_and_bfloat16(architecture: str, spec: str) -> None:
    model = extend(fresh(architecture), LONG, spec)
    assert bool(states(model, tokens(1, LONG)).isfinite().all())
    out = states(model.to(torch.bfloat16), tokens(1, LONG))
    assert out.dtype == torch.bfloat16
    assert bool(out.isfinite().all())


@every(cases.ALL)
def test_a_model_that_is_bfloat16_already_can_be_extended(architecture: str, spec: str) -> None:
    model = extend(fresh(architecture).to(torch.bfloat16), LONG, spec)
    assert bool(states(model, tokens(1, LONG)).isfinite().all())


def _other(spec: str) -> str:
    """What a specification is compared with on a model that cannot read long inputs by itself."""
    if " + " in spec:
        return spec.split(" + ")[0]
    return "grouped(adaptive=false)" if spec == "tile" else "tile"


@every(cases.ROPE)
def test_it_changes_something_beyond_the_window_of_a_rotary_model(architecture: str, spec: str) -> None:
    model = fresh(architecture)
    plain = states(model, tokens(1, LONG))
    assert not torch.equal(states(extend(model, LONG, spec), tokens(1, LONG)), plain)


@every(cases.LEARNED)
def test_it_differs_from_another_method_beyond_the_window_of_a_learned_table(architecture: str, spec: str) -> None:
    ours, other = (states(extend(fresh(architecture), LONG, each), tokens(1, LONG)) for each in (spec, _other(spec)))
    assert not torch.equal(ours, other)


@every(cases.ALL)
def test_a_plan_reads_back_equal_from_its_json(architecture: str, spec: str) -> None:
    made = plan(geometry(architecture), spec, LONG)
    assert Plan.from_json(json.loads(json.dumps(made.to_json()))) == made


def _first_spec(pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return list({architecture: (architecture, spec) for architecture, spec in reversed(pairs)}.values())


@every(_first_spec(cases.ALL))
def test_a_model_extended_again_after_restore_gives_the_same_states(architecture: str, spec: str) -> None:
    model = fresh(architecture)
    with extended(model, LONG, spec):
        first = states(model, tokens(1, LONG))
    with extended(model, LONG, spec):
        assert torch.equal(states(model, tokens(1, LONG)), first)


@every(_first_spec(cases.ALL))
def test_an_extended_model_says_by_which_plan(architecture: str, spec: str) -> None:
    model = fresh(architecture)
    made = plan(inspect(model), spec, LONG)
    assert plan_of(extend(model, method=made)) == made


@every(_first_spec(cases.ALL))
def test_an_exception_inside_the_block_restores_the_model(architecture: str, spec: str) -> None:
    model = fresh(architecture)
    before, config = states(model, tokens(2, WINDOW)), model.config.to_json_string(use_diff=False)
    with pytest.raises(IndexError), extended(model, LONG, spec):
        states(model, torch.full((2, LONG), 10_000))  # no such word
    assert torch.equal(states(model, tokens(2, WINDOW)), before)
    assert model.config.to_json_string(use_diff=False) == config


@every(_first_spec(cases.ALL))
def test_extending_twice_is_refused_and_harmless(architecture: str, spec: str) -> None:
    model = extend(fresh(architecture), LONG, spec)
    before = states(model, tokens(1, LONG))
    with pytest.raises(PlanError, match="already extended"):
        extend(model, 2 * LONG, spec)
    assert torch.equal(states(model, tokens(1, LONG)), before)


@every(_first_spec(cases.ALL))
def test_restoring_a_model_that_is_not_extended_is_refused(architecture: str, spec: str) -> None:
    with pytest.raises(SeamError, match="nothing to take back"):
        restore(fresh(architecture))


@every(_first_spec(cases.ALL))
def test_without_a_method_a_target_of_the_window_changes_nothing(architecture: str, spec: str) -> None:
    model = fresh(architecture)
    before = states(model, tokens(2, WINDOW))
    made = plan(inspect(model), "none", WINDOW)
    assert made.short_inputs == "exact"
    assert torch.equal(states(extend(model, method=made), tokens(2, WINDOW)), before)


@every([pair for pair in cases.ALL if "temperature" not in pair[1]])
def test_factor_1_is_the_model_as_it_was(architecture: str, spec: str) -> None:
    model = fresh(architecture)
    before = states(model, tokens(2, WINDOW))
    extend(model, WINDOW, spec)
    assert plan_of(model).short_inputs == "exact"
    assert torch.equal(states(model, tokens(2, WINDOW)), before)
