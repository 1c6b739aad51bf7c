"""longspan evaluate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from longspan.cli.main import (
    AsJson,
    Backend,
    Cache,
    Data,
    Device,
    Dims,
    DType,
    Layers,
    Model,
    Seed,
    Window,
    note,
    say,
    say_json,
    verb,
)
from longspan.errors import SpecError
from longspan.logs import quiet


@verb
def evaluate(
    model: Model,
    benchmark: Annotated[
        str, typer.Option("--benchmark", "-b", help='Specification, such as "passkey + fairytaleqa", or longembed.')
    ] = "passkey(documents=24, queries=24) + fairytaleqa(documents=24)",
    lengths: Annotated[
        str, typer.Option(help="Tokens per document: 512,1024 or 256..8192 for each doubling.")
    ] = "512..4096",
    method: Annotated[list[str] | None, typer.Option("--method", "-m", help="A specification; repeatable.")] = None,
    strategy: Annotated[
        list[str] | None, typer.Option("--strategy", "-s", help="How long documents are read; repeatable.")
    ] = None,
    bm25: Annotated[bool, typer.Option(help="Measure keyword search as well.")] = True,
    to: Annotated[int | None, typer.Option("--to", help="Target length; the largest length when not given.")] = None,
    window: Window = None,
    data: Data = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="JSON lines to add scores to, and to go on from.")
    ] = None,
    mteb: Annotated[
        Path | None, typer.Option("--mteb", help="Folder for result files of mteb as well, one vector a document.")
    ] = None,
    cache: Cache = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="A sample of each set at two lengths, to rank methods.")
    ] = False,
    backend: Backend = "torch",
    layers: Layers = None,
    dims: Dims = None,
    device: Device = None,
    dtype: DType = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Measure a model by length, extended or not, with all that an extension has to beat beside it."""
    from longspan.evaluation.run import collect
    from longspan.evaluation.run import evaluate as measure
    from longspan.evaluation.score import append, markdown, read
    from longspan.outcomes import cache_folder
    from longspan.storage.load import load

    quiet()
    if quick and mteb:
        raise SpecError("--quick measures samples, and --mteb writes files that are taken for whole sets.", "drop one")
    tokens = doublings(lengths)
    scores = read(out) if out and out.exists() else []
    loaded, known = load(model, device=device), tuple(scores)
    chosen, place = collect(benchmark, data, seed), cache or cache_folder() / "vectors.sqlite"
    engine: dict[str, Any] = {"backend": backend, "dtype": dtype, "layers": layers, "dims": dims}
    target = to or max(tokens, default=0)
    scores += measure(
        loaded,
        chosen,
        tokens,
        to=target,
        methods=method or (),
        strategies=strategy,
        bm25=bm25,
        window=window,
        seed=seed,
        cache=place,
        quick=quick,
        known=known,
        keep=(lambda found: append(out, found)) if out else (lambda found: None),
        progress=not as_json,
        **engine,
    )
    if mteb:
        _write_mteb(loaded, chosen, tokens, mteb, target, method or (), window, seed=seed, cache=place, **engine)
    say_json([asdict(score) for score in scores]) if as_json else say(markdown(scores))


def _write_mteb(
    model: Any,
    benchmarks: list[Any],
    lengths: list[int],
    folder: Path,
    to: int,
    methods: Sequence[str],
    window: int | None,
    **options: Any,
) -> None:
    """Result files of the model as it stands, and of each extension."""
    from longspan.evaluation.mteb_bridge import write_mteb
    from longspan.inspection import inspect
    from longspan.planning import plan

    made = [plan(inspect(model, window=window), method, to) for method in methods]
    for one in (None, *made):
        for path in write_mteb(model, benchmarks, lengths, folder, plan=one, **options):
            note(f"written to {path}")


def doublings(text: str) -> list[int]:
    """Lengths as they are written: numbers between commas, or ``256..8192`` for each doubling from one to the other.

    Raises:
        SpecError: It is neither.
    """
    found: list[int] = []
    try:
        for part in filter(None, (part.strip() for part in text.split(","))):
            first, _, last = part.partition("..")
            length = int(first)
            while length <= int(last or first):
                found.append(length)
                length *= 2
                if length < 1:
                    raise ValueError
    except ValueError:
        raise SpecError(f"--lengths {text!r} is not a list of numbers.", "write 512,1024,2048 or 256..8192") from None
    return found
