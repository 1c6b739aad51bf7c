"""Laws of the components and of the house: cards, names, specifications, who imports whom, how long a file is."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path

import pytest
import torch

import longspan
from longspan import registry, spec
from longspan.card import MethodCard
from longspan.families import ENCODINGS, FAMILIES, Frequencies, family_of
from tests.laws import cases
from tests.laws.cases import LONG, fresh
from tests.models import states, tokens

PACKAGE = Path(longspan.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
METHODS = registry.methods()
COMPONENTS = {**METHODS, **registry.strategies(), **registry.benchmarks()}

every_method = pytest.mark.parametrize("card", METHODS.values(), ids=METHODS)
every_component = pytest.mark.parametrize("card", COMPONENTS.values(), ids=COMPONENTS)
every_file = pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(PACKAGE)) for path in FILES])


@every_component
def test_a_card_says_everything_in_words(card) -> None:
    told = {field.name: getattr(card, field.name) for field in fields(card) if field.name != "native"}
    assert all(value.strip() == value and value for value in told.values() if isinstance(value, str))
    assert 1990 < card.year < 2100


@every_method
def test_a_method_has_a_paper(card) -> None:
    assert re.fullmatch(r"arXiv:\d{4}\.\d{5}", card.source)
    assert card.year - 2000 == int(card.source.removeprefix("arXiv:")[:2])


@every_method
def test_a_methods_card_uses_the_words_of_the_house(card) -> None:
    assert card.training in ("none", "optional", "required")
    assert set(card.roles) <= {"encoder", "decoder"}
    assert card.roles
    assert set(card.encodings) <= set(ENCODINGS[card.family])
    assert card.encodings


def test_names_and_aliases_are_unique() -> None:
    names = [registry.plain(name) for card in METHODS.values() for name in (card.name, *card.aliases)]
    assert sorted(names) == sorted(set(names))


@every_method
def test_every_name_of_a_method_can_be_written_in_a_specification(card) -> None:
    for name in (card.name, *card.aliases, card.name.upper(), card.name.replace("_", "-")):
        assert type(spec.parse(name)[0]) is registry.load(card.name, MethodCard)


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_every_file_of_a_family_is_a_method_or_private(family: str) -> None:
    files = {path.stem for path in (PACKAGE / "methods" / family).glob("*.py") if not path.stem.startswith("_")}
    assert files == {card.name for card in METHODS.values() if card.family == family}


def test_every_family_has_a_folder() -> None:
    folders = {path.name for path in (PACKAGE / "methods").iterdir() if (path / "__init__.py").exists()}
    assert folders == set(FAMILIES)


@every_method
def test_a_method_is_a_frozen_dataclass_named_like_its_file_with_the_verb_of_its_folder(card) -> None:
    component = registry.load(card.name, MethodCard)
    assert is_dataclass(component)
    assert component.__dataclass_params__.frozen
    assert registry.plain(component.__name__) == registry.plain(card.name)
    assert family_of(component()) == card.family


WRITTEN = [
    *METHODS,
    "yarn(beta_fast=16, beta_slow=0.5, truncate=false)",
    "ntk(factor=3)",
    "ntk_by_parts(ramp='dimensions', beta_slow=1e-5)",
    "longrope(factors=(1, 1.5, 2.25), first=4, magnitude='yarn')",
    "llama3(low_freq_factor=2, high_freq_factor=3)",
    "abf(base=1e7)",
    "giraffe_truncated(cutoff=512)",
    "giraffe_power(exponent=0.1)",
    "grouped(adaptive=false)",
    "interpolate(anchors=false)",
    "log_n(by='position', base=128)",
    "temperature(tau=0.75)",
]


@pytest.mark.parametrize("text", WRITTEN)
def test_the_repr_of_a_method_parses_back_to_an_equal_one(text: str) -> None:
    component = spec.parse(text)[0]
    assert spec.parse(repr(component)) == (component,)
    assert spec.parse(spec.short([component])) == (component,)


@dataclass(frozen=True)
class HalfSpeed:
    """A method of a user's own, known to nobody."""

    share: float = 0.5

    def frequencies(self, geometry, factor: float, length: int) -> Frequencies:
        return Frequencies(torch.tensor(geometry.inv_freq, dtype=torch.float64) * self.share)


@pytest.mark.parametrize("architecture", ["llama", "modernbert"])
def test_a_method_of_ones_own_works_unregistered(architecture: str) -> None:
    ours = states(longspan.extend(fresh(architecture), LONG, HalfSpeed()), tokens(1, LONG))
    same = states(longspan.extend(fresh(architecture), cases.WINDOW * 2, "pi"), tokens(1, LONG))
    torch.testing.assert_close(ours, same, rtol=1e-4, atol=1e-4)


