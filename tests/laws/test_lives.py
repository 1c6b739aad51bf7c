"""An extended model in a process: beside another one, copied, pickled, trained, and run by several threads."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from longspan import extend, inspect, plan, restore
from longspan.errors import SeamError
from longspan.extension import plan_of
from tests.laws.cases import LONG, WINDOW, every, fresh
from tests.models import states, tokens

KINDS = [  # one of each way a plan is written into a model
    ("bert", "tile"),
    ("bert", "interpolate"),
    ("roberta", "grouped"),
    ("bert", "tile + log_n"),
    ("gpt2", "tile + temperature"),
    ("llama", "yarn"),
    ("llama", "longrope(first=4)"),
    ("llama", "yarn + log_n"),
    ("modernbert", "ntk + su"),
    ("gemma3_text", "giraffe_power"),
    ("llama", "self_extend"),
    ("modernbert", "dca"),
    ("gemma3_text", "rerope + dynamic_ntk"),
]
IDS = tokens(2, LONG)


@pytest.mark.parametrize("second", KINDS, ids="-".join)
@every(KINDS)
def test_two_models_with_two_plans_live_in_one_process(architecture: str, spec: str, second: tuple[str, str]) -> None:
    ours = extend(fresh(architecture), LONG, spec)
    before = states(ours, IDS)
    other = extend(fresh(second[0]), LONG + 20, second[1])
    states(other, tokens(1, LONG + 20))
    assert torch.equal(states(ours, IDS), before)
    restore(other)
    assert torch.equal(states(ours, IDS), before)


@every(KINDS)
def test_a_deep_copy_is_extended_alike_and_on_its_own(architecture: str, spec: str) -> None:
    model = fresh(architecture)
    plain = states(model, IDS[:, :WINDOW])
    twin = copy.deepcopy(extend(model, LONG, spec))
    long = states(model, IDS)
    assert torch.equal(states(twin, IDS), long)
    assert plan_of(twin) == plan_of(model)
    restore(model)
    assert torch.equal(states(twin, IDS), long)
    assert torch.equal(states(model, IDS[:, :WINDOW]), plain)
    with pytest.raises(SeamError, match="copied"):
        restore(twin)


@every(KINDS)
def test_a_pickled_model_comes_back_extended(architecture: str, spec: str) -> None:
    model = extend(fresh(architecture), LONG, spec)
    twin = pickle.loads(pickle.dumps(model))
    assert torch.equal(states(twin, IDS), states(model, IDS))
    assert plan_of(twin) == plan_of(model)


CAST = [*KINDS, ("gpt2", "tile + temperature(tau=0.6)")]  # a factor in the weights too


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
@every(CAST)
def test_a_model_cast_while_extended_is_restored_to_the_cast_of_the_original(
    architecture: str, spec: str, dtype: torch.dtype
) -> None:
    model, wanted = extend(fresh(architecture), LONG, spec), fresh(architecture).to(dtype)
    restore(model.to(dtype))
    found = {name: tensor.dtype for name, tensor in (*model.named_parameters(), *model.named_buffers())}
    assert found == {name: tensor.dtype for name, tensor in (*wanted.named_parameters(), *wanted.named_buffers())}
    assert torch.equal(states(model, IDS[:, :WINDOW]), states(wanted, IDS[:, :WINDOW]))


@every(CAST)
def test_a_model_that_was_not_cast_is_restored_to_the_same_tensors(architecture: str, spec: str) -> None:
    model = fresh(architecture)
    before = [*model.parameters(), *model.buffers()]
    after = [*restore(extend(model, LONG, spec)).parameters(), *model.buffers()]
    assert all(one is other for one, other in zip(before, after, strict=True))


_READ = """
import pickle, sys
import torch
model, ids, wanted = pickle.load(sys.stdin.buffer)
with torch.no_grad():
    got = [each(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state for each in model]
print([bool(torch.allclose(a, b, atol=1e-6)) for a, b in zip(got, wanted)])
"""


def test_pickled_models_come_back_extended_in_another_process() -> None:
    made = [extend(fresh(architecture), LONG, spec) for architecture, spec in KINDS]
    sent = pickle.dumps((made, IDS, [states(model, IDS) for model in made]))
    done = subprocess.run([sys.executable, "-c", _READ], input=sent, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    assert json.loads(done.stdout.decode().lower()) == [True] * len(made)


@every(KINDS)
def test_one_plan_extends_many_models(architecture: str, spec: str) -> None:
    made = plan(inspect(fresh(architecture)), spec, LONG)
    first, second = (states(extend(fresh(architecture), method=made), IDS) for _ in range(2))
    assert torch.equal(first, second)


def _gradients(architecture: str, spec: str, checkpointing: bool, **changes: float) -> dict[str, torch.Tensor]:
    model = extend(fresh(architecture, **changes), LONG, spec).train()
    if checkpointing:
        model.activation_checkpointing_enable()
    out = model(input_ids=IDS, attention_mask=torch.ones_like(IDS), **({"use_cache": False} if checkpointing else {}))
    made = out.last_hidden_state
    (made * torch.linspace(-1, 1, made.numel()).view_as(made)).sum().backward()  # a norm keeps the sum of squares
    return {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}


@pytest.mark.parametrize(
    ("architecture", "spec", "changes"),
    [
        ("llama", "yarn + log_n", {}),
        ("llama", "longrope(first=4)", {}),
        ("llama", "self_extend", {}),
        ("modernbert", "dca", {}),
        ("gemma3_text", "rerope + dynamic_ntk", {}),
        ("bert", "tile + log_n", {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}),
        ("bert", "interpolate + log_n", {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}),
    ],
)
def test_gradient_checkpointing_gives_the_same_gradients(architecture: str, spec: str, changes: dict) -> None:
    plain, saved = (_gradients(architecture, spec, checkpointing, **changes) for checkpointing in (False, True))
    assert plain.keys() == saved.keys()
    for name, gradient in plain.items():
        torch.testing.assert_close(saved[name], gradient, rtol=1e-5, atol=1e-6, msg=name)


@pytest.mark.parametrize("spec", ["tile", "interpolate", "grouped", "tile + log_n"])
def test_the_new_rows_of_a_table_are_trained_like_the_old_ones(spec: str) -> None:
    gradients = _gradients("bert", spec, checkpointing=False)
    assert gradients["embeddings.position_embeddings.weight"].shape[0] == LONG


@every([("bert", "tile + log_n"), ("llama", "yarn + log_n"), ("llama", "self_extend"), ("modernbert", "dca")])
def test_threads_that_run_one_model_do_not_meet(architecture: str, spec: str) -> None:
    model = extend(fresh(architecture), LONG, spec)
    lengths = [WINDOW // 2, LONG, WINDOW + 8, LONG - 7] * 8
    serial = [states(model, tokens(1, length)) for length in lengths]
    with ThreadPoolExecutor(2) as pool:
        threaded = list(pool.map(lambda length: states(model, tokens(1, length)), lengths))
    assert all(torch.equal(one, other) for one, other in zip(serial, threaded, strict=True))
