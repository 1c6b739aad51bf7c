"""longspan compare."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from longspan.cli.main import AsJson, Cache, Device, Model, Seed, To, Window, say, say_json, verb
from longspan.logs import quiet

if TYPE_CHECKING:
    from longspan.evaluation.compare import Comparison


@verb
def compare(
    model: Model,
    to: To,
    data: Annotated[
        Path | None, typer.Option("--data", help="Your documents, with questions (qrels.jsonl) or without any.")
    ] = None,
    benchmark: Annotated[
        str | None, typer.Option("--benchmark", "-b", help="Specification of what to race on.")
    ] = None,
    method: Annotated[
        list[str] | None, typer.Option("--method", "-m", help="A specification; all that apply if none is given.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Race on samples: minutes, and wider intervals.")] = False,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="JSON lines to add scores to, and to go on from.")
    ] = None,
    window: Window = None,
    cache: Cache = None,
    device: Device = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Try every method that applies, choose one by measurement, print the command that applies it."""
    from longspan.evaluation.compare import compare as measure
    from longspan.evaluation.score import append, read
    from longspan.outcomes import cache_folder
    from longspan.storage.load import load

    quiet()
    found = measure(
        load(model, device=device),
        to,
        benchmarks=benchmark,
        data=data,
        methods=method or (),
        window=window,
        seed=seed,
        quick=quick,
        cache=cache or cache_folder() / "vectors.sqlite",
        known=read(out) if out and out.exists() else (),
        keep=(lambda scores: append(out, scores)) if out else (lambda scores: None),
        progress=not as_json,
    )
    say_json(asdict(found)) if as_json else say(_told(found))


def _told(found: Comparison) -> str:
    lines = [f"screened {len(found.screened)} methods on a sample; raced on {', '.join(found.sets)}", ""]
    lines += ["| method | score | to the best (95 %) | short | drift | tokens/s | position data | short inputs |"]
    lines += ["|---|---|---|---|---|---|---|---|"]
    for one in found.contenders:
        gap = "best" if one.method == found.method else f"{one.behind.low:+.4f} to {one.behind.high:+.4f}"
        cells = [
            one.method,
            f"{one.score:.4f}",
            gap,
            "-" if one.short is None else f"{one.short:.4f}",
            "-" if one.drift is None else f"{one.drift:.4f}",
            f"{one.speed:,.0f}",
            f"{one.position_bytes:,} bytes",
            one.short_inputs,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        "score: mean over the sets longer than the trained window, each counted once; short: the same within it;",
    ]
    lines += ["drift: cosine of short texts' vectors before and after (1 is unchanged)."]
    if found.ladder:
        lines += ["", "beside it, without any extension:"]
        lines += [f"  {value:.4f}  {label}" for label, value in found.ladder.items()]
    if found.refused:
        lines += ["", "does not apply:"]
        lines += [f"  {method}: {fact}" for method, fact in found.refused.items()]
    return "\n".join([*lines, "", f"{found.method}: {found.why}.", "", found.command])
