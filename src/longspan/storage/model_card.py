"""The README.md of an extended checkpoint."""

from __future__ import annotations

import re

from longspan import spec
from longspan.engines import engines
from longspan.planning import Plan
from longspan.promises import beyond_stock

_CARD = """---
library_name: {library}
pipeline_tag: {pipeline_tag}
base_model: {base}
{licence}tags:
- {library}
- long-context
- longspan
---
# {name}, {window} -> {length} tokens

`{base}` extended from {window} to {length} tokens with [longspan](https://pypi.org/project/longspan/).

| | |
|---|---|
| method | `{methods}` |
| trained window | {window} tokens |
| window now | {length} tokens ({factor:g}x) |
| inputs within the trained window | {short} |
| stock transformers and sentence-transformers | {stock} |
{loading}
Weights were not trained at the new length. Measure before you rely on it: `longspan evaluate`.

```bash
longspan extend {base} --to {length} --method "{methods}" --window {window} --out {name}-{length}
```

{sources}
"""
_TAGS = {
    "": "text-generation",
    "SentenceTransformer": "sentence-similarity",
    "SparseEncoder": "feature-extraction",
    "CrossEncoder": "text-ranking",
}
"""What the hub calls the task of each class."""

_LOADING = """
## Loading

> **Stock tools load {less}.** They take inputs of up to {length} tokens, but do not apply {parts}: {which}.

```python
import longspan

model = longspan.load("{name}-{length}")  # applies all of it
```
"""


def model_card(made: Plan, *, pipeline: str = "", original: str = "", had_engine_key: bool = False) -> str:
    """What was done to the model, how to repeat it, and whom to cite.

    Args:
        made: The plan the model was extended by.
        pipeline: Class of the sentence-transformers model, "" for a bare transformers model.
        original: The original README.md, kept below.
        had_engine_key: Whether the original's configuration set dual chunk attention for vLLM and SGLang.
    """
    base = made.geometry.source.rstrip("/") or made.geometry.architecture
    name = base.split("/")[-1]
    stock = "load it, same outputs" if made.native else "load it, other outputs: use `longspan.load`"
    licence = re.search(r"^license: .*\n", original, flags=re.MULTILINE)
    sources = "\n".join(f"- {card.title}: {card.authors} {card.year}, {card.source}" for card in made.cards)
    text = _CARD.format(
        library="sentence-transformers" if pipeline else "transformers",
        pipeline_tag=_TAGS[pipeline],
        base=base,
        name=name,
        licence=licence.group() if licence else "",
        methods=spec.short(made.methods) or "none",
        window=made.geometry.window,
        length=made.length,
        factor=made.factor,
        short=_short_inputs(made),
        stock=stock,
        loading=_loading(made, name, engines(made, had_key=had_engine_key)),
        sources=f"## Sources\n\n{sources}" if sources else "",
    )
    body = re.sub(r"\A---\n.*?\n---\n", "", original, flags=re.DOTALL).strip()
    return f"{text}\n## The original's card\n\n{body}\n" if body else text


def _loading(made: Plan, name: str, served: str) -> str:
    text = ""
    if parts := beyond_stock(made):
        extends = made.rope_parameters or made.of("tables")
        text = _LOADING.format(
            less="less than this model" if extends else "the short model",
            length=made.length,
            parts=" and ".join(parts),
            which=_which(made),
            name=name,
        )
    return f"{text}\n{served}\n" if served else text


def _which(made: Plan) -> str:
    """Which inputs come out of stock tools as they do here."""
    window = made.geometry.window
    if _short_same(made):
        return f"inputs of up to {window} tokens come out as in longspan, longer ones do not"
    if all(made.same_in_stock(length) for length in (window + 1, made.length)):
        return f"only inputs of more than {window} tokens come out as in longspan"
    return "no input is sure to come out as in longspan"


def _short_same(made: Plan) -> bool:
    return all(made.same_in_stock(length) for length in (max(made.geometry.window // 2, 1), made.geometry.window))


def _short_inputs(made: Plan) -> str:
    if made.short_inputs != "adaptive":
        return {"exact": "bit-identical to the original", "changed": "changed"}[made.short_inputs]
    if made.late and "sliding_attention" in made.geometry.layer_types:
        return "equal to the original but for the order of sums, in stock tools too"
    if _short_same(made):
        return "bit-identical to the original, in stock tools too"
    return "bit-identical to the original in longspan; changed in stock tools"
