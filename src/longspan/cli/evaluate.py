"""longspan evaluate."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from longspan.cli.main import (
    AsJson,
    Backend,
    Device,
    Dims,
    DType,
    Layers,
    Model,
    Seed,
    Window,
    say,
    say_json,
    verb,
)
from longspan.logs import quiet


@verb
def evaluate(
    model: Model,
    benchmark: Annotated[
        str, typer.Option("--benchmark", "-b", help='Specification, such as "passkey + fairytaleqa".')
    ] = "passkey(documents=24, queries=24) + fairytaleqa(documents=24)",
    lengths: Annotated[str, typer.Option(help="Tokens per document, separated by commas.")] = "512,1024,2048,4096",
    method: Annotated[list[str] | None, typer.Option("--method", "-m", help="A specification; repeatable.")] = None,
    strategy: Annotated[
        list[str] | None, typer.Option("--strategy", "-s", help="How long documents are read; repeatable.")
    ] = None,
    bm25: Annotated[bool, typer.Option("--bm25", help="Measure keyword search as well.")] = False,
    to: Annotated[int | None, typer.Option("--to", help="Target length; the largest length when not given.")] = None,
    window: Window = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="JSON lines to add scores to, and to go on from.")
    ] = None,
    backend: Backend = "torch",
    layers: Layers = None,
    dims: Dims = None,
    device: Device = None,
    dtype: DType = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Measure a model by length, extended or not, with truncation and chunk averaging beside it."""
    from longspan.errors import SpecError
    from longspan.evaluation.run import evaluate as measure
    from longspan.evaluation.score import append, markdown, read
    from longspan.storage.load import load

    quiet()
    try:
        tokens = [int(part) for part in lengths.split(",") if part.strip()]
    except ValueError:
        raise SpecError(f"--lengths {lengths!r} is not a list of numbers.", "write 512,1024,2048") from None
    scores = read(out) if out and out.exists() else []
    loaded, known = load(model, device=device), tuple(scores)
    for score in measure(
        loaded,
        benchmark,
        tokens,
        to=to,
        methods=method or (),
        strategies=strategy or (),
        bm25=bm25,
        window=window,
        seed=seed,
        known=known,
        progress=not as_json,
        backend=backend,
        dtype=dtype,
        layers=layers,
        dims=dims,
    ):
        scores.append(score)
        if out:
            append(out, [score])
    say_json([asdict(score) for score in scores]) if as_json else say(markdown(scores))
