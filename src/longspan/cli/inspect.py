"""longspan inspect."""

from __future__ import annotations

from longspan.cli.main import AsJson, Model, Window, say, say_json, verb
from longspan.logs import quiet


@verb
def inspect(model: Model, window: Window = None, as_json: AsJson = False) -> None:
    """Print the facts about a model that methods use; no weights are read."""
    from longspan.inspection import inspect as read

    quiet()
    geometry = read(model, window=window)
    say_json(geometry.to_json()) if as_json else say(geometry.describe())
