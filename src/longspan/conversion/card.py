"""The README.md of a converted checkpoint."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from longspan.conversion.convert import Converted

_CARD = """---
library_name: sentence-transformers
pipeline_tag: sentence-similarity
base_model: {source}
{licence}tags:
- sentence-transformers
- long-context
- longspan
---
# {name}, rotary

`{source}` with rotary positions in place of its learned ones, made with
[longspan](https://pypi.org/project/longspan/): a closed-form initialisation and {steps} steps of distillation on
texts without labels. It gives the original's vectors with the cosines below, in texts of up to {window} tokens,
and takes every method that extends rotary positions:

```bash
longspan extend {name} --to {longer} --out {name}-{longer}
```

| held-out passages, tokens | {lengths} |
|---|{rule}
{rows}
{beyond}
The same nearest neighbour as with the original: {neighbours}.

Architecture: transformers' JinaEmbeddingsV3Model, which has the layers of BERT and rotary positions; no code of its
own is needed. Weights are of `{source}`, not of Jina AI.
"""

_BEYOND = """
Beyond {window} tokens the original was asked in chunks: the cosine is to one vector made of the vectors that it gives
them, about equally near to each.
"""


def conversion_card(source: str, made: Converted, original: str, original_window: int) -> str:
    """What was done to the model and how near the original it stayed.

    Args:
        source: Folder or hub id of the original.
        made: What the conversion came to.
        original: The original README.md, kept below.
        original_window: Tokens up to which the original was asked in one piece.
    """
    licence = re.search(r"^license: .*\n", original, flags=re.MULTILINE)
    text = _CARD.format(
        source=source.rstrip("/"),
        name=made.folder.name,
        licence=licence.group() if licence else "",
        steps=made.steps,
        window=made.window,
        longer=4 * made.window,
        lengths=" | ".join(map(str, made.cosine)),
        rule="---|" * len(made.cosine),
        rows="\n".join(
            f"| {name} | {' | '.join(f'{value:.3f}' for value in row.values())} |"
            for name, row in made.measured.items()
        ),
        neighbours=made.same_neighbour,
        beyond=_BEYOND.format(window=original_window) if made.window > original_window else "",
    )
    body = re.sub(r"\A---\n.*?\n---\n", "", original, flags=re.DOTALL).strip()
    return f"{text}\n## The original's card\n\n{body}\n" if body else text
