"""longspan extend."""

from __future__ import annotations

from longspan.cli.main import AsJson, DType, Method, Model, Out, To, Window, note, say, say_json, verb
from longspan.logs import quiet


@verb
def extend(
    model: Model,
    to: To,
    out: Out,
    method: Method = None,
    window: Window = None,
    dtype: DType = None,
    as_json: AsJson = False,
) -> None:
    """Extend a model and save a checkpoint that stock tools load."""
    from longspan.extension import automatic, plan_of
    from longspan.extension import extend as write
    from longspan.storage.folder import check_target
    from longspan.storage.load import load, original_card, tokenizer_of
    from longspan.storage.save import save

    quiet()
    check_target(out)
    loaded = load(model, dtype=dtype)
    if method and method.strip().lower() == "auto":
        method, why = automatic(loaded, to, window=window)
        note(f"method {method}: {why}")
    longer = write(loaded, to, method, window=window)
    folder = save(longer, out, tokenizer=tokenizer_of(model, longer), original=original_card(model))
    if made := plan_of(longer):
        say_json({"folder": str(folder), **made.to_json()}) if as_json else say(
            f"{made.describe()}\n\nsaved to {folder}"
        )
