"""Decoding: with a KV cache, token by token, an extended decoder gives what one full forward gives."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from longspan import extend
from tests import models
from tests.laws import cases
from tests.laws.cases import LONG, WINDOW, every, fresh
from tests.models import states, tokens

PAD = 1
CLOSE = {"rtol": 1e-5, "atol": 1e-5}
PREFILLS = (WINDOW - 2, WINDOW + 4)  # the window is crossed while decoding, or before


def _decode(model, ids: torch.Tensor, prefill: int, **given: torch.Tensor) -> torch.Tensor:
    """States of all tokens: ``prefill`` at once, then one at a time, with the arguments ``generate`` gives."""
    cache, parts = None, []
    for start, end in [(0, prefill), *((place, place + 1) for place in range(prefill, ids.shape[1]))]:
        now = {"position_ids": given["position_ids"][:, start:end]} if given else {}
        now |= {"attention_mask": given["attention_mask"][:, :end]} if given else {}
        with torch.no_grad():
            out = model(input_ids=ids[:, start:end], past_key_values=cache, use_cache=True, **now)
        cache = out.past_key_values
        parts.append(out.last_hidden_state)
    return torch.cat(parts, dim=1)


@every(cases.DECODERS)
def test_prefill_and_decode_equal_one_full_forward(architecture: str, spec: str) -> None:
    model, ids = extend(fresh(architecture), LONG, spec), tokens(2, WINDOW + 6)
    full = states(model, ids)
    for prefill in PREFILLS:
        torch.testing.assert_close(_decode(model, ids, prefill), full, **CLOSE)


@every(cases.DECODERS)
def test_left_padded_rows_decode_as_if_alone(architecture: str, spec: str) -> None:
    model, long = extend(fresh(architecture), LONG, spec), tokens(1, WINDOW + 6)
    short = long[:, 10:]
    ids = torch.cat([long, torch.cat([torch.full((1, 10), PAD), short], dim=1)])
    mask = torch.ones_like(ids)
    mask[1, :10] = 0
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    decoded = _decode(model, ids, WINDOW + 2, attention_mask=mask, position_ids=positions)
    torch.testing.assert_close(decoded[0], states(model, long)[0], **CLOSE)
    torch.testing.assert_close(decoded[1, 10:], states(model, short)[0], **CLOSE)


def _causal(architecture: str):
    torch.manual_seed(0)
    config = AutoConfig.for_model(architecture, **models.ALL[architecture])
    config.bos_token_id = config.eos_token_id = config.pad_token_id = None
    return AutoModelForCausalLM.from_config(config).eval()


@every([pair for pair in cases.DECODERS if pair[0] in ("llama", "gpt2", "phi3")])
def test_generate_runs_past_the_window_and_equals_greedy_full_forwards(architecture: str, spec: str) -> None:
    model, ids = extend(_causal(architecture), LONG, spec), tokens(1, WINDOW - 4)
    made = model.generate(ids, max_new_tokens=12, do_sample=False, attention_mask=torch.ones_like(ids))
    assert made.shape[1] == WINDOW + 8
    with torch.no_grad():
        greedy = model(made[:, :-1]).logits.argmax(-1)
    assert torch.equal(greedy[0, WINDOW - 5 :], made[0, WINDOW - 4 :])


@pytest.mark.parametrize("spec", ["yarn", "yarn + log_n"])
def test_generate_gives_left_padded_prompts_what_they_get_alone(spec: str) -> None:
    model, ids = extend(_causal("llama"), LONG, spec), tokens(1, WINDOW + 4)
    padded = torch.cat([ids, torch.cat([torch.full((1, 20), PAD), ids[:, 20:]], dim=1)])
    mask = torch.ones_like(padded)
    mask[1, :20] = 0
    given = {"max_new_tokens": 6, "do_sample": False, "pad_token_id": PAD}
    together = model.generate(padded, attention_mask=mask, **given)
    alone = model.generate(ids[:, 20:], attention_mask=torch.ones_like(ids[:, 20:]), **given)
    assert torch.equal(together[1, 20:], alone[0])
