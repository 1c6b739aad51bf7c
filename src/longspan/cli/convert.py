"""longspan convert."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from longspan.cli.main import AsJson, Device, Model, Out, Window, note, say, say_json, verb
from longspan.logs import quiet

Corpus = Annotated[
    list[str],
    typer.Option("--corpus", "-c", help="Texts to learn from: files and folders, as encode takes them; repeatable."),
]
Until = Annotated[float | None, typer.Option("--until", help="Stop at this held-out cosine, such as 0.98.")]
Steps = Annotated[int, typer.Option("--steps", help="Steps at most.", min=1)]
Budget = Annotated[int, typer.Option("--budget", help="Tokens a step.", min=1)]
Rate = Annotated[float, typer.Option("--learning-rate", help="Its peak.")]
CheckEvery = Annotated[int, typer.Option("--check-every", help="Steps from one checkpoint to the next.", min=1)]
Longest = Annotated[
    int | None, typer.Option("--to", help="Distil at length as well: longest text in tokens to read in one forward.")
]
Start = Annotated[Path | None, typer.Option("--from", help="Earlier conversion of the model, to go on from.")]
Base = Annotated[float, typer.Option("--base", help="Of the rotation.")]
Words = Annotated[bool, typer.Option("--train-words", help="Train word vectors too.")]
Seed = Annotated[int, typer.Option("--seed", help="Of the passages.")]
Column = Annotated[str, typer.Option("--column", help="Field of the texts.")]


@verb
def convert(
    model: Model,
    corpus: Corpus,
    out: Out,
    to: Longest = None,
    start: Start = None,
    window: Window = None,
    until: Until = None,
    steps: Steps = 2000,
    budget: Budget = 2048,
    learning_rate: Rate = 3e-4,
    check_every: CheckEvery = 100,
    base: Base = 1_000_000.0,
    train_words: Words = False,
    column: Column = "text",
    device: Device = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Give an embedding model rotary positions, which every strong extension needs."""
    from longspan.conversion.convert import convert as run
    from longspan.conversion.work import work_folder
    from longspan.storage.folder import check_target
    from longspan.storage.load import load, original_card
    from longspan.training.run import Recipe, last_whole

    quiet()
    check_target(out)
    recipe = Recipe(
        steps=steps,
        budget=budget,
        learning_rate=learning_rate,
        until=until,
        check_every=check_every,
        seed=seed,
        to=to,
        train_words=train_words,
    )
    paths: list[str | Path] = list(corpus)
    read, card = load(model, device=device), original_card(model)
    try:
        made = run(
            read, paths, out=out, recipe=recipe, start=start, window=window, base=base, column=column, original=card
        )
    except KeyboardInterrupt:
        if whole := last_whole(work_folder(out)):
            note(f"checkpoints are kept in {whole.parent}; the same command goes on from {whole.name}")
        raise
    if as_json:
        say_json({**asdict(made), "folder": str(made.folder)})
    else:
        say(f"{made.describe()}\n\nsaved to {made.folder}")
