"""Whether a dynamic rotation gives a decoder the same logits one token at a time, and after a longer input.

Usage: python benchmarks/dynamic_history.py [--window 32] [--to 96] [--factor 4]

A Llama of two layers with random weights reads `--to` random tokens whole, then as a prompt of window - 2 tokens and
one token after another (decoding; also of the last token alone); and two windows of tokens, before and after an
input of `--to` tokens (history). Printed are the largest differences of a logit, for transformers' own rope_type and
for longspan's dynamic_ntk with the same factor. Exact is what stays at the rounding of float32, about 1e-5 here.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

import longspan


def build(window: int, **rope: Any) -> LlamaForCausalLM:
    torch.manual_seed(0)
    size = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    rope_parameters = {"rope_type": "default", "rope_theta": 10_000.0, **rope}
    config = LlamaConfig(vocab_size=120, max_position_embeddings=window, rope_parameters=rope_parameters, **size)
    model = LlamaForCausalLM(config).eval()
    for weight in model.parameters():
        if weight.dim() > 1:
            torch.nn.init.normal_(weight, std=0.3)
    return model


@torch.no_grad()
def differences(model: LlamaForCausalLM, window: int, to: int) -> list[float]:
    """Largest difference by decoding, of its last token, by history; and the largest logit."""
    ids = torch.randint(5, 120, (1, to), generator=torch.Generator().manual_seed(0))
    middle, whole = model(ids[:, : 2 * window]).logits, model(ids).logits
    history = (model(ids[:, : 2 * window]).logits - middle).abs().max()
    model(ids[:, : window - 1])  # within the window: transformers forgets the longer input
    read = model(ids[:, : window - 2], use_cache=True)
    steps = [read.logits]
    for at in range(window - 2, to):
        read = model(ids[:, at : at + 1], past_key_values=read.past_key_values, use_cache=True)
        steps.append(read.logits)
    decoding = (torch.cat(steps, 1) - whole).abs()
    return [float(most) for most in (decoding.max(), decoding[:, -1].max(), history, whole.abs().max())]


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--window", type=int, default=32)
parser.add_argument("--to", type=int, default=96)
parser.add_argument("--factor", type=float, default=4.0)
asked = parser.parse_args()
theirs = build(asked.window, rope_type="dynamic", factor=asked.factor)
ours = longspan.extend(build(asked.window), asked.to, f"dynamic_ntk(factor={asked.factor})")
for name, model in (("transformers dynamic", theirs), ("longspan dynamic_ntk", ours)):
    decoding, last, history, scale = differences(model, asked.window, asked.to)
    print(f"{name}: decoding {decoding:.2e} (last {last:.2e}), history {history:.2e}, largest logit {scale:.1f}")
