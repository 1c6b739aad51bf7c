"""A corpus for training: the documents of files as token ids, one after another."""

from __future__ import annotations

import hashlib
import re
import warnings
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from longspan.encoding.files.pieces import Limits
from longspan.encoding.files.rows import Columns
from longspan.encoding.files.shards import Reader, files, scan
from longspan.encoding.tokens import uncut
from longspan.errors import ConvertError, EncodeError

FEW = 500_000
"""Tokens below which `read_corpus` warns: a short distillation reads about 800,000."""

# Letters a token in words of three letters and more, and unknown tokens among them, by all-MiniLM-L6-v2's English
# WordPiece:
#   English by genre 4.2 (tales) to 5.8 (law), lowest of 117 documents 4.0; Python 4.3; C headers 3.7; biomedical
#   terms 3.4; unknown nowhere above 0.1 %
#   Spanish 2.8, French 2.7, German 2.7, Finnish 2.4, Hungarian 2.1, Turkish 2.1; Hindi 1.5 with 25 % unknown;
#   Russian, Greek and Arabic 1.0
#   Chinese 1.0 with 65 % unknown, Japanese 1.0 with 24 %, Korean 0.5 with 4 %
# Words alone are measured: numbers have 1.6 characters a token, and emoji are unknown, in any language. A Chinese
# tokenizer has one token a character too, so syllables and ideographs have a measure of their own.
_LETTERS = 2.9
_SYLLABLES = 0.9
_UNKNOWN = 0.02
_WORD = re.compile(r"[^\W\d_]{3,}")
_SYLLABIC = re.compile("[\u1100-\u11ff\u2e80-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff]")
_ENOUGH = 100  # letters without which nothing is said on the language

_PIECE = 16_384  # characters that are tokenised at once, at most
_BATCH = 2**20  # characters of the pieces of a batch
_SAMPLE = 256  # characters of a piece whose words are measured, more where a batch has few pieces
_SAMPLES = 80  # pieces of a batch that are


