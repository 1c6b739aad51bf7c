"""encode: texts of any length to vectors, with an account of what each vector has read."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from tqdm import tqdm

from longspan.encoding.windows import Strategy, Truncate
from longspan.errors import EncodeError
from longspan.seams import anatomy


@dataclass(frozen=True)
class Account:
    """What the windows read of each text.

    Attributes:
        given: Tokens of each text, special ones not counted.
        used: Tokens of each text that a window has read.
    """

    given: list[int]
    used: list[int]

    def overflow(self) -> str:
        """One line on what was dropped, "" when nothing was."""
        cut = [(given, used) for given, used in zip(self.given, self.used, strict=True) if used < given]
        if not cut:
            return ""
        share = 1 - sum(used for _, used in cut) / sum(given for given, _ in cut)
        return f"{len(cut)} of {len(self.given)} inputs lost {share:.0%} of their tokens."


@dataclass(frozen=True)
class Encoded(Account):
    """Vectors and what they have read.

    Attributes:
        vectors: float32 ``[texts, dimension]``, in the order of the texts.
    """

    vectors: np.ndarray


def encode(
    model: Any,
    texts: Sequence[str],
    strategy: Strategy | None = None,
    *,
    prompt: str | None = None,
    batch_tokens: int = 8192,
    on_overflow: Literal["error", "warn", "truncate"] = "warn",
    progress: str = "",
) -> Encoded:
    """Encode texts with a sentence-transformers model, extended or not.

    Texts are tokenised once, sorted by token length and batched by tokens, so that a batch holds little
    padding; vectors come back in the order of the texts.

    Args:
        model: A SentenceTransformer.
        texts: Any length, empty ones included.
        strategy: ``Truncate(length)`` or ``ChunkMean(length)``; None reads as much as the model does.
        prompt: Put in front of every text, such as "query: "; the model's default prompt when None.
        batch_tokens: Padded tokens of a batch; a longer text is a batch of its own.
        on_overflow: What to do when a text is longer than the strategy reads.
        progress: Title of a progress bar on stderr, "" for none.

    Raises:
        EncodeError: The model is no sentence-transformers model, a text is not a string, or a text
            overflows and ``on_overflow`` is "error".

    Example:
        >>> encode(model, [document], ChunkMean(512)).vectors.shape
        (1, 384)
    """
    if not anatomy.is_pipeline(model):
        raise EncodeError(
            f"A {type(model).__name__} does not pool token states into a vector.",
            "load it with sentence_transformers.SentenceTransformer",
        )
    if isinstance(texts, str):
        raise EncodeError("One string was given, not a list of texts.", "write [text]")
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise EncodeError(f"Text {row} is a {type(text).__name__}, not a string.", "pass a list of strings")
    strategy = strategy or Truncate(model.max_seq_length)
    _check_room(model, strategy)
    if prompt is None:
        prompt = model.prompts.get(model.default_prompt_name) or ""
    before, after = _special_tokens(model.tokenizer)
    tokens = _tokenise(model.tokenizer, [prompt + text for text in texts])
    spans = [strategy.spans(len(ids), len(before) + len(after)) for ids in tokens]

    account = Account([len(ids) for ids in tokens], [parts[-1][1] for parts in spans])
    if (lost := account.overflow()) and on_overflow != "truncate":
        if on_overflow == "error":
            raise EncodeError(lost, "extend the model, or use ChunkMean")
        warnings.warn(f"{lost} Extend the model, or use ChunkMean.", stacklevel=2)

    owner = np.array([row for row, parts in enumerate(spans) for _ in parts], dtype=np.int64)
    flat = [
        [*before, *ids[start:end], *after] for ids, parts in zip(tokens, spans, strict=True) for start, end in parts
    ]
    vectors = strategy.merge(_forward(model, flat, batch_tokens, progress), owner, len(texts))
    return Encoded(account.given, account.used, vectors)


def _check_room(model: Any, strategy: Strategy) -> None:
    table = anatomy.position_table(anatomy.transformer(model))
    room = table.module.num_embeddings - anatomy.pad_offset(table.module) if table else strategy.length
    if strategy.length > room:
        raise EncodeError(
            f"A window of {strategy.length} tokens is more than the {room} rows of the position table.",
            f"use at most {room}, or extend the model to {strategy.length}",
        )


def _tokenise(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    if not texts:
        return []
    # verbose=False: the tokenizer would warn that texts exceed a limit that the strategy takes care of.
    ids: list[list[int]] = tokenizer(
        list(texts), add_special_tokens=False, truncation=False, padding=False, verbose=False
    )["input_ids"]
    return ids


def _special_tokens(tokenizer: Any) -> tuple[list[int], list[int]]:
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    full = tokenizer("a")["input_ids"]
    start = next(i for i in range(len(full)) if full[i : i + len(bare)] == bare)
    return full[:start], full[start + len(bare) :]


def _forward(model: Any, windows: list[list[int]], batch_tokens: int, progress: str) -> np.ndarray:
    device, pad = next(model.parameters()).device, model.tokenizer.pad_token_id
    vectors = np.zeros((len(windows), model.get_embedding_dimension()), dtype=np.float32)
    bar = tqdm(total=sum(map(len, windows)), desc=progress, unit="tok", unit_scale=True, disable=not progress)
    model.eval()
    with torch.inference_mode(), bar:
        for rows in _batches([len(window) for window in windows], batch_tokens):
            width = max(len(windows[row]) for row in rows)
            ids = torch.full((len(rows), width), pad, dtype=torch.long)
            mask = torch.zeros_like(ids)
            for place, row in enumerate(rows):
                ids[place, : len(windows[row])] = torch.tensor(windows[row])
                mask[place, : len(windows[row])] = 1
            output = model({"input_ids": ids.to(device), "attention_mask": mask.to(device)})
            vectors[rows] = output["sentence_embedding"].float().cpu().numpy()
            bar.update(sum(len(windows[row]) for row in rows))
    return vectors


def _batches(lengths: list[int], batch_tokens: int) -> Iterator[list[int]]:
    batch: list[int] = []
    # Longest first: memory is highest at once, not at the end.
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        if batch and lengths[batch[0]] * (len(batch) + 1) > batch_tokens:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch
