"""Texts to tokens, and tokens to the rows that a forward pass reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from longspan.errors import EncodeError
from longspan.reading import Span, Text

_ONE_WORD = ('This sentence : "', '" means in one word:"')  # PromptEOL's words (Jiang et al. 2023)

FrameKind = Literal["echo", "one_word"]


class Row(NamedTuple):
    """What one forward pass reads.

    Attributes:
        ids: Token ids, special ones, prompt and frame included.
        content: Place of the first token of the text.
        pooled: First and last + 1 of the tokens whose states are pooled.
        prompt: How many of these, special ones and prompt, a model leaves out that does not pool its prompt.
    """

    ids: list[int]
    content: int
    pooled: Span
    prompt: int = 0


@dataclass(frozen=True)
class Frame:
    """What stands around the tokens of every window.

    Attributes:
        before: Special tokens and words in front.
        after: Those behind.
        again: None to read the tokens once; else what stands between two readings of them, of which only the
            second is pooled.
        prompt: Tokens up to the end of the prompt, as sentence-transformers counts them; 0 without a prompt.
    """

    before: tuple[int, ...]
    after: tuple[int, ...]
    again: tuple[int, ...] | None = None
    prompt: int = 0

    def room(self, window: int, prompt: int) -> int:
        """Tokens of a text that fit a window beside ``prompt`` tokens of prompt.

        Raises:
            EncodeError: None does.
        """
        taken = len(self.before) + len(self.after) + prompt + len(self.again or ())
        room = (window - taken) // (1 if self.again is None else 2)
        if room < 1:
            raise EncodeError(
                f"A window of {window} tokens leaves no room beside {taken} special tokens"
                f"{' and words around the text' if prompt or self.again is not None else ''}.",
                f"use at least {taken + (1 if self.again is None else 2)}",
            )
        return room

    def wrap(self, ids: Sequence[int], prompt: Sequence[int]) -> Row:
        """The row of one window of a text."""
        front = [*self.before, *prompt]
        if self.again is None:
            row = [*front, *ids, *self.after]
            return Row(row, len(front), (0, len(row)), self.prompt)
        content = len(front) + len(ids) + len(self.again)
        row = [*front, *ids, *self.again, *ids, *self.after]
        return Row(row, content, (content, content + len(ids)) if ids else (0, len(row)))


def frame(tokenizer: Any, kind: FrameKind | None, *, prompt: str = "", mode: str) -> Frame:
    """Read what a tokenizer puts around a text, with the words of a decoder's frame.

    Args:
        tokenizer: A transformers tokenizer.
        kind: "echo" reads every window twice and pools the second reading (Springer et al. 2024); "one_word"
            asks for the text in one word (PromptEOL, Jiang et al. 2023), to be pooled at the last token.
        prompt: The prompt in front of every text.
        mode: How the model pools.

    Raises:
        EncodeError: There is no such frame, or it is not made for how the model pools.
    """
    bare = _ids(tokenizer, "a", special=False)
    full = _ids(tokenizer, "a", special=True)
    start = next(i for i in range(len(full)) if full[i : i + len(bare)] == bare)
    before, after = full[:start], full[start + len(bare) :]
    if kind is None:
        return Frame(tuple(before), tuple(after), prompt=_counted(tokenizer, prompt, before, after))
    if kind == "echo":
        return Frame(tuple(before), tuple(after), again=tuple(_ids(tokenizer, "\n", special=False)))
    if kind == "one_word":
        if mode != "lasttoken":
            raise EncodeError(
                f"The frame one_word is pooled at the last token, this model pools by {mode}.",
                "use longspan.embedder(..., pooling='lasttoken')",
            )
        opening, closing = (_ids(tokenizer, words, special=False) for words in _ONE_WORD)
        # Nothing behind the open quote: the state there is the one that names the word.
        return Frame((*before, *opening), tuple(closing))
    raise EncodeError(f"There is no frame named {kind!r}.", "use echo or one_word")


def refusal(text: Any) -> EncodeError | None:
    """Why a text cannot be encoded, None when it can."""
    if not isinstance(text, str):
        return EncodeError(f"It is a {type(text).__name__}, not a string.", "pass a list of strings")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        fact = f"Character {error.start} is a lone surrogate, U+{ord(text[error.start]):04X}, which no text holds."
        return EncodeError(fact, "read the text with errors='replace'")
    return None


class Tokenised(NamedTuple):
    """A text and the tokens of its window rows.

    Attributes:
        text: What strategies see.
        ids: Its token ids.
        prompt: Token ids of the prompt in front of it.
    """

    text: Text
    ids: list[int]
    prompt: list[int]


def tokenise(
    tokenizer: Any, texts: Sequence[str], prompt: str, spans: Sequence[Sequence[Span] | None]
) -> list[Tokenised]:
    """Tokenise texts at once, in parallel, each with the prompt in front of it as the model saw it in training."""
    if not texts:
        return []
    batch = uncut(tokenizer, [prompt + text for text in texts])
    found = []
    for place, (text, ids) in enumerate(zip(texts, batch["input_ids"], strict=True)):
        encoding = batch.encodings[place] if batch.encodings else None
        first = _prompt_tokens(tokenizer, encoding, prompt, ids)
        offsets = _Offsets(encoding, first, len(ids) - first, len(prompt)) if encoding is not None else None
        found.append(Tokenised(Text(text, len(ids) - first, offsets, spans[place]), ids[first:], ids[:first]))
    return found


def uncut(tokenizer: Any, texts: Sequence[str]) -> Any:
    """The tokenizer's batch of texts of any length: nothing is added, nothing cut."""
    return tokenizer(
        list(texts),
        add_special_tokens=False,
        truncation=False,
        padding=False,
        return_attention_mask=False,
        return_token_type_ids=False,
        verbose=False,  # it would warn of texts that exceed a limit, which is the caller's care
    )


class _Offsets(Sequence[Span]):
    """Characters of each token, asked of the tokenizer one by one.

    A list of them takes longer to make, for a book, than its tokens.
    """

    def __init__(self, encoding: Any, first: int, tokens: int, shift: int) -> None:
        self.encoding = encoding
        self.first = first
        self.tokens = tokens
        self.shift = shift

    def __len__(self) -> int:
        return self.tokens

    def __getitem__(self, token: Any) -> Any:
        start, end = self.encoding.token_to_chars(self.first + token)
        return max(start - self.shift, 0), max(end - self.shift, 0)


def _counted(tokenizer: Any, prompt: str, before: Sequence[int], after: Sequence[int]) -> int:
    # As sentence-transformers: the prompt alone is framed, and a special token at the end is not counted.
    row = [*before, *_ids(tokenizer, prompt, special=False), *after] if prompt else []
    return len(row) - (row[-1] in tokenizer.all_special_ids) if row else 0


def _prompt_tokens(tokenizer: Any, encoding: Any, prompt: str, ids: list[int]) -> int:
    if not prompt:
        return 0
    if encoding is None:
        return min(len(_ids(tokenizer, prompt, special=False)), len(ids))
    count = 0
    while count < len(ids) and (at := encoding.token_to_chars(count)) and at[1] <= len(prompt):
        count += 1
    return count


def _ids(tokenizer: Any, text: str, *, special: bool) -> list[int]:
    found: list[int] = tokenizer(text, add_special_tokens=special, verbose=False)["input_ids"]
    return found
