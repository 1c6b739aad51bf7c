"""Wavelengths, rows of a table, factors and slopes, and their pictures."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from longspan import distances
from longspan.families import Frequencies

if TYPE_CHECKING:
    from longspan.planning import Plan

_OLD = {"color": "#8a9097", "linestyle": "--", "linewidth": 1.4}
_NEW = {"color": "#21618c", "linewidth": 1.8}
_LIMIT = {"color": "#d1361f", "linestyle": (0, (4, 3)), "linewidth": 1.2}
_POINTS = 512  # lengths of a curve, at most


def wavelengths(made: Plan) -> dict[str, Tensor]:
    """Tokens for a whole turn of each rotary pair, as ``trained`` and ``new``, inf where it stands.

    Float64 ``[pairs]``. With a map that depends on an input's ``length`` int64 ``[N]``, ``new`` is ``[N, pairs]``.
    ``attention_factor`` has the shape of ``new`` without the pairs.
    """
    geometry = made.geometry
    trained = _wavelength(Frequencies(torch.tensor(geometry.inv_freq, dtype=torch.float64)))
    if not made.by_length:
        new = made.frequencies_at(made.length)
        factor = torch.tensor(new.attention_factor, dtype=torch.float64)
        return {"trained": trained, "new": _wavelength(new), "attention_factor": factor}
    length = _lengths(made)
    maps = [made.frequencies_at(n) for n in distances.rounded_up(made, length).tolist()]
    factor = torch.tensor([each.attention_factor for each in maps], dtype=torch.float64)
    new_ones = torch.stack([_wavelength(each) for each in maps])
    return {"length": length, "trained": trained, "new": new_ones, "attention_factor": factor}


def waves(axes: Any, computed: dict[str, Tensor], made: Plan) -> str:
    """Wavelength of each pair; over the length, a line for each pair, where the map depends on that."""
    trained, new, factor = computed["trained"], computed["new"], computed["attention_factor"]
    pairs = torch.arange(len(trained)).numpy()
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.set_ylabel("tokens for a whole turn")
    if made.by_length:
        axes.axvline(made.geometry.window, **_LIMIT)
        _by_length(axes, computed)
    else:
        axes.axhline(made.geometry.window, label=f"window, {made.geometry.window:,} tokens", **_LIMIT)
        axes.plot(pairs, trained.numpy(), label="trained", **_OLD)
        axes.plot(pairs, new.numpy(), label="extended", **_NEW)
        axes.set_xlabel("rotary pair")
    _tidy(axes)
    still = int(torch.isinf(new.reshape(-1, len(pairs))[-1]).sum())
    low, high = float(factor.min()), float(factor.max())
    notes = [f"cos and sin times {low:.4g}" + (f" to {high:.4g}" if high > low else "")]
    notes += [f"{still} pair{' stands' if still == 1 else 's stand'} still"] if still else []
    first = made.frequencies.first if made.frequencies else 0
    notes += [f"the first {first} positions as trained"] if first else []
    return "; ".join(notes)


def _by_length(axes: Any, computed: dict[str, Tensor]) -> None:
    from matplotlib import cm, colormaps, colors

    length, new = computed["length"], computed["new"]
    shade, last = colormaps["viridis"], max(new.shape[1] - 1, 1)
    for pair in range(new.shape[1]):
        axes.plot(length.numpy(), new[:, pair].numpy(), color=shade(0.9 * pair / last), linewidth=1.1)
    axes.set_xlabel("length of the input (tokens); dashed: the window")
    used = colors.ListedColormap(shade([0.9 * pair / last for pair in range(last + 1)]))
    scale = cm.ScalarMappable(colors.Normalize(0, last), used)
    axes.figure.colorbar(scale, ax=axes, fraction=0.046, pad=0.03, label="rotary pair")


def rows(made: Plan) -> dict[str, Tensor]:
    """The trained row that each position reads, float64 ``[length]``; between two rows, a fraction.

    ``new`` at the target, ``short`` for an input as long as the window.
    """
    window = made.geometry.window
    table = made.table(torch.arange(window, dtype=torch.float64).unsqueeze(1))[:, 0]
    return {"new": table[made.position_ids(made.length)], "short": table[made.position_ids(window)]}


def steps(axes: Any, computed: dict[str, Tensor], made: Plan) -> str:
    """Trained row over position."""
    new, short, window = computed["new"], computed["short"], made.geometry.window
    axes.axvline(window - 0.5, label=f"window, {window:,} tokens", **_LIMIT)
    axes.step(range(len(new)), new.numpy(), where="mid", label=f"an input of {made.length:,} tokens", **_NEW)
    axes.step(range(len(short)), short.numpy(), where="mid", label=f"an input of {window:,} tokens", **_OLD)
    axes.set(xlabel="position", ylabel="trained row", ylim=(-0.02 * window, 1.33 * window))
    _tidy(axes)
    exact = torch.equal(short, torch.arange(window, dtype=short.dtype))
    return f"inputs within the window read {'their trained' if exact else 'other'} rows"


def factors(made: Plan) -> dict[str, Tensor]:
    """The factor on the logits of the last token of inputs of each ``length``, float64 ``[N]``."""
    length = _lengths(made)
    found = made.scale((length - 1).unsqueeze(1), length.unsqueeze(1))
    return {"length": length, "factor": torch.as_tensor(found, dtype=torch.float64).expand(len(length), 1)[:, 0]}


def factor(axes: Any, computed: dict[str, Tensor], made: Plan) -> str:
    """Factor over length."""
    length, found = computed["length"], computed["factor"]
    axes.axvline(made.geometry.window, label=f"window, {made.geometry.window:,} tokens", **_LIMIT)
    axes.axhline(1, label="trained", **_OLD)
    axes.plot(length.numpy(), found.numpy(), label="extended", **_NEW)
    low, high = min(float(found.min()), 1.0), max(float(found.max()), 1.0)
    room = max(high - low, 0.05)
    axes.set(xlabel="tokens up to the query", ylabel="factor on the logits", ylim=(low - 0.1 * room, high + 0.5 * room))
    _tidy(axes)
    return f"the last token's factor, {float(found[-1]):.4g} at {made.length:,} tokens"


def slopes(made: Plan) -> dict[str, Tensor]:
    """The slope of each head per token, ``trained`` and ``new`` at the target, float64 ``[heads]``."""
    method = made.of("slopes")
    ones: list[Tensor] = [method.slopes(made.geometry, scaled) for scaled in (1.0, made.factor)] if method else []
    return dict(zip(("trained", "new"), ones, strict=True))


def heads(axes: Any, computed: dict[str, Tensor], made: Plan) -> str:
    """Slope over head."""
    from matplotlib.ticker import MaxNLocator

    at = range(1, len(computed["new"]) + 1)
    axes.plot(at, computed["trained"].numpy(), marker="o", markersize=4, label="trained", **_OLD)
    axes.plot(at, computed["new"].numpy(), marker="s", markersize=4, label="extended", **_NEW)
    axes.set_yscale("log", base=2)
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set(xlabel="head", ylabel="slope (a token takes this off the logit)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _tidy(axes)
    return f"slopes divided by {made.factor:g} at the target"


def _wavelength(new: Frequencies) -> Tensor:
    return 2 * math.pi / new.inv_freq.double()


def _lengths(made: Plan) -> Tensor:
    """Lengths from 1 to the target, the window and the step behind it among them, int64."""
    window = made.geometry.window
    spread = torch.linspace(1, made.length, _POINTS, dtype=torch.float64).round().long().tolist()
    return torch.tensor(sorted({*spread, window, min(window + 1, made.length)}))


def _tidy(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.15)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(framealpha=1, edgecolor="none", loc="best")