# Who may import whom: a room, and the rooms its files may name. What is imported for types only is free.
_NOUNS = {"errors", "values", "jsons", "disk", "card", "registry", "spec", "geometry", "families"}
_VERBS = {"sources", "configs", "seams", "inspection", "identity", "checks", "planning", "extension"}
_TEXTS = {"texts", "reading", "tokenizer", "twin"}
ROOMS = {
    "": set(),
    "errors": set(),
    "values": {"errors"},
    "jsons": set(),
    "logs": set(),
    "disk": {"errors"},
    "contents": {"errors"},
    "telling": {"errors"},
    "card": {"errors"},
    "registry": {"errors", "card"},
    "spec": {"errors", "values", "card", "registry"},
    "geometry": {"errors", "values"},
    "configs": {"errors", "geometry"},
    "families": {"errors", "geometry"},
    "sources": {"errors", "jsons"},
    "methods": {"errors", "disk", "geometry", "families"},
    "distances": {"families"},
    "attention": {"errors", "families"},
    "seams": {"errors", "geometry", "families", "attention", "distances"},
    "inspection": {"errors", "values", "configs", "geometry", "seams", "sources"},
    "identity": {"errors", "contents", "disk", "inspection", "seams", "telling"},
    "checks": _NOUNS,
    "description": {"spec", "promises"},
    "promises": set(),
    "planning": _NOUNS | {"checks", "description", "distances", "promises", ""},
    "drawing": _NOUNS | {"distances"},
    "outcomes": {"errors", "jsons", "disk"},
    "engines": {"spec", "methods", "planning"},
    "texts": {"errors"},
    "tokenizer": {"errors"},
    "twin": {"errors", "planning", "extension", "tokenizer"},
    "extension": _NOUNS | {"checks", "engines", "identity", "inspection", "outcomes", "planning", "seams"},
    "reading": {"errors"},
    "strategies": {"errors", "texts", "reading"},
    "storage": _NOUNS | _VERBS | {"engines", "logs", "promises", "texts", "tokenizer", ""},
    "encoding": _NOUNS | _VERBS | _TEXTS | {"storage", ""},
    "scale": {"errors", "jsons", "logs", "encoding", "storage", "extension"},
    "benchmarks": {"errors", "disk", "jsons"},
    "evaluation": _NOUNS | _VERBS | _TEXTS | {"encoding", "benchmarks", "outcomes", "storage", ""},
    "training": {"errors", "jsons", "logs", "encoding", "storage"},
    "conversion": _NOUNS | _VERBS | _TEXTS | {"logs", "encoding", "training", "storage"},
    "cli": _NOUNS
    | _VERBS
    | {
        "drawing",
        "logs",
        "outcomes",
        "encoding",
        "benchmarks",
        "evaluation",
        "storage",
        "scale",
        "training",
        "conversion",
        "texts",
        "",
    },
}
HEAVY = {"torch", "transformers", "sentence_transformers", "numpy"}
_PURE = {"errors", "values", "jsons", "card", "registry", "spec", "geometry", "texts", "reading"}


def _room(path: Path) -> str:
    return "" if path == PACKAGE / "__init__.py" else path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _imports(path: Path) -> Iterator[str]:
    """Modules a file imports, in full, those for types only left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = [n for n in ast.walk(tree) if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING"]
    free = {id(node) for block in for_types for node in ast.walk(block)}
    for node in ast.walk(tree):
        if id(node) in free:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _rooms_imported(path: Path) -> set[str]:
    ours = [name.split(".")[1] for name in _imports(path) if name.startswith("longspan.")]
    return {name if name in ROOMS else "" for name in ours}


@every_file
def test_a_file_imports_only_the_rooms_its_own_may(path: Path) -> None:
    room = _room(path)
    assert room in ROOMS, f"say here whom {room} may import"
    assert _rooms_imported(path) - {room} <= ROOMS[room]


def test_the_rooms_form_no_circle() -> None:
    left = {room: set(named) - {room, ""} for room, named in ROOMS.items() if room}
    while ready := [room for room, named in left.items() if not named & left.keys()]:
        left = {room: named for room, named in left.items() if room not in ready}
    assert not left


@pytest.mark.parametrize("path", [path for path in FILES if _room(path) == "methods"], ids=lambda path: path.stem)
def test_a_method_imports_torch_and_the_standard_library_and_no_other_method(path: Path) -> None:
    outside = {name.split(".")[0] for name in _imports(path)} - {"longspan"}
    assert outside <= {*sys.stdlib_module_names, "torch"}
    other = {name.split(".")[3] for name in _imports(path) if name.startswith("longspan.methods.")}
    assert all(name.startswith("_") for name in other)


@pytest.mark.parametrize("path", [path for path in FILES if _room(path) in _PURE], ids=lambda path: path.stem)
def test_the_nouns_import_nothing_but_the_standard_library(path: Path) -> None:
    assert {name.split(".")[0] for name in _imports(path)} <= {*sys.stdlib_module_names, "longspan"}


@every_file
def test_a_file_is_short(path: Path) -> None:
    limit = 120 if _room(path) == "methods" else 300
    assert len(path.read_text(encoding="utf-8").splitlines()) <= limit


@every_file
def test_a_file_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
