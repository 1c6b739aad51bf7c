"""longspan bench."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from longspan.cli.main import AsJson, Device, Files, ReadModel, Seed, Strategy, say, say_json, verb
from longspan.logs import quiet


@verb
def bench(
    files: Files,
    model: ReadModel,
    strategy: Strategy = None,
    documents: Annotated[int, typer.Option("--documents", help="How many are drawn from the files.", min=1)] = 32,
    rounds: Annotated[int, typer.Option("--rounds", help="How often each backend encodes them.", min=1)] = 5,
    device: Device = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Find the fastest backend for a model, on your documents and machine."""
    import random

    from longspan.encoding.bench import bench as measure
    from longspan.encoding.bench import verdict
    from longspan.encoding.files.shards import shards
    from longspan.storage.load import load
    from longspan.texts import blank

    quiet()
    texts = [row.text for shard in shards(files) for row in shard.rows() if row.text and not blank(row.text)]
    drawn = random.Random(seed).sample(texts, min(documents, len(texts)))  # noqa: S311 a sample, not a secret
    trials = measure(load(model, device=device), drawn, strategy, rounds=rounds, seed=seed)
    if as_json:
        say_json([asdict(trial) for trial in trials])
        return
    say(f"{len(drawn)} documents, {rounds} rounds in random order\n")
    say(f"{'backend':<20}{'tokens/s':>10}{'per CPU s':>11}{'ratio':>7}{'cosine':>10}")
    for trial in trials:
        numbers = f"{trial.tokens_per_second:>10,.0f}{trial.tokens_per_cpu_second:>11,.0f}{trial.ratio:>7.2f}"
        say(f"{trial.name:<20}" + (f"  {trial.error}" if trial.error else f"{numbers}{trial.cosine:>10.6f}"))
    say(f"\n{verdict(trials)}")