@dataclass(frozen=True, eq=False)
class Corpus:
    """Documents as token ids.

    Attributes:
        tokens: All documents one after another, no special tokens, int32 ``[tokens]``.
        starts: Where each document begins, and the end of the last, int64 ``[documents + 1]``.
        digest: Hash of both; a resumed run knows its corpus by it.
    """

    tokens: np.ndarray
    starts: np.ndarray
    digest: str

    def __len__(self) -> int:
        """How many documents."""
        return len(self.starts) - 1

    def document(self, index: int) -> np.ndarray:
        """The tokens of one document, a view.

        Raises:
            IndexError: There is none of this number.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"document {index} of {len(self)}")
        return self.tokens[self.starts[index] : self.starts[index + 1]]

    def split(self, held_out: int, seed: int) -> tuple[Corpus, Corpus]:
        """Hold documents out, whole ones, the same for the same seed.

        Args:
            held_out: About so many tokens are held out, at most a tenth of all; where every document is longer
                than that, the shortest one.
            seed: Decides which.

        Returns:
            The rest and what is held out, each in the order of this corpus.

        Raises:
            ConvertError: ``held_out`` is not positive, or there is one document only.
        """
        if held_out < 1:
            raise ConvertError(f"{held_out} tokens to hold out are none.", "hold out at least 1")
        if len(self) < 2:
            raise ConvertError(
                f"A corpus of {len(self)} document leaves none to hold out.", "give two documents or more"
            )
        sizes = np.diff(self.starts)
        aim = min(held_out, len(self.tokens) // 10)
        order = np.random.default_rng(seed).permutation(len(self))
        taken, held = np.zeros(len(self), bool), 0
        for index in order:
            if held + sizes[index] <= aim:
                taken[index] = True
                held += int(sizes[index])
            if held >= 0.9 * aim:  # going on to the last token would pick the shortest documents of all
                break
        if not taken.any():
            taken[order[np.argmin(sizes[order])]] = True
        return self._only(np.flatnonzero(~taken)), self._only(np.flatnonzero(taken))

    def _only(self, documents: np.ndarray) -> Corpus:
        sizes = np.diff(self.starts)[documents]
        return _corpus(np.concatenate([self.document(int(index)) for index in documents]), sizes)


def read_corpus(
    paths: Sequence[str | Path], tokenizer: Any, *, column: str = "text", limit: int | None = None
) -> Corpus:
    """Read and tokenise files, in their order; documents without a token are left out.

    A long document is tokenised in pieces that end at paragraph or line breaks. WordPiece tokens do not reach over
    one, so they are those of the whole document.

    Args:
        paths: Files, and folders to walk: .jsonl, .ndjson, either with .gz, .txt, .md, .parquet. A text or Markdown
            file is one document.
        tokenizer: A transformers tokenizer.
        column: Field of the text.
        limit: Read at most so many tokens, the first ones; the last document is cut there. None for all.

    Raises:
        ConvertError: There are no files, one cannot be read, a row is broken, or there is no token.

    Warns:
        UserWarning: There is more than ``limit``, there are fewer tokens than `FEW`, or the words of the texts fall
            apart as those of a language do that the tokenizer was not made for.
    """
    if limit is not None and limit < 1:
        raise ConvertError(f"A limit of {limit} tokens leaves no corpus.", "give 1 or more, or None for all")
    ids, language, texts = array("i"), _Language(tokenizer), 0
    sizes: list[int] = []
    with tqdm(desc="read", unit="tok", unit_scale=True, delay=5, disable=None) as bar:
        for batch in _batches(_texts(paths, column)):
            language.see([piece for _, piece in batch])
            made = uncut(tokenizer, [piece for _, piece in batch])["input_ids"]
            for (document, _), found in zip(batch, made, strict=True):
                sizes += [0] * (document + 1 - len(sizes))
                sizes[document] += len(found)
                ids.extend(found)
                bar.update(len(found))
            texts = batch[-1][0] + 1
            if limit is not None and len(ids) > limit:
                break
    if not texts:
        raise ConvertError("The files hold no text.", 'give texts: one {"text": "..."} a line, or .txt files')
    if not ids:
        raise ConvertError(
            f"The tokenizer finds no token in the {texts:,} texts that were read.",
            f"check that the field {column!r} holds the texts",
        )
    kept = np.array(sizes, np.int64)
    if limit is not None and len(ids) > limit:
        kept = np.diff(np.minimum(np.cumsum(kept), limit), prepend=0)
        _warn(
            f"only the first {limit:,} tokens are read, {np.count_nonzero(kept):,} documents in the order of the"
            " files; mix the sources if the files are sorted by them"
        )
    corpus = _corpus(np.frombuffer(ids, np.intc)[:limit], kept[kept > 0])
    if len(corpus.tokens) < FEW:
        _warn(
            f"{len(corpus.tokens):,} tokens are few for a distillation: it will read the same ones again and again;"
            f" give {FEW:,} or more"
        )
    if told := language.told():
        _warn(told)
    return corpus


class _Language:
    """Words of the texts against the tokenizer: letters, tokens, unknown ones."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        unknown = getattr(tokenizer, "unk_token_id", None)
        self._unknown_id = -1 if unknown is None else int(unknown)
        self._letters = self._syllables = self._tokens = self._unknown = 0

    def see(self, pieces: Sequence[str]) -> None:
        """Count in a sample of a batch; a few percent of it where the pieces are long."""
        step, size = -(-len(pieces) // _SAMPLES), max(_SAMPLE, _SAMPLE * _SAMPLES // len(pieces))
        words = [word for piece in pieces[::step] for word in _WORD.findall(piece[:size])]
        if not words:
            return
        (ids,) = uncut(self._tokenizer, [" ".join(words)])["input_ids"]
        syllables = sum(len(_SYLLABIC.findall(word)) for word in words)
        self._syllables += syllables
        self._letters += sum(map(len, words)) - syllables
        self._tokens += len(ids)
        self._unknown += ids.count(self._unknown_id)

    def told(self) -> str:
        """The warning, "" where the tokenizer fits the texts."""
        seen = self._letters + self._syllables
        if seen < _ENOUGH or not self._tokens:
            return ""
        expected, unknown = self._letters / _LETTERS + self._syllables / _SYLLABLES, self._unknown / self._tokens
        if self._tokens <= expected and unknown <= _UNKNOWN:
            return ""
        return (
            f"the words of the texts have {seen / self._tokens:.1f} letters a token and {unknown:.1%} unknown tokens;"
            " this tokenizer was made for another language"
        )


def _texts(paths: Sequence[str | Path], column: str) -> Iterator[str]:
    # Not shards(): it reads all files to their ends before the first row, and a limit may need few of them.
    columns, limits, place = Columns(text=column), Limits(), 0
    try:
        with Reader() as reader:
            for path in files(paths):
                for piece in scan(path, place, columns, limits):
                    place += piece.rows
                    for row in reader.rows(piece, columns):
                        if row.text is None:
                            raise row.error or EncodeError(f"{row.source}, line {row.line}: there is no text.")
                        yield row.text
    except EncodeError as error:
        raise ConvertError(error.fact, error.hint) from None


def _batches(texts: Iterator[str]) -> Iterator[list[tuple[int, str]]]:
    """Pieces with the number of their document, about _BATCH characters at once."""
    held: list[tuple[int, str]] = []
    size = 0
    for document, text in enumerate(text for text in texts if not text.isspace() and text):
        for piece in pieces(text):
            held.append((document, piece))
            size += len(piece)
            if size >= _BATCH:
                yield held
                held, size = [], 0
    if held:
        yield held


def pieces(text: str, size: int = _PIECE) -> Iterator[str]:
    """Cut a text into pieces of at most ``size`` characters, which joined are the text.

    A piece ends behind the last empty line, else the last line break, else the last space of its second half; a text
    without any is cut anywhere.
    """
    start = 0
    while len(text) - start > size:
        middle, end = start + size // 2, start + size
        found = ((text.rfind(mark, middle, end), len(mark)) for mark in ("\n\n", "\r\n\r\n", "\n", " "))
        cut = next((at + length for at, length in found if at >= 0), end)
        yield text[start:cut]
        start = cut
    if start < len(text):
        yield text[start:]


def _corpus(tokens: np.ndarray, sizes: np.ndarray) -> Corpus:
    tokens = np.ascontiguousarray(tokens, np.int32)
    starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    digest = hashlib.blake2b(f"{len(starts)} ".encode(), digest_size=8)
    digest.update(starts.astype("<i8").tobytes())
    digest.update(tokens.astype("<i4", copy=False).data)
    return Corpus(tokens, starts, digest.hexdigest())


def _warn(told: str) -> None:
    warnings.warn(told, stacklevel=3)
