"""CLEX: frequencies that follow a trained differential equation in the length."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import torch
from torch import Tensor

from longspan.disk import state_of
from longspan.errors import PlanError, require
from longspan.families import Frequencies
from longspan.geometry import MAX_FACTOR, Geometry
from longspan.methods.frequencies._dynamic import check_step, with_base_times
from longspan.methods.frequencies._weights import one_named, read_tensors

CARD = {
    "title": "CLEX",
    "source": "arXiv:2310.16450",
    "year": 2023,
    "authors": "Chen et al.",
    "encodings": ("rope",),
    "training": "required",
    "cost": "none beyond rotating keys again",
    "native": "",
    "claim": "LLaMA-2 7B trained at 16k has perplexity 5.52, 5.55, 5.64 at 16k, 32k, 64k (README of the release)",
    "best_for": "models trained with it",
    "caution": "without weights it is NTK with alpha = 2 t - 1; a saved plan holds the weights' path, not the weights",
    "aliases": (),
}


_NAMES = {"W_up": ("ode_up_proj", "W_up", "up"), "W_down": ("ode_down_proj", "W_down", "down")}


@dataclass(frozen=True)
class CLEX:
    """Solve for the map from the trained one, at t = 1, to ``t = ceil(n / window)`` (Chen et al. 2023, section 3).

    ``dz/dt = act((z + ln ntk(t)) W_up) W_down + d/dt ln ntk(t)`` with ``z = ln theta`` and
    ``ntk(t)_c = b^(-2c/d) (2t - 1)^(-2c/(d-2))``. As in the release, b is 10000 whatever the model's base is
    (``z`` starts from the trained map, so b reaches ``W_up`` only), and one fourth-order Runge-Kutta run in steps of
    0.01 gives the maps of all whole t; here in float64. The factor on its queries is a method of its own, ``log_n``.

    Args:
        weights: Path of a .safetensors or .pt file with ``ode_up_proj [d/2, k d]`` and ``ode_down_proj [k d, d/2]``,
            as the release names them, or ``W_up`` and ``W_down``, or ``up`` and ``down``; a prefix that ends in a dot
            may precede. Empty: W_down = 0, as before training; the solution is NTK with alpha = 2t - 1.
        act: What stands between the two.
        max_factor: The largest t, in windows.
        step: Tokens that a decoder's length is rounded up to; the window when None, as in the release.
    """

    by_length: ClassVar[bool] = True

    weights: str = ""
    act: Literal["tanh", "silu"] = "tanh"
    max_factor: int = 16
    step: int | None = None

    def __post_init__(self) -> None:
        """Refuse a range of t that does not begin, or that no target needs."""
        if not 1 <= self.max_factor <= MAX_FACTOR:
            raise PlanError(f"clex(max_factor={self.max_factor}) is not in 1..{MAX_FACTOR}.", "the release has 16")
        check_step("clex", self.step)

    @property
    def files(self) -> tuple[str, ...]:
        """The weights' path."""
        return (self.weights,) if self.weights else ()

    def reach(self, geometry: Geometry, target: int) -> int:
        """``max_factor`` windows, tokens."""
        return self.max_factor * geometry.window

    def frequencies(self, geometry: Geometry, factor: float, length: int) -> Frequencies:
        """The map for an input of ``length`` tokens; ``factor``, the target's, plays no part.

        Raises:
            PlanError: The weights are missing, unreadable or of another size, or need a package.
        """
        t = min(max(math.ceil(length / geometry.window), 1), self.max_factor)
        if not self.weights or t == 1:
            return Frequencies(with_base_times(geometry, 2 * t - 1))
        return Frequencies(_solve(self, geometry.inv_freq, state_of(self.weights))[t - 1].exp())


@functools.lru_cache(maxsize=32)
def _solve(method: CLEX, inv_freq: tuple[float, ...], _state: tuple[int, ...]) -> Tensor:
    """``z`` at t = 1, 2 ... ``max_factor``, float64 ``[max_factor, d / 2]``; again when the file was written again."""
    odeint = require("torchdiffeq", "clex with weights", "clex", PlanError).odeint
    up, down = _projections(Path(method.weights), len(inv_freq))
    pair, dim = torch.arange(len(inv_freq), dtype=torch.float64), 2 * len(inv_freq)
    slope, act = -2 * pair / max(dim - 2, 1), torch.tanh if method.act == "tanh" else torch.nn.functional.silu

    def derivative(t: Tensor, z: Tensor) -> Tensor:
        ntk = slope * torch.log(2 * t - 1) - 2 * pair / dim * math.log(10_000)
        return act((z + ntk) @ up) @ down + slope * 2 / (2 * t - 1)

    times, start = torch.arange(1, method.max_factor + 1.0), torch.tensor(inv_freq, dtype=torch.float64).log()
    solved: Tensor = odeint(derivative, start, times.double(), method="rk4", options={"step_size": 0.01})
    if not bool(solved.isfinite().all()):
        raise PlanError("clex runs out of numbers on this rotation.", "take the model that the weights were trained on")
    return solved


def _projections(file: Path, pairs: int) -> list[Tensor]:
    kept = read_tensors(file)
    found = [one_named(file.name, kept, *each).double() for each in _NAMES.items()]
    up, down = (tuple(weight.shape) for weight in found)
    if up != (pairs, *down[:1]) or down != (*up[1:], pairs):
        told = f"W_up {list(up)} and W_down {list(down)} for {pairs} rotary pairs"
        raise PlanError(f"{file.name} holds {told}.", f"they must be [{pairs}, k] and [k, {pairs}]")
    return found
