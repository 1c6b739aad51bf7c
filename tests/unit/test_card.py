"""Cards: read without importing, and refused when they are not what a card is."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from longspan import registry
from longspan.card import BenchmarkCard, MethodCard, read_card
from longspan.errors import CardError, SpecError

GOOD = {
    "title": "A method",
    "source": "arXiv:2401.00001",
    "year": 2024,
    "authors": "Someone et al.",
    "encodings": ("rope",),
    "training": "none",
    "cost": "none",
    "native": "",
    "claim": "better (Table 1)",
    "best_for": "trying",
    "caution": "never measured",
}


def _file(folder: Path, text: str) -> Path:
    path = folder / "frequencies" / "a_method.py"
    path.parent.mkdir()
    path.write_text(text, encoding="utf-8")
    return path


def test_a_good_card_is_read_with_its_name_and_family(tmp_path: Path) -> None:
    card = read_card(_file(tmp_path, f"CARD = {GOOD!r}\n"), MethodCard)
    assert (card.name, card.family, card.title) == ("a_method", "frequencies", "A method")
    assert card.roles == ("encoder", "decoder")
    assert card.aliases == ()


def test_the_file_is_not_run(tmp_path: Path) -> None:
    text = f"import nosuchmodule\nraise SystemExit\nCARD = {GOOD!r}\n"
    assert read_card(_file(tmp_path, text), MethodCard).year == 2024
    assert "nosuchmodule" not in sys.modules


@pytest.mark.parametrize(
    "text",
    [
        "",
        "'''Only words.'''",
        "card = {}",
        "CARD = make()",
        "CARD = {**OTHER}",
        "CARD = ['a', 'list']",
        "CARD = 'words'",
        "CARD = None",
        "if True:\n    CARD = {}",
        "CARD = {'year': 2000 + YEAR}",
        "CARD = {[]: 1}",
    ],
)
def test_no_literal_card_is_told(tmp_path: Path, text: str) -> None:
    with pytest.raises(CardError, match="no literal CARD"):
        read_card(_file(tmp_path, text), MethodCard)


@pytest.mark.parametrize("missing", GOOD)
def test_a_missing_field_is_named(tmp_path: Path, missing: str) -> None:
    card = {name: value for name, value in GOOD.items() if name != missing}
    with pytest.raises(CardError, match=missing):
        read_card(_file(tmp_path, f"CARD = {card!r}"), MethodCard)


def test_a_misspelt_field_is_named_with_the_fields_there_are(tmp_path: Path) -> None:
    with pytest.raises(CardError, match="colour") as error:
        read_card(_file(tmp_path, f"CARD = {dict(GOOD, colour='red')!r}"), MethodCard)
    assert "best_for" in error.value.hint


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("year", "2024"),
        ("year", 2024.0),
        ("year", True),
        ("encodings", "rope"),
        ("encodings", ["rope"]),
        ("aliases", "other"),
        ("title", None),
        ("title", ("a", "b")),
        ("training", True),
    ],
)
def test_a_field_of_a_wrong_type_is_told_with_its_value(tmp_path: Path, field: str, value: object) -> None:
    with pytest.raises(CardError, match=field):
        read_card(_file(tmp_path, f"CARD = {dict(GOOD, **{field: value})!r}"), MethodCard)


def test_a_file_that_is_no_python_is_a_card_error(tmp_path: Path) -> None:
    with pytest.raises(CardError):
        read_card(_file(tmp_path, "CARD = {"), MethodCard)


def test_a_method_is_no_benchmark() -> None:
    with pytest.raises(SpecError, match="no benchmark named 'yarn'"):
        registry.load("yarn", BenchmarkCard)


def test_cards_come_in_the_order_of_their_folders() -> None:
    cards = list(registry.methods().values())
    assert [(card.family, card.name) for card in cards] == sorted((card.family, card.name) for card in cards)
