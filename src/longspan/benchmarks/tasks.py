"""The nouns of benchmarks: what a set asks, one class for each kind of answer.

A benchmark is a frozen dataclass in ``benchmarks/<family>/<name>.py`` with two functions. ``examples(length, seed)``
builds a set, ``score(example, output)`` judges one answer, every metric in 0..1 unless the card says otherwise.

===========  =============  ======================  ===============================  ==========================
family       set            example                 output                           the perfect output
===========  =============  ======================  ===============================  ==========================
retrieval    Retrieval      ids of right documents  document ids, best first         those ids
generation   Questions      Question                the reply, a text                ``Question.gold``
likelihood   Passages       a text                  log-probability of each token    zeros: each token was sure
vectors      Labelled       the set                 a vector of each of its texts    depends on the benchmark
===========  =============  ======================  ===============================  ==========================

A benchmark whose texts have lengths of their own says ``natural = True`` and takes no length; one that is a
collection has ``task`` and ``parts()``, the benchmarks it consists of. One that reads files has ``folder``, and its
module ``twin(folder)``, which writes a small made-up set in the same layout: documentation of the layout, and what
the laws run on without a network.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

Count = Callable[[str], int]
"""Tokens of a text."""


def usual_count(text: str) -> int:
    """Tokens of an English text where no tokenizer is at hand: a token is taken as 0.75 word."""
    return -(-4 * len(text.split()) // 3)


def name_of(benchmark: object) -> str:
    """A benchmark's name: that of the file of its class."""
    return type(benchmark).__module__.rsplit(".", 1)[-1]


@dataclass(frozen=True)
class Retrieval:
    """Questions over documents.

    Attributes:
        name: The set's name.
        length: Nominal length of the documents [tokens], None where they come as they are.
        documents: Document id to text, sorted by id.
        queries: Query id to text, sorted by id.
        relevant: Query id to the ids of its right documents, at least one.
        depth: Query id to where in its document the evidence begins [0..1]; empty if unknown.
    """

    name: str
    length: int | None
    documents: dict[str, str]
    queries: dict[str, str]
    relevant: dict[str, tuple[str, ...]]
    depth: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Question:
    """A text that a language model continues.

    Attributes:
        prompt: All that it reads, long context included.
        answers: What is right; whether one of them or all must be told is the benchmark's.
        gold: A reply that scores 1.
        new_tokens: How many it may write.
        stop: Texts at which its reply ends.
        choices: What it may choose from, by likelihood; empty where it writes.
        depth: Where in the prompt the evidence begins [0..1], None if unknown.
        images: What it looks at beside the text: PIL images.
        facts: What else the score needs.
    """

    prompt: str
    answers: tuple[str, ...]
    gold: str
    new_tokens: int = 32
    stop: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    depth: float | None = None
    images: tuple[Any, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Questions:
    """Texts to continue.

    Attributes:
        name: The set's name.
        length: Length of the prompts [tokens], None where they come as they are.
        questions: Id to question, sorted by id.
    """

    name: str
    length: int | None
    questions: dict[str, Question]


@dataclass(frozen=True)
class Passages:
    """Texts whose tokens are predicted.

    Attributes:
        name: The set's name.
        length: How many tokens of each are read.
        scored: How many of them, at the end, are predicted.
        texts: Id to text, sorted by id; each has at least ``length`` tokens.
    """

    name: str
    length: int
    scored: int
    texts: dict[str, str]


@dataclass(frozen=True)
class Labelled:
    """Texts whose vectors are looked at.

    Attributes:
        name: The set's name.
        length: Tokens that are read of each, None where they come as they are.
        texts: Id to text.
        labels: Id to class, for a probe; empty where there are none.
        pairs: Ids of two texts and how alike people find them, for similarity; empty where there are none.
    """

    name: str
    length: int | None
    texts: dict[str, str]
    labels: dict[str, str] = field(default_factory=dict)
    pairs: tuple[tuple[str, str, float], ...] = ()


Set = Retrieval | Questions | Passages | Labelled


def digest(examples: Any) -> str:
    """First 12 hex digits of a set's SHA-256: two scores compare only where these are equal."""
    parts = [repr(getattr(examples, f.name)) for f in fields(examples)]
    return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:12]
