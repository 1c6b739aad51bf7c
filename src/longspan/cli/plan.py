"""longspan plan."""

from __future__ import annotations

from longspan.cli.main import AsJson, Method, Model, To, Window, say, say_json, verb
from longspan.logs import quiet


@verb
def plan(model: Model, to: To, method: Method = None, window: Window = None, as_json: AsJson = False) -> None:
    """Print what an extension would change and cost; nothing is written and no weights are read."""
    from longspan.inspection import inspect
    from longspan.planning import plan as make

    quiet()
    made = make(inspect(model, window=window), method, to)
    say_json(made.to_json()) if as_json else say(made.describe())
