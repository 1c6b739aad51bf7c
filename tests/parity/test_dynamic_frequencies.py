"""Every map that follows an input's own length, written again from its paper, and beside transformers."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torchdiffeq
from safetensors.torch import save_file
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from longspan import registry
from longspan.errors import PlanError
from longspan.spec import parse
from tests.laws import cases

SHAPES = [(8, 1e4, 512), (64, 1e4, 4096), (128, 5e5, 8192), (32, 160_000.0, 2048)]
RATIOS = (0.4, 1.0, 1.3, 2.0, 3.17, 8.0)


def _ntk(d: int, b: float, window: int, n: int) -> list[float]:
    base = b * max(n / window, 1) ** (d / (d - 2))
    return [base ** (-2 * c / d) for c in range(d // 2)]


def _ntk_times_4(d: int, b: float, window: int, n: int) -> list[float]:
    base = b * max(4 * n / window - 3, 1) ** (d / (d - 2))
    return [base ** (-2 * c / d) for c in range(d // 2)]


def _yarn(d: int, b: float, window: int, n: int) -> list[float]:
    low, high = (d * math.log(window / (r * 2 * math.pi)) / (2 * math.log(b)) for r in (32, 1))
    low, high, s = max(math.floor(low), 0), min(math.ceil(high), d - 1), max(n / window, 1)
    masks = [1 - min(max((c - low) / (high - low), 0), 1) for c in range(d // 2)]
    return [b ** (-2 * c / d) * ((1 - mask) / s + mask) for c, mask in enumerate(masks)]


def _clex(d: int, b: float, window: int, n: int) -> list[float]:
    t = n // window + (n % window > 0)
    base = b * (2 * t - 1) ** (d / (d - 2))
    return [base ** (-2 * c / d) for c in range(d // 2)]


FORMULAS: dict[str, Callable[[int, float, int, int], list[float]]] = {
    "dynamic_ntk": _ntk,
    "dynamic_ntk(factor=4)": _ntk_times_4,
    "dynamic_yarn": _yarn,
    "clex": _clex,
}


def test_every_registered_map_that_follows_a_length_has_its_formula_here() -> None:
    written = {registry.plain(type(parse(spec)[0]).__name__) for spec in FORMULAS}
    maps = [card.name for card in registry.methods().values() if card.family == "frequencies"]
    assert written == {registry.plain(name) for name in maps if getattr(parse(name)[0], "by_length", False)}


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("spec", FORMULAS)
def test_a_map_is_its_formula(spec: str, shape: tuple[int, float, int], ratio: float) -> None:
    n = round(ratio * shape[-1])
    new = parse(spec)[0].frequencies(cases.rotary(*shape), 16.0, n)
    wanted = torch.tensor(FORMULAS[spec](*shape, n), dtype=torch.float64)
    torch.testing.assert_close(new.inv_freq, wanted, rtol=1e-10, atol=0)
    temperature = 0.1 * math.log(n / shape[-1]) + 1 if spec == "dynamic_yarn" and ratio > 1 else 1.0
    assert new.attention_factor == pytest.approx(temperature, rel=1e-12)


def _of_transformers(kind: str, geometry, length: int, **parameters) -> tuple[torch.Tensor, float]:
    config = LlamaConfig(
        hidden_size=geometry.head_dim,
        num_attention_heads=1,
        max_position_embeddings=geometry.window,
        rope_parameters={"rope_type": kind, "rope_theta": geometry.base, **parameters},
    )
    inv_freq, factor = ROPE_INIT_FUNCTIONS[kind](config, torch.device("cpu"), seq_len=length)
    return inv_freq.double(), factor


@pytest.mark.parametrize("factor", [1.0, 2.0, 8.0])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_dynamic_ntk_is_the_map_of_transformers(shape: tuple[int, float, int], factor: float) -> None:
    geometry = cases.rotary(*shape)
    for ratio in RATIOS:
        n = round(ratio * geometry.window)
        theirs, _ = _of_transformers("dynamic", geometry, n, factor=factor)
        ours = parse(f"dynamic_ntk(factor={factor})")[0].frequencies(geometry, 8.0, n).inv_freq
        torch.testing.assert_close(ours, theirs, rtol=2e-6, atol=0)


@pytest.mark.parametrize("length", [1, 2047, 2048, 2049, 16_384])
def test_longrope_with_both_lists_of_factors_is_the_map_of_transformers(length: int) -> None:
    geometry, short, long = cases.rotary(8), (1.0, 1.0, 1.25, 1.5), (1.0, 2.0, 5.0, 8.5)
    theirs, magnitude = _of_transformers(
        "longrope",
        geometry,
        length,
        short_factor=list(short),
        long_factor=list(long),
        factor=8.0,
        original_max_position_embeddings=geometry.window,
    )
    ours = parse(f"longrope(factors={long}, switch=true, short={short})")[0].frequencies(geometry, 8.0, length)
    torch.testing.assert_close(ours.inv_freq, theirs, rtol=1e-6, atol=0)
    assert ours.attention_factor == pytest.approx(magnitude, rel=1e-12)


def test_beyond_the_window_longrope_is_the_same_with_the_switch_as_without() -> None:
    geometry = cases.rotary()
    fixed, switched = (
        parse(spec)[0].frequencies(geometry, 8.0, geometry.window + 1)
        for spec in ("longrope(first=4)", "longrope(first=4, switch=true)")
    )
    assert torch.equal(fixed.inv_freq, switched.inv_freq)
    assert (fixed.attention_factor, fixed.first) == (switched.attention_factor, switched.first)


DIM, WINDOW = 16, 64


def _weights(scale: float = 0.3) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    up, down = torch.randn(DIM // 2, DIM, generator=generator), torch.randn(DIM, DIM // 2, generator=generator)
    return {"ode_up_proj": up * 0.3, "ode_down_proj": down * scale}


def _saved(folder: Path, weights: dict[str, torch.Tensor], name: str = "clex.safetensors") -> Path:
    file = folder / name
    save_file(weights, file) if name.endswith("safetensors") else torch.save(weights, file)
    return file


def _clex_maps(file: Path, base: float = 1e4, **changes: object) -> torch.Tensor:
    changed = "".join(f", {name}={value!r}" for name, value in changes.items())
    method = parse(f"clex(weights={str(file)!r}, max_factor=4{changed})")[0]
    lengths = (WINDOW, WINDOW + 1, 2 * WINDOW, 2 * WINDOW + 1, 4 * WINDOW)
    return torch.stack([method.frequencies(cases.rotary(DIM, base, WINDOW), 4.0, n).inv_freq for n in lengths])


def _integrated(weights: dict[str, torch.Tensor], act: Callable, base: float, end: int) -> np.ndarray:
    """The map at t = ``end`` by the midpoint rule with two step sizes and Richardson's extrapolation."""
    up, down = (weights[f"ode_{name}_proj"].double().numpy() for name in ("up", "down"))
    c = np.arange(DIM // 2)

    def slope(t: float, z: np.ndarray) -> np.ndarray:
        ntk = (10_000.0 * (2 * t - 1) ** (DIM / (DIM - 2))) ** (-2 * c / DIM)
        return act((z + np.log(ntk)) @ up) @ down - 4 * c / ((DIM - 2) * (2 * t - 1))

    def solve(steps: int) -> np.ndarray:
        z, h = np.log(base ** (-2 * c / DIM)), (end - 1) / steps
        for t in 1 + h * np.arange(steps):
            z = z + h * slope(t + h / 2, z + h / 2 * slope(t, z))
        return z

    return np.exp((4 * solve(8000) - solve(4000)) / 3)


@pytest.mark.parametrize("base", [1e4, 5e5])
@pytest.mark.parametrize(
    ("act", "written"), [("tanh", np.tanh), ("silu", lambda x: x / (1 + np.exp(-x)))], ids=["tanh", "silu"]
)
def test_clex_solves_its_differential_equation(tmp_path: Path, act: str, written: Callable, base: float) -> None:
    weights = _weights(scale=0.1)
    ours = _clex_maps(_saved(tmp_path, weights), base, act=act)
    at = {t: torch.from_numpy(_integrated(weights, written, base, t)) for t in (2, 3, 4)}
    wanted = torch.stack(
        [torch.tensor(cases.rotary(DIM, base, WINDOW).inv_freq, dtype=torch.float64), *(at[t] for t in (2, 2, 3, 4))]
    )
    torch.testing.assert_close(ours, wanted, rtol=1e-6, atol=0)
    untrained = parse("clex")[0].frequencies(cases.rotary(DIM, base, WINDOW), 4.0, 4 * WINDOW).inv_freq
    assert float((ours[-1] / untrained).log().abs().max()) > 0.1


def test_clex_with_a_zero_projection_is_ntk_by_twice_t_less_one(tmp_path: Path) -> None:
    zero = _clex_maps(_saved(tmp_path, _weights(scale=0.0)))
    lengths = (WINDOW, WINDOW + 1, 2 * WINDOW, 2 * WINDOW + 1, 4 * WINDOW)
    wanted = torch.tensor([_clex(DIM, 1e4, WINDOW, n) for n in lengths], dtype=torch.float64)
    torch.testing.assert_close(zero, wanted, rtol=1e-8, atol=0)
    untrained = parse("clex(max_factor=4)")[0]
    closed = torch.stack([untrained.frequencies(cases.rotary(DIM, 1e4, WINDOW), 4.0, n).inv_freq for n in lengths])
    torch.testing.assert_close(zero, closed, rtol=1e-8, atol=0)


@pytest.mark.parametrize(
    ("up", "down", "name"),
    [
        ("ode_up_proj", "ode_down_proj", "clex.pt"),
        ("model.clex_layer.proj_func.ode_up_proj", "model.clex_layer.proj_func.ode_down_proj", "clex.safetensors"),
        ("W_up", "W_down", "clex.safetensors"),
        ("up", "down", "clex.bin"),
    ],
)
def test_the_names_and_the_format_of_the_weights_do_not_matter(tmp_path: Path, up: str, down: str, name: str) -> None:
    kept = _weights()
    plain = _clex_maps(_saved(tmp_path, kept, "plain.safetensors"))
    other = {up: kept["ode_up_proj"], down: kept["ode_down_proj"], "model.norm.weight": torch.ones(3)}
    assert torch.equal(_clex_maps(_saved(tmp_path, other, name)), plain)


def test_the_equation_is_solved_once_for_a_file_and_again_when_the_file_changes(tmp_path: Path, monkeypatch) -> None:
    solve, calls = torchdiffeq.odeint, []
    monkeypatch.setattr(torchdiffeq, "odeint", lambda *args, **more: calls.append(1) or solve(*args, **more))
    file = _saved(tmp_path, _weights())
    os.utime(file, ns=(0, 1))
    before = _clex_maps(file)
    assert torch.equal(_clex_maps(file), before)
    assert len(calls) == 1
    _saved(tmp_path, _weights(scale=0.0))
    os.utime(file, ns=(0, 1))  # the old date and the old size
    assert not torch.equal(_clex_maps(file), before)
    assert len(calls) == 2


_GOOD = _weights()
_WRONG = {
    "holds 0 of W_up": {"gate": _GOOD["ode_up_proj"], "down": _GOOD["ode_down_proj"]},
    "holds 0 of W_down": {"up": _GOOD["ode_up_proj"]},
    "holds 2 of W_up": {"a.up": _GOOD["ode_up_proj"], "b.up": _GOOD["ode_up_proj"], "down": _GOOD["ode_down_proj"]},
    r"W_up \[16, 8\] and W_down \[16, 8\]": {"up": _GOOD["ode_up_proj"].T, "down": _GOOD["ode_down_proj"]},
    r"W_up \[8\] and W_down \[16, 8\]": {"up": torch.ones(8), "down": _GOOD["ode_down_proj"]},
    r"W_up \[\] and W_down \[\]": {"up": torch.ones(()), "down": torch.ones(())},
    r"W_up \[6, 12\] and W_down \[12, 6\] for 8 rotary pairs": {"up": torch.ones(6, 12), "down": torch.ones(12, 6)},
}


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
@pytest.mark.parametrize("fact", _WRONG)
def test_weights_that_do_not_fit_are_refused(tmp_path: Path, fact: str, suffix: str) -> None:
    file = _saved(
        tmp_path,
        {name: weight.clone(memory_format=torch.contiguous_format) for name, weight in _WRONG[fact].items()},
        f"clex.{suffix}",
    )
    with pytest.raises(PlanError, match=fact):
        _clex_maps(file)


@pytest.mark.parametrize("content", [b"", b"not a tensor", b"PK\x03\x04abc"])
@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_a_file_that_is_no_file_of_weights_is_refused(tmp_path: Path, content: bytes, suffix: str) -> None:
    file = tmp_path / f"clex.{suffix}"
    file.write_bytes(content)
    with pytest.raises(PlanError, match=f"clex.{suffix} holds no tensors by name"):
        _clex_maps(file)


def test_a_tensor_without_a_name_is_refused(tmp_path: Path) -> None:
    torch.save(torch.ones(3, 3), tmp_path / "clex.pt")
    with pytest.raises(PlanError, match="holds no tensors by name"):
        _clex_maps(tmp_path / "clex.pt")


def test_a_missing_file_is_told_by_name(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"There is no file '.*none\.pt'"):
        _clex_maps(tmp_path / "none.pt")


def test_a_pair_that_stands_still_has_no_logarithm(tmp_path: Path) -> None:
    file = _saved(tmp_path, _weights())
    still = cases.rotary(DIM, 1e4, WINDOW, inv_freq=(*cases.rotary(DIM).inv_freq[:-1], 0.0))
    with pytest.raises(PlanError, match="runs out of numbers"):
        parse(f"clex(weights={str(file)!r})")[0].frequencies(still, 2.0, 2 * WINDOW)


@pytest.mark.parametrize("module", ["torchdiffeq", "safetensors.torch"])
def test_a_missing_package_is_told_with_the_extra_that_installs_it(tmp_path: Path, monkeypatch, module: str) -> None:
    file = _saved(tmp_path, _weights())
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(PlanError, match=rf"needs {module}.*\n.*longspan\[clex\]"):
        _clex_maps(file)
