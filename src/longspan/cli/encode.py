"""longspan encode."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Annotated

import typer

from longspan.cli.main import (
    AsJson,
    Backend,
    Device,
    Dims,
    DType,
    Files,
    Layers,
    Method,
    Out,
    ReadModel,
    Strategy,
    say,
    say_json,
    verb,
)
from longspan.logs import quiet


@verb
def encode(
    files: Files,
    model: ReadModel,
    out: Out,
    strategy: Strategy = None,
    to: Annotated[int | None, typer.Option("--to", help="Extend the model to so many tokens first.", min=1)] = None,
    method: Method = None,
    prompt: Annotated[str | None, typer.Option("--prompt", help='In front of every text, such as "passage: ".')] = None,
    frame: Annotated[str | None, typer.Option("--frame", help="For decoders: echo or one_word.")] = None,
    backend: Backend = "torch",
    dtype: DType = None,
    layers: Layers = None,
    dims: Dims = None,
    batch_tokens: Annotated[int | None, typer.Option("--batch-tokens", help="Tokens of a batch.", min=1)] = None,
    on_overflow: Annotated[
        str, typer.Option("--on-overflow", help="For texts not read whole: error, warn, truncate, chunk or extend.")
    ] = "warn",
    text_column: Annotated[str, typer.Option("--text-column", help="Field of the text.")] = "text",
    id_column: Annotated[str, typer.Option("--id-column", help="Field of the id.")] = "id",
    processes: Annotated[int, typer.Option("--processes", help="How many encode, a model each.", min=1)] = 1,
    engine: Annotated[str, typer.Option("--engine", help="local, or ray for Ray Data.")] = "local",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what another job left there.")] = False,
    device: Device = None,
    as_json: AsJson = False,
) -> None:
    """Encode files into vectors: OUT is .parquet, or .npy with .jsonl beside it.

    A run that was stopped goes on when the same command is given again. Exit code 0 when every row got its
    vectors, 1 when some could not be encoded (OUT.errors.jsonl says which; the rest is written) or the run
    failed, 2 when options do not fit.
    """
    from longspan.encoding.files.rows import Columns
    from longspan.errors import EncodeError
    from longspan.scale.job import encode_files
    from longspan.scale.worker import EncoderSpec

    quiet()
    options = {"to": to, "method": method, "prompt": prompt, "frame": frame, "dtype": dtype, "device": device}
    numbers = {"layers": layers, "dims": dims, "batch_tokens": batch_tokens}
    spec = EncoderSpec(model, strategy, backend=backend, on_overflow=on_overflow, **options, **numbers)  # type: ignore[arg-type]
    try:
        summary = encode_files(
            files,
            out,
            spec,
            columns=Columns(text_column, id_column),
            processes=processes,
            engine=engine,
            overwrite=overwrite,
            progress=sys.stderr.isatty() and not as_json,
        )
    except KeyboardInterrupt:
        raise EncodeError("Interrupted.", "give the same command again: it goes on where it stopped") from None
    say_json(asdict(summary)) if as_json else say(summary.headline())
    for line in summary.warnings():
        if line != summary.overflow or on_overflow == "warn":
            typer.echo(line, err=True)
    if summary.errors:
        raise typer.Exit(1)
