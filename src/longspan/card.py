"""Cards: what a component is, its source, what it costs and what its paper claims.

A component file holds a literal ``CARD = {...}``. It is read by parsing the source,
so listing every component never imports torch. Only judgements stand on a card; what
can be measured is joined from ``results/``.
"""

from __future__ import annotations

import ast
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from longspan.errors import CardError

AnyCard = TypeVar("AnyCard", bound="Card")


@dataclass(frozen=True, kw_only=True)
class Card:
    """What every component says about itself.

    Attributes:
        name: File name without its suffix; the component's id.
        family: Folder the file stands in.
        title: Name as the paper spells it.
        source: arXiv id ("arXiv:2306.15595") or another public reference.
        year: Year of first publication.
        authors: First author, "et al." where there are more.
        claim: The paper's headline number with its table or figure, never ours.
        caution: When it disappoints.
        aliases: Other names it is known by.
    """

    room: ClassVar[str]
    noun: ClassVar[str]

    name: str
    family: str
    title: str
    source: str
    year: int
    authors: str
    claim: str
    caution: str
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class MethodCard(Card):
    """The card of a context-extension method.

    Attributes:
        encodings: Position encodings it applies to: learned, rope, alibi.
        roles: encoder, decoder, or both.
        training: none, optional or required.
        cost: Inference cost relative to the unextended model.
        native: What a stock tool needs to load the result, "" where longspan must be installed.
        best_for: When to choose it.
        grid: Specifications that ``compare`` tries, () for the defaults alone.
    """

    room: ClassVar[str] = "methods"
    noun: ClassVar[str] = "method"

    encodings: tuple[str, ...]
    roles: tuple[str, ...] = ("encoder", "decoder")
    training: str
    cost: str
    native: str
    best_for: str
    grid: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class BenchmarkCard(Card):
    """The card of a benchmark.

    Attributes:
        task: What is asked, in one clause.
        metrics: Names of the metrics that ``score`` returns, the main one first.
        scope: How much needed information there is: low, middle or high (arXiv:2407.00402).
        diffusion: How hard it is to find: low, middle or high (arXiv:2407.00402).
        licence: Licence of the data.
        lower: Metrics of which less is better.
    """

    room: ClassVar[str] = "benchmarks"
    noun: ClassVar[str] = "benchmark"

    task: str
    metrics: tuple[str, ...]
    scope: str
    diffusion: str
    licence: str
    lower: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class StrategyCard(Card):
    """The card of a recipe around a model that is left as it is.

    Attributes:
        vectors: How many a document gets: one or several.
        cost: What is computed and stored, beside one window.
        best_for: When to choose it.
    """

    room: ClassVar[str] = "strategies"
    noun: ClassVar[str] = "strategy"

    vectors: str
    cost: str
    best_for: str


def read_card(path: Path, kind: type[AnyCard]) -> AnyCard:
    """Read the literal ``CARD`` of a component file without importing it.

    Args:
        path: A component's Python file.
        kind: The card type of the file's room.

    Raises:
        CardError: There is no literal ``CARD``, or a field is missing, unknown or of a wrong type.
    """
    literal = _literal(path)
    known = {field.name: field for field in fields(kind)}
    given = {**literal, "name": path.stem, "family": path.parent.name}
    required = {name for name, field in known.items() if field.default is MISSING}
    if wrong := sorted(required - given.keys()) + sorted(given.keys() - known.keys()):
        raise CardError(
            f"The card of {path.name} lacks or misspells {', '.join(wrong)}.",
            f"a {kind.__name__} has the fields {', '.join(known)}",
        )
    for name, value in given.items():
        expected = {"year": int}.get(name, tuple if "tuple" in str(known[name].type) else str)
        if type(value) is not expected:
            raise CardError(
                f"The card of {path.name} has {name}={value!r}, which is not a {expected.__name__}.",
                "write a tuple with a trailing comma where a tuple is expected",
            )
    return kind(**given)


def _literal(path: Path) -> dict[str, Any]:
    try:
        body = ast.parse(path.read_text(encoding="utf-8")).body
    except SyntaxError as error:
        raise CardError(f"{path.name} is not Python: {error}.", "correct the file; it is read, not imported") from None
    for node in body:
        if isinstance(node, ast.Assign) and [ast.unparse(t) for t in node.targets] == ["CARD"]:
            try:
                literal = ast.literal_eval(node.value)
            except (ValueError, TypeError):
                break
            if isinstance(literal, dict):
                return literal
            break
    raise CardError(
        f"{path.name} has no literal CARD.",
        "write CARD = {...} with strings, numbers and tuples only",
    )
