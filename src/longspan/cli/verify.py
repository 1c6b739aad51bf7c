"""longspan verify."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from longspan.cli.main import AsJson, say, say_json, verb
from longspan.logs import quiet


@verb
def verify(
    folder: Annotated[str, typer.Argument(help="A checkpoint written by longspan extend.")],
    as_json: AsJson = False,
) -> None:
    """Reload a checkpoint with stock tools in a clean process and compare vectors."""
    from longspan.storage.verify import verify as check

    quiet()
    found = check(folder)
    if as_json:
        say_json({**asdict(found), "passed": found.passed})
    else:
        say(f"compared with {found.reference}")
        say(f"{'tool':<23}{'tokens':>7}{'cosine':>12}{'difference':>12}  result")
        for one in found.checks:
            result = "FAILED" if not one.passed else "same" if one.expected else "differs, as planned"
            say(f"{one.tool:<23}{one.tokens:>7}{one.cosine:>12.7f}{one.difference:>12.1e}  {result}")
    if not found.passed:
        raise typer.Exit(1)
