"""Projection: a picture of vectors in the plane, before and after a change side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from longspan.disk import replaced
from longspan.errors import BenchmarkError, LongspanError, require

Method = Literal["pca", "tsne"]

# Colours that stay apart for colour-blind readers; markers say the same.
_COLOURS = ("#2f8fd0", "#e0701a", "#18a077", "#c46ba3", "#c79a00", "#7a7a7a")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")


def projection(
    vectors: Mapping[str, Any],
    labels: Sequence[str],
    path: Path,
    method: Method = "pca",
    seed: int = 0,
) -> Path:
    """Write a PNG of texts as points, coloured by their label, one panel for each reading of them.

    Each panel is projected by itself, scaled to unit variance and turned onto the first one: the turn of a projection
    means nothing, and where the texts moved is what one looks for. Distances in a t-SNE picture are not to be read,
    only who stands beside whom.

    Args:
        vectors: Title of a panel to its vectors [texts, dimension], such as ``{"before": a, "after": b}``; the texts
            in the same order in each.
        labels: Class of each text.
        path: Where the PNG goes; folders are created where missing.
        method: "pca" (linear; the two directions of greatest variance) or "tsne" (van der Maaten and Hinton 2008).
        seed: Seed of t-SNE; PCA draws nothing.

    Returns:
        The path.

    Raises:
        BenchmarkError: The vectors do not belong to the labels, or there are too few texts.
        LongspanError: matplotlib is not installed.

    Example:
        >>> projection({"before": model.encode(texts), "after": longer.encode(texts)}, labels, Path("probe.png"))
        PosixPath('probe.png')
    """
    if method not in get_args(Method):
        raise BenchmarkError(f"There is no projection {method!r}.", f"use {' or '.join(get_args(Method))}")
    if not vectors:
        raise BenchmarkError("There are no vectors to project.", 'projection({"before": vectors}, labels, path)')
    require("matplotlib", "A picture", "report", LongspanError)
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    points = {title: _plane(title, rows, len(labels), method, seed) for title, rows in vectors.items()}
    first = next(iter(points.values()))
    # A label is text, not a formula, whatever signs it has.
    with rc_context({"text.parse_math": False}):
        figure = Figure(figsize=(5.5 * len(points), 5), layout="constrained", dpi=120)
        axes = figure.subplots(1, len(points), squeeze=False, sharex=True, sharey=True)[0]
        classes = sorted(set(labels))
        for axis, (title, found) in zip(axes, points.items(), strict=True):
            turned = found @ _turn(found, first)
            drawn = []
            for i, label in enumerate(classes):
                shown = turned[[own == label for own in labels]]
                style = {"color": _COLOURS[i % len(_COLOURS)], "marker": _MARKERS[i % len(_MARKERS)]}
                drawn.append(axis.scatter(shown[:, 0], shown[:, 1], s=18, alpha=0.75, linewidths=0, **style))
            axis.set_title(title)
            axis.set_aspect("equal")
            axis.set_xticks([])
            axis.set_yticks([])
        figure.legend(drawn, classes, loc="outside lower center", ncols=min(len(classes), 6))
        with replaced(path, BenchmarkError) as half:
            # No version and no date inside: the same vectors give the same bytes.
            figure.savefig(half, format="png", metadata={"Software": None})
    return path


def _plane(title: str, vectors: Any, texts: int, method: Method, seed: int) -> Any:
    from sklearn.decomposition import PCA  # type: ignore[import-untyped,unused-ignore]
    from sklearn.manifold import TSNE  # type: ignore[import-untyped,unused-ignore]

    rows = np.asarray(vectors, dtype=np.float64)
    if rows.ndim != 2 or len(rows) != texts:
        raise BenchmarkError(
            f"There are {texts} labels, the vectors {title!r} have the shape {rows.shape}.",
            f"an array [{texts}, dimension], one row for each label",
        )
    if texts < 4 or rows.shape[1] < 2:
        raise BenchmarkError(
            f"{texts} vectors of dimension {rows.shape[1]} make no picture.", "at least 4 texts and 2 dimensions"
        )
    if not np.isfinite(rows).all():
        raise BenchmarkError(f"The vectors {title!r} are not all finite.", "encode in float32 or bfloat16")
    if method == "pca":
        points = PCA(2, svd_solver="full").fit_transform(rows)
    else:
        # The published range of the perplexity begins at 5; it must stay below the number of texts.
        near = min(30.0, max((texts - 1) / 3, 1.0))
        points = TSNE(2, perplexity=near, init="pca", random_state=seed).fit_transform(rows)
    points = points - points.mean(axis=0)
    return points / (points.std() or 1.0)


def _turn(points: Any, onto: Any) -> Any:
    """The rotation or reflection [2, 2] that brings points nearest to others (orthogonal Procrustes)."""
    left, _, right = np.linalg.svd(points.T @ onto)
    return left @ right
