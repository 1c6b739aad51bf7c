"""Attention over ranges of positions against plain attention: CPU time (CUDA events on a GPU) and memory.

Usage: OMP_NUM_THREADS=2 OMP_WAIT_POLICY=PASSIVE python benchmarks/attention.py [--methods dca] [--lengths 2048,8192]

speed   Rotating queries and keys by a method's ranges and attending, divided by rotating once and torch's
        scaled_dot_product_attention ("plain"), and by that alone ("bare"): measured in turn, medians of ratios.
        Tables of cos and sin are made before, since the layers of a model share them.
memory  Growth of the peak of resident memory [MB] in one call above that of plain, each in a process of its own
        (VmHWM; on a GPU max_memory_allocated).
dense   The published form, all scores of all ranges in one table, against ours, with `--dense-heads` heads.
--model A random encoder of ModernBERT's base size reads 8,192 tokens, extended by self_extend from a window of
        1,024 to 16,384, against itself without that.
--check Parity of the backends with the dense form in float64 on this device, gradients included.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from longspan.attention import attend
from longspan.attention.call import Call
from longspan.errors import LongspanError
from longspan.families import Range
from longspan.spec import parse

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16, "float64": torch.float64}
BASE = 1e4


class Rotation:
    """Rotates as modelling files do; cos and sin of positions are made once."""

    def __init__(self, width: int) -> None:
        self.inv_freq = BASE ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
        self.made: dict[tuple[Any, ...], tuple[Tensor, Tensor, Tensor]] = {}

    def rotate(self, states: Tensor, position: Tensor, each: Range) -> Tensor:
        """Rotate ``[B, H, N, D]``."""
        key = (position.data_ptr(), len(position), each.lookup, states.dtype, states.device)
        if key not in self.made:  # positions are kept, so that no other tensor takes their address
            self.made[key] = position, *(part.to(states) for part in self._turn(position, each.lookup))
        _, cos, sin = self.made[key]
        left, right = states.chunk(2, dim=-1)
        return states * cos + torch.cat([-right, left], dim=-1) * sin

    def _turn(self, position: Tensor, lookup: str) -> tuple[Tensor, Tensor]:
        angle = position[:, None] * self.inv_freq.repeat(2)
        if lookup == "exact":
            return angle.cos(), angle.sin()
        (low, floor), (high, ceil) = (self._turn(side, "exact") for side in (position.floor(), position.ceil()))
        share = (position - position.floor())[:, None]
        return torch.lerp(low, high, share), torch.lerp(floor, ceil, share)


def case(given: Any, method: str, role: str, length: int, width: int, dtype: str, heads: int, kv: int = 0) -> Call:
    """A call over the whole of a random input, in the layout that models have."""
    drawn = torch.Generator().manual_seed(length)
    states = [
        torch.randn(1, length, count, width, generator=drawn).transpose(1, 2).to(given.device, DTYPES[dtype])
        for count in (heads, kv or heads, kv or heads)
    ]
    at = torch.arange(length)
    # Pairwise methods read nothing but these two facts.
    facts: Any = SimpleNamespace(role=role, window=given.window)
    ranges = parse(method)[0].ranges(at, at, length, facts, max(length, given.window))
    return Call(*states, ranges, 0, Rotation(width).rotate, width**-0.5)


def plain(call: Call, role: str, rotated: bool = True) -> Callable[[], Tensor]:
    """What a model does without an extension."""
    at = torch.arange(call.query.shape[2]).double()
    border = torch.zeros(1, dtype=torch.int64)
    each = Range(at, at, border, border)

    def run() -> Tensor:
        query, key = call.query, call.key
        if rotated:
            query, key = call.rotate(query, at, each), call.rotate(key, at, each)
        return scaled_dot_product_attention(query, key, call.value, is_causal=role == "decoder", scale=call.scaling)

    return run


def spent(run: Callable[[], Any], device: str) -> float:
    """Seconds of processor time of this process; on a GPU, seconds between two events."""
    if device == "cpu":
        before = time.process_time()
        run()
        return time.process_time() - before
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    run()
    end.record()
    torch.cuda.synchronize()
    return begin.elapsed_time(end) / 1000


def ratios(runs: dict[str, Callable[[], Any]], given: Any, warm: bool = True) -> dict[str, float]:
    """Median time of the first [s], and of its ratio to each other one, measured in turn."""
    for run in runs.values() if warm else ():
        run()
    times = [{name: spent(run, given.device) for name, run in runs.items()} for _ in range(given.repeats)]
    own, *others = runs
    found = {name: round(median(one[own] / one[name] for one in times), 3) for name in others}
    return {"seconds": round(median(one[own] for one in times), 4), **found}


def cells(given: Any) -> Iterator[tuple[str, str, int, int, str]]:
    axes = (given.lengths, given.dtypes, given.dims, given.methods, given.roles)
    for length, dtype, width, method, role in product(*axes):
        yield method, role, int(length), int(width), dtype


def line(part: str, cell: tuple[Any, ...], **facts: Any) -> dict[str, Any]:
    return {"part": part, **dict(zip(("method", "role", "length", "dim", "dtype"), cell, strict=True)), **facts}


def speed(given: Any) -> Iterator[dict[str, Any]]:
    for cell in cells(given):
        call = case(given, *cell, given.heads)
        runs = {"ours": partial(attend, call, given.backend), "plain": plain(call, cell[1])}
        found = ratios({**runs, "bare": plain(call, cell[1], rotated=False)}, given, warm=cell[2] <= 8192)
        most = 1.05 if cell[0] == "gali" else 1.4 if cell[2] <= 8192 else 1.25
        yield line("speed", cell, **found, most=most if cell[2] >= 8192 else None, measured=found["plain"])


def memory(given: Any) -> Iterator[dict[str, Any]]:
    known: dict[tuple[Any, ...], float] = {}
    for cell in cells(given):
        for one in (("plain", *cell[1:]), cell):
            known[one] = known.get(one) or _growth(one, given)
        grown, base = known[cell], known[("plain", *cell[1:])]
        extra = round(grown - base, 1)
        yield line("memory", cell, MB=grown, plain=base, most=100 if cell[2] == 32768 else None, measured=extra)


def _growth(cell: tuple[Any, ...], given: Any) -> float:
    """Growth of the peak [MB] in a process of its own."""
    words = [sys.executable, __file__, "--one", ",".join(map(str, cell)), "--device", given.device]
    words += [f"--heads={given.heads}", f"--window={given.window}", f"--threads={given.threads}"]
    words += ["--backend", given.backend]
    return float(subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout)


def one(given: Any) -> float:
    """In that process: run once, so that tables are made, give back what is free, and run again."""
    method, role, length, width, dtype = given.one.split(",")
    name = "self_extend" if method == "plain" else method
    call = case(given, name, role, int(length), int(width), dtype, given.heads)
    run = plain(call, role) if method == "plain" else partial(attend, call, given.backend)
    run()
    if given.device != "cpu":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        run()
        return round((torch.cuda.max_memory_allocated() - before) / 1e6, 1)
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = _resident("VmRSS")
    run()
    return round(_resident("VmHWM") - before, 1)


def _resident(name: str) -> float:
    """A figure of /proc/self/status [MB]."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(each.split()[1]) for each in lines if each.startswith(name)) * 1024 / 1e6


