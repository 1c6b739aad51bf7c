"""The page of each family is true: every method has its section, and what it says of models is what plans say."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from longspan import PlanError, plan, registry, spec
from longspan.families import FAMILIES
from tests.laws import cases

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ["by_length", *FAMILIES]
STATIC = [
    name
    for name, card in registry.methods().items()
    if card.family == "frequencies" and not getattr(spec.parse(name)[0], "by_length", False)
]
SHORT = {"exact": "exact", "adaptive": "exact in longspan", "changed": "changed"}
SHOWN = {
    "bert": "BERT",
    "electra": "ELECTRA",
    "distilbert": "DistilBERT",
    "roberta": "RoBERTa",
    "gpt2": "GPT-2",
    "opt": "OPT",
    "modernbert": "ModernBERT",
    "nomic_bert": "NomicBERT",
    "eurobert": "EuroBERT",
    "gte": "GTE",
    "llama": "Llama",
    "mistral": "Mistral",
    "qwen3": "Qwen",
    "phi3": "Phi-3",
    "gemma3_text": "Gemma 3",
    "gpt_neox": "GPT-NeoX",
}
"""Architecture -> its name on the page about scales."""


def page(name: str) -> str:
    return (DOCS / f"{name}.md").read_text()


def section(name: str) -> tuple[str, str]:
    """A method's page, and its section there."""
    family = registry.methods()[name].family
    text = page(family if family != "frequencies" or name in STATIC else "by_length")
    (found,) = re.findall(rf"^## {name}$(.*?)(?=^## |\Z)", text, flags=re.MULTILINE | re.DOTALL)
    return text, found


def rows(text: str) -> list[list[str]]:
    """The cells of every line of a table."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]


@pytest.mark.parametrize("name", [name for name, card in registry.methods().items() if card.family in FAMILIES])
def test_every_method_has_its_formula_its_picture_and_its_parameters(name: str) -> None:
    text, found = section(name)
    assert re.search(r"^```\n.+?^```$", found, flags=re.MULTILINE | re.DOTALL), "no formula"
    assert f"](pictures/{name}.svg)" in found
    code = "\n".join(re.findall(r"```.*?```|`[^`\n]+`", text, flags=re.DOTALL))
    parameters = [field.name for field in fields(spec.parse(name)[0])]
    assert [each for each in parameters if not re.search(rf"\b{each}\b", code)] == []


@pytest.mark.parametrize("name", PAGES)
def test_every_specification_on_a_page_is_one(name: str) -> None:
    known = "|".join(registry.methods())
    found = re.findall(rf"[`\"]((?:{known})(?:\([^`\"]*\))?(?: \+ [^`\"]*)?)[`\"]", page(name))
    assert found
    for written in found:
        assert spec.parse(written), written


@pytest.mark.parametrize("name", STATIC)
def test_the_page_names_the_rope_type_that_a_plan_writes(name: str) -> None:
    written = plan(cases.rotary(), name, 8192).rope_parameters
    native = next(line for line in section(name)[1].splitlines() if line.startswith("- Native:"))
    assert f"`rope_type` `{written['rope_type']}`" in native
    assert ("`rope_theta`" in native) == (written["rope_theta"] != 1e4)


def test_what_the_page_says_of_tables_is_what_plans_say() -> None:
    told = [row for row in rows(page("tables")) if row[1:2] in (["yes"], ["refused"])]
    assert sorted(row[0].strip("`") for row in told) == sorted(cases.specs("tables", "learned", "encoder"))
    for written, encoder, decoder, short, stock in told:
        made = plan(cases.learned(64), written.strip("`"), 256)
        assert (encoder, SHORT[made.short_inputs]) == ("yes", short)
        assert (stock == "same") == made.native
        assert (stock == "same beyond the window") == (not made.native and made.same_in_stock(65))
        if decoder == "yes":
            assert plan(cases.learned(64, role="decoder"), written.strip("`"), 256).native
        else:
            with pytest.raises(PlanError, match="cached keys"):
                plan(cases.learned(64, role="decoder"), written.strip("`"), 256)


@pytest.mark.parametrize("architecture", SHOWN)
def test_the_page_says_where_the_factor_of_a_model_goes(architecture: str) -> None:
    geometry = cases.geometry(architecture)
    home = plan(geometry, "tile + su" if geometry.encoding == "learned" else "su", cases.LONG).scale_home
    (said,) = [
        row[1]
        for row in rows(page("scales"))
        if row[0] == "constant" and re.search(rf"(?<![\w-]){SHOWN[architecture]}\b(?! with)", row[2])
    ]
    assert {"rotation": "cos and sin", "queries": "query projections", "attention": "at run time"}[home] in said


def test_a_map_by_length_sends_a_factor_into_the_queries_of_a_llama() -> None:
    assert plan(cases.geometry("llama"), "dynamic_ntk + su", cases.LONG).scale_home == "queries"
    assert "Llama with a map by length" in page("scales")
