"""longspan verify."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from longspan.cli.evaluate import doublings
from longspan.cli.main import AsJson, note, say, say_json, verb
from longspan.logs import quiet


@verb
def verify(
    folder: Annotated[str, typer.Argument(help="A checkpoint written by longspan extend.")],
    original: Annotated[
        str | None, typer.Option("--original", help="What was extended: folder or hub id; checked by its digest.")
    ] = None,
    lengths: Annotated[
        str, typer.Option(help="Tokens to compare at, such as 16,512,4096; chosen from the window when not given.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Reload a checkpoint with stock tools in a clean process and compare vectors with what they should be.

    The reference is the original, where it is given or on this machine and has the digest that was taken when it was
    extended; otherwise the checkpoint itself, and what that leaves unproven is told. Exit code 0 when every promise
    holds, 1 when one does not.
    """
    from longspan.storage.verify import verify as check

    quiet()
    found = check(folder, doublings(lengths), original=original)
    if as_json:
        say_json({**asdict(found), "passed": found.passed})
    else:
        say(f"compared with {found.reference}")
        if found.unproven:
            note(found.unproven)
        say(f"{'tool':<23}{'tokens':>7}{'cosine':>12}{'difference':>12}  result")
        for one in found.checks:
            result = "FAILED" if not one.passed else "same" if one.expected else "differs, as planned"
            say(f"{one.tool:<23}{one.tokens:>7}{one.cosine:>12.7f}{one.difference:>12.1e}  {result}")
    if not found.passed:
        raise typer.Exit(1)