def dense(given: Any) -> Iterator[dict[str, Any]]:
    for method, role in product(given.methods, given.roles):
        if method != "gali":
            cell = (method, role, 8192, 64, "float32")
            call = case(given, *cell, given.dense_heads)
            runs = {"dense": partial(attend, call, "eager"), "ours": partial(attend, call, given.backend)}
            found = ratios(runs, given, warm=False)
            yield line("dense", cell, **found, least=4, measured=found["ours"])


def model(given: Any) -> Iterator[dict[str, Any]]:
    from transformers import ModernBertConfig, ModernBertModel

    import longspan

    torch.manual_seed(0)
    encoder = ModernBertModel(ModernBertConfig()).eval().to(given.device)
    ids = torch.randint(5, 50000, (1, 8192), device=given.device)
    times: list[tuple[float, float]] = []
    for _ in range(given.repeats):
        before = spent(lambda: encoder(ids), given.device)
        with longspan.extended(encoder, 16384, "self_extend", window=1024):
            times.append((spent(lambda: encoder(ids), given.device), before))
    cell = ("self_extend", "encoder", 8192, 64, "float32")
    found = round(median(own / base for own, base in times), 3)
    yield line("model", cell, seconds=round(median(own for own, _ in times), 2), most=1.2, measured=found)


