"""The application and what every verb shares: options, output, errors.

Exit codes: 0 done, 1 failed, 2 asked for something that does not fit.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from longspan import __version__
from longspan.errors import LongspanError, PlanError, SpecError

# Before torch is imported: threads that wait spin by default, and take the cores that other jobs could use.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

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
Method = Annotated[str | None, typer.Option("--method", "-m", help='Such as "interpolate + log_n", or auto.')]
Window = Annotated[int | None, typer.Option("--window", help="Trained length, where it is not what the model says.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON to stdout.")]
Out = Annotated[Path, typer.Option("--out", "-o", help="Where to write.")]
Device = Annotated[str | None, typer.Option("--device", help="As torch spells it: cpu, cuda, cuda:1.")]
DType = Annotated[str | None, typer.Option("--dtype", help="float32, bfloat16, float16; to encode also int8.")]
Files = Annotated[
    list[str],
    typer.Argument(help="Files and folders: .jsonl, .ndjson, either with .gz, .parquet; .txt, .md: one document."),
]
ReadModel = Annotated[str, typer.Option("--model", help="Local folder or hub id.")]
Strategy = Annotated[
    str | None, typer.Option("--strategy", "-s", help='How long texts are read, such as "late(window=512)".')
]
Backend = Annotated[str, typer.Option("--backend", help="torch, onnx or openvino.")]
Layers = Annotated[int | None, typer.Option("--layers", help="First layers to run, all when not given.", min=1)]
Dims = Annotated[int | None, typer.Option("--dims", help="First dimensions to keep, all when not given.", min=1)]
Data = Annotated[
    Path | None, typer.Option("--data", help="Folder with a folder for each set that is not shipped, named like it.")
]
Cache = Annotated[
    Path | None, typer.Option("--cache", help="File that keeps vectors for the next run; in the user's cache if none.")
]
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
            with warnings.catch_warnings():
                warnings.showwarning = _warn
                function(*args, **kwargs)
        except LongspanError as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(2 if isinstance(error, (PlanError, SpecError)) else 1) from None
        except KeyboardInterrupt:
            typer.echo("error: interrupted", err=True)
            raise typer.Exit(1) from None

    app.command(name=function.__name__.rstrip("_"))(run)
    return function


def _warn(
    message: Warning | str, category: Any, filename: str, lineno: int, file: Any = None, line: Any = None
) -> None:
    """A warning as one line, without the place in the source that raised it."""
    typer.echo(f"warning: {message}", err=True)


def say(text: str) -> None:
    """Data to stdout."""
    typer.echo(text)


def note(text: str) -> None:
    """What a reader should know, but no program: to stderr."""
    typer.echo(text, err=True)


def say_json(data: Any) -> None:
    """JSON to stdout."""
    typer.echo(json.dumps(data, indent=2, ensure_ascii=False))


for _name in (
    "inspect",
    "methods",
    "plan",
    "draw",
    "extend",
    "convert",
    "encode",
    "bench",
    "evaluate",
    "compare",
    "report",
    "verify",
):
    importlib.import_module(f"longspan.cli.{_name}")

if sys.stdout.encoding and sys.stdout.encoding.lower() == "ascii":  # a bare C locale cannot print table rules
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
