"""What a decoding step costs when attention rotates the keys it reads: CPU time of an extended model over its own.

Usage: OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE python benchmarks/decoding.py [--cached 3000] [METHOD ...]

A Llama with random weights (8 layers, 512 channels, 8 heads, 4 key heads, window 512) reads `--cached` tokens and
generates; a step is the time of 33 tokens less that of the first, over 32.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

import longspan


def times(model: Any, ids: torch.Tensor) -> tuple[float, float]:
    """CPU seconds of the prompt and of one step."""

    def run(new: int) -> float:
        begin = time.process_time()
        given = {"do_sample": False, "pad_token_id": 1, "attention_mask": torch.ones_like(ids)}
        model.generate(ids, max_new_tokens=new, min_new_tokens=new, **given)
        return time.process_time() - begin

    prompt = run(1)
    return prompt, (run(33) - prompt) / 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="*", default=["self_extend", "dca", "gali", "dynamic_ntk"])
    parser.add_argument("--cached", type=int, default=3000)
    given = parser.parse_args()
    torch.manual_seed(0)
    shape: dict[str, Any] = {"vocab_size": 1000, "hidden_size": 512, "num_hidden_layers": 8, "num_attention_heads": 8}
    shape |= {"num_key_value_heads": 4, "intermediate_size": 1024, "max_position_embeddings": 512}
    model = LlamaForCausalLM(LlamaConfig(**shape)).eval()
    ids = torch.randint(5, 1000, (1, given.cached))
    for method in given.methods:
        plain = times(model, ids)
        with longspan.extended(model, 8 * given.cached // 3, method):
            ours = times(model, ids)
        print(f"{method}: prompt {ours[0] / plain[0]:.2f}, step {ours[1] / plain[1]:.2f} of plain", flush=True)


if __name__ == "__main__":
    main()
