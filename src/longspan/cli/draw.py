"""longspan draw."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from longspan.cli.main import AsJson, say, verb
from longspan.errors import PlanError


@verb
def draw(
    method: Annotated[str, typer.Argument(help='A specification, such as "dca" or "self_extend(group=4) + yarn".')],
    to: Annotated[
        int | None, typer.Option("--to", help="Target length in tokens; without a model four windows.")
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", help="Local folder or hub id; a small model that is made up if none.")
    ] = None,
    window: Annotated[
        int | None, typer.Option("--window", help="Trained length; 64 without a model, else what the model says.")
    ] = None,
    role: Annotated[
        Literal["encoder", "decoder"] | None,
        typer.Option("--role", help="Of the model that is made up; decoder if it is rotary."),
    ] = None,
    base: Annotated[
        float | None, typer.Option("--base", help="RoPE theta of the model that is made up; 10000.")
    ] = None,
    head_dim: Annotated[
        int | None, typer.Option("--head-dim", help="Channels of a head of the model that is made up; 64.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="A .svg, .png or .pdf file; METHOD.svg if not given.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Draw what a method makes of positions: distances, wavelengths, rows or factors; --json prints the numbers."""
    from longspan.drawing.picture import draw as write
    from longspan.drawing.picture import numbers, synthetic
    from longspan.inspection import inspect
    from longspan.logs import quiet
    from longspan.planning import plan

    quiet()
    if model is None:
        geometry = synthetic(method, role=role, window=window, base=base, head_dim=head_dim)
        to = 4 * geometry.window if to is None else to
    elif to is None or (role, base, head_dim) != (None, None, None):
        raise PlanError(
            "A picture of a model needs --to, and takes role, base and head_dim from the model.",
            "give --to 4096 and leave --role, --base and --head-dim out",
        )
    else:
        geometry = inspect(model, window=window)
    made = plan(geometry, method, to)
    # On one line: a matrix has more numbers than anyone scrolls through.
    say(json.dumps(numbers(made))) if as_json else say(f"written to {write(made, out)}")
