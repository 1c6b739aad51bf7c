"""The README.md of an extended checkpoint."""

from __future__ import annotations

import re

from longspan import spec
from longspan.planning import Plan

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

Weights were not trained at the new length. Measure before you rely on it: `longspan evaluate`.

```bash
longspan extend {base} --to {length} --method "{methods}" --out {name}-{length}
```

{sources}
"""
_SHORT = {
    "exact": "bit-identical to the original",
    "adaptive": "bit-identical to the original in longspan; changed in stock tools",
    "changed": "changed",
}


def model_card(made: Plan, *, pipeline: bool, original: str = "") -> str:
    """What was done to the model, how to repeat it, and whom to cite.

    Args:
        made: The plan the model was extended by.
        pipeline: Whether the checkpoint is a sentence-transformers folder.
        original: The original README.md, kept below.
    """
    base = made.geometry.source.rstrip("/") or made.geometry.architecture
    stock = "load it, same vectors" if made.native else "load it, other vectors: use `longspan.load`"
    licence = re.search(r"^license: .*\n", original, flags=re.MULTILINE)
    sources = "\n".join(f"- {card.title}: {card.authors} {card.year}, {card.source}" for card in made.cards)
    text = _CARD.format(
        library="sentence-transformers" if pipeline else "transformers",
        pipeline_tag="sentence-similarity" if pipeline else "text-generation",
        base=base,
        name=base.split("/")[-1],
        licence=licence.group() if licence else "",
        methods=spec.short(made.methods) or "none",
        window=made.geometry.window,
        length=made.length,
        factor=made.factor,
        short=_SHORT[made.short_inputs],
        stock=stock,
        sources=f"## Sources\n\n{sources}" if sources else "",
    )
    body = re.sub(r"\A---\n.*?\n---\n", "", original, flags=re.DOTALL).strip()
    return f"{text}\n## The original's card\n\n{body}\n" if body else text
