"""The application and what every verb shares: options, output, errors.

Exit codes: 0 done, 1 failed, 2 asked for something that does not fit.
"""

from __future__ import annotations

import functools
import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from longspan import __version__
from longspan.errors import LongspanError, PlanError, SpecError

Verb = TypeVar("Verb", bound=Callable[..., Any])

app = typer.Typer(
    help="Give a pretrained transformer a longer context window, and prove what was gained.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Model = Annotated[str, typer.Argument(help="Local folder or hub id.")]
To = Annotated[int, typer.Option("--to", help="Target length in tokens.", min=1)]
Method = Annotated[str | None, typer.Option("--method", "-m", help='Specification, such as "interpolate + log_n".')]
Window = Annotated[int | None, typer.Option("--window", help="Trained length, where it is not what the model says.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON to stdout.")]
Out = Annotated[Path, typer.Option("--out", "-o", help="Where to write.")]
Device = Annotated[str | None, typer.Option("--device", help="As torch spells it: cpu, cuda, cuda:1.")]
DType = Annotated[str | None, typer.Option("--dtype", help="As torch spells it: float32, bfloat16.")]
Seed = Annotated[int, typer.Option("--seed", help="Seed of the benchmarks.")]


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        say(__version__)
        raise typer.Exit


def verb(function: Verb) -> Verb:
    """Register a verb; longspan's errors become two lines on stderr and an exit code."""

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            function(*args, **kwargs)
        except LongspanError as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(2 if isinstance(error, (PlanError, SpecError)) else 1) from None
        except KeyboardInterrupt:
            typer.echo("error: interrupted", err=True)
            raise typer.Exit(1) from None

    app.command(name=function.__name__.rstrip("_"))(run)
    return function


def say(text: str) -> None:
    """Data to stdout."""
    typer.echo(text)


def say_json(data: Any) -> None:
    """JSON to stdout."""
    typer.echo(json.dumps(data, indent=2, ensure_ascii=False))


def quiet() -> None:
    """Keep libraries' progress bars and notices off the terminal; errors still come through."""
    import logging

    import transformers

    transformers.utils.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    logging.getLogger("sentence_transformers").setLevel(logging.ERROR)


for _name in ("inspect", "methods", "plan", "extend", "evaluate", "report", "verify"):
    importlib.import_module(f"longspan.cli.{_name}")

if sys.stdout.encoding and sys.stdout.encoding.lower() == "ascii":  # a bare C locale cannot print table rules
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