def check(given: Any) -> Iterator[dict[str, Any]]:
    """Largest difference to the dense form in float64, of outputs and of gradients."""
    gpu = given.device != "cpu"
    close = {"float32": 1e-5 if not gpu else 2e-3, "bfloat16": 6e-2, "float16": 1e-2}
    names = ("query", "key", "value")
    for backend, cell in product(("sdpa", "flex"), cells(given)):
        call = case(given, *cell, 4, 2)
        exact = {name: getattr(call, name).double().requires_grad_() for name in names}
        ours = {name: getattr(call, name).clone().requires_grad_(gpu or backend == "sdpa") for name in names}
        wanted = attend(replace(call, **exact), "eager")[0]
        try:
            found = attend(replace(call, **ours), backend)[0]
        except LongspanError as error:
            yield line(f"check {backend}", cell, refused=str(error))
            continue
        pairs = [(found, wanted)]
        if found.requires_grad:
            found.sum().backward()
            wanted.sum().backward()
            pairs += [(ours[name].grad, exact[name].grad) for name in names]
        most = max(float((a - b).detach().abs().max() / b.detach().abs().max()) for a, b in pairs)
        yield line(f"check {backend}", cell, most=close[cell[4]], measured=most)


def show(found: dict[str, Any]) -> None:
    words = [str(found.pop(name)) for name in ("part", "method", "role", "length", "dim", "dtype")]
    measured, most, least = (found.pop(name, None) for name in ("measured", "most", "least"))
    if measured is not None:
        limit = f"<= {most}" if most else f">= {least}" if least else "no target"
        holds = (most is None or measured <= most) and (least is None or measured >= least)
        words += [f"{measured:.3g}", limit if holds else f"{limit} MISSED"]
    print("|", " | ".join([*words, *(f"{name} {value}" for name, value in found.items())]), "|", flush=True)


PARTS = {"speed": speed, "memory": memory, "dense": dense, "model": model, "check": check}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words = {"parts": "speed,memory,dense", "methods": "self_extend,rerope,dca,gali", "roles": "decoder,encoder"}
    words |= {"lengths": "2048,8192,16384,32768", "dims": "32,64", "dtypes": "float32,bfloat16"}
    for name, default in words.items():
        parser.add_argument(f"--{name}", default=default.split(","), type=lambda text: text.split(","))
    for name, number in {"repeats": 5, "heads": 12, "dense-heads": 12, "window": 512, "threads": 2}.items():
        parser.add_argument(f"--{name}", default=number, type=int)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--backend", default="sdpa")
    parser.add_argument("--model", action="store_true", help="the whole model alone")
    parser.add_argument("--check", action="store_true", help="parity alone")
    parser.add_argument("--json", type=Path, help="lines of JSON are added to this file")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    if given.one:
        with torch.inference_mode():
            return print(one(given))
    alone = [name for name in ("model", "check") if getattr(given, name)]
    for part in alone or given.parts:
        with torch.set_grad_enabled(part == "check"):
            for found in PARTS[part](given):
                if given.json:
                    with given.json.open("a") as file:
                        file.write(json.dumps(found) + "\n")
                show(found)
    return None


if __name__ == "__main__":
    main()
