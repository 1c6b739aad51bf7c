"""Texts to tokens, and tokens to the rows that a forward pass reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from longspan.encoding.refusals import LEAVE_OUT, check_prompt, check_rows, refusal
from longspan.errors import BlankTextError, EncodeError
from longspan.reading import Span, Text
from longspan.tokenizer import around, own, tokens_of

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
        return Row(row, content, (content, content + len(ids)))


def frame(tokenizer: Any, kind: FrameKind | None, *, prompt: str = "", mode: str) -> Frame:
    """Read what a tokenizer puts around a text, with the words of a decoder's frame.

    Args:
        tokenizer: A transformers tokenizer.
        kind: "echo" reads every window twice and pools the second reading (Springer et al. 2024); "one_word"
            asks for the text in one word (PromptEOL, Jiang et al. 2023), to be pooled at the last token.
        prompt: The prompt in front of every text.
        mode: How the model pools.

    Raises:
        EncodeError: The prompt is no text, there is no such frame, its words have no tokens, or it is not made for
            how the model pools.
    """
    check_prompt(prompt)
    before, after = around(tokenizer)
    if kind is None:
        return Frame(before, after, prompt=_counted(tokenizer, prompt, before, after))
    if kind == "echo":
        return Frame(before, after, again=tuple(_ids(tokenizer, "\n")))
    if kind == "one_word":
        if mode != "lasttoken":
            raise EncodeError(
                f"The frame one_word is pooled at the last token, this model pools by {mode}.",
                "use longspan.embedder(..., pooling='lasttoken')",
            )
        opening, closing = (_ids(tokenizer, words) for words in _ONE_WORD)
        if not opening or not closing:
            raise EncodeError(
                "The words of the frame one_word have no token in this vocabulary.", "use a model that knows English"
            )
        # Nothing behind the open quote: the state there is the one that names the word.
        return Frame((*before, *opening), tuple(closing))
    raise EncodeError(f"There is no frame named {kind!r}.", "use echo or one_word")


def check_tokens(one: Tokenised, frame: Frame, rows: int | None) -> None:
    """Check that a text that shows something is something to the tokenizer, and each token to the model.

    Args:
        one: The text.
        frame: What stands around its windows.
        rows: Of the model's embedding of words, None where there is no such table.

    Raises:
        BlankTextError: It has no token.
        EncodeError: A token of it has no row.
    """
    if not one.ids:
        characters = len(one.text.text)
        raise BlankTextError(f"None of its {characters} characters has a token in this vocabulary.", LEAVE_OUT)
    check_rows(one.ids, rows)
    check_rows((*frame.before, *frame.after, *(frame.again or ()), *one.prompt), rows)


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


def told_apart(
    tokenizer: Any, texts: Sequence[Any], prompt: str, spans: Sequence[Sequence[Span] | EncodeError | None]
) -> tuple[dict[int, Tokenised], dict[int, EncodeError]]:
    """Tokenise what can be read; by place, the texts that strategies see, and why the others cannot be read."""
    fine: dict[int, tuple[str, Sequence[Span] | None]] = {}
    errors: dict[int, EncodeError] = {}
    for place, (text, given) in enumerate(zip(texts, spans, strict=True)):
        if error := refusal(text):
            errors[place] = error
        elif isinstance(given, EncodeError):
            errors[place] = given
        else:
            fine[place] = text, given
    found = tokenise(tokenizer, [text for text, _ in fine.values()], prompt, [given for _, given in fine.values()])
    read: dict[int, Tokenised] = {}
    for place, one in zip(fine, found, strict=True):
        if isinstance(one, EncodeError):
            errors[place] = one
        else:
            read[place] = one
    return read, errors


def tokenise(
    tokenizer: Any, texts: Sequence[str], prompt: str, spans: Sequence[Sequence[Span] | None]
) -> list[Tokenised | EncodeError]:
    """Tokenise texts at once, in parallel, each with the prompt in front of it as the model saw it in training.

    Returns:
        For each text what strategies see, or why the tokenizer cannot read it.
    """
    if not texts:
        return []
    try:
        batch = uncut(tokenizer, [prompt + text for text in texts])
    except EncodeError as error:
        if len(texts) == 1:
            return [error]
        each = zip(texts, spans, strict=True)
        return [one for text, given in each for one in tokenise(tokenizer, [text], prompt, [given])]
    found: list[Tokenised | EncodeError] = []
    for place, (text, ids) in enumerate(zip(texts, batch["input_ids"], strict=True)):
        encoding = batch.encodings[place] if batch.encodings else None
        first = _prompt_tokens(tokenizer, encoding, prompt, ids)
        offsets = _Offsets(encoding, first, len(ids) - first, len(prompt)) if encoding is not None else None
        found.append(Tokenised(Text(text, len(ids) - first, offsets, spans[place]), ids[first:], ids[:first]))
    return found


def uncut(tokenizer: Any, texts: Sequence[str]) -> Any:
    """The tokenizer's batch of texts of any length: nothing is added, nothing cut, and the tokenizer is left alone.

    Raises:
        EncodeError: The tokenizer cannot read a text, as one without an unknown token cannot read unknown words.
    """
    return tokens_of(
        own(tokenizer),
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
    row = [*before, *_ids(tokenizer, prompt), *after] if prompt else []
    return len(row) - (row[-1] in tokenizer.all_special_ids) if row else 0


def _prompt_tokens(tokenizer: Any, encoding: Any, prompt: str, ids: list[int]) -> int:
    if not prompt:
        return 0
    if encoding is None:
        return min(len(_ids(tokenizer, prompt)), len(ids))
    count = 0
    while count < len(ids) and (at := encoding.token_to_chars(count)) and at[1] <= len(prompt):
        count += 1
    return count


def _ids(tokenizer: Any, text: str) -> list[int]:
    found: list[int] = uncut(tokenizer, [text])["input_ids"][0]
    return found
