"""longspan report."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from longspan.cli.main import AsJson, Out, say, say_json, verb


@verb
def report(
    scores: Annotated[
        list[Path], typer.Argument(help="JSON lines of longspan evaluate --out, or folders of mteb's result files.")
    ],
    out: Out = Path("report.html"),
    title: Annotated[str, typer.Option(help="Title of the page.")] = "Long-context evaluation",
    png: Annotated[Path | None, typer.Option(help="Folder for each figure as a PNG file.")] = None,
    threshold: Annotated[
        float, typer.Option(help="Share of the score at the shortest length that an effective window keeps.")
    ] = 0.85,
    as_json: AsJson = False,
) -> None:
    """Draw scores by length as one self-contained HTML file."""
    from longspan.evaluation.mteb_tasks import read_mteb
    from longspan.evaluation.report import report as draw
    from longspan.evaluation.score import read

    found = [score for path in scores for score in (read_mteb(path) if os.path.isdir(path) else read(path))]
    page = draw(found, out, title=title, png=png, threshold=threshold)
    say_json({"report": str(page)}) if as_json else say(f"written to {page}")
