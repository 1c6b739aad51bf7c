"""Hints can be followed: what they name works for the model at hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sentence_transformers import SentenceTransformer

import longspan
from tests.pipelines import pipeline

LONG = "baba codi " * 100


@pytest.fixture(scope="module")
def saved(tmp_path_factory: Any) -> Path:
    folder = tmp_path_factory.mktemp("hints")
    pipeline(folder / "parts").save(str(folder / "original"), create_model_card=False)
    model = longspan.load(folder / "original", device="cpu")
    with pytest.warns(UserWarning, match="stock tools load"):
        longspan.save(longspan.extend(model, to=128, method="interpolate + log_n"), folder / "longer")
    return Path(folder)


def test_what_was_loaded_extended_names_its_original(saved: Path) -> None:
    model = longspan.load(saved / "longer", device="cpu")
    with pytest.raises(longspan.PlanError, match=r"extended to 128 tokens.*\n.*extend the original, .*original"):
        longspan.extend(model, to=256)
    with pytest.raises(longspan.PlanError, match="extend the original"):
        longspan.encode(model, [LONG], on_overflow="extend")
    with pytest.warns(UserWarning, match=r"longspan extend .*original --to"):
        longspan.encode(model, [LONG])


def test_what_stock_tools_loaded_is_told_by_encode_and_save(saved: Path, tmp_path: Path) -> None:
    model = SentenceTransformer(str(saved / "longer"), device="cpu")
    with pytest.warns(UserWarning, match="without length-dependent positions and the factor on the logits; longspan"):
        longspan.encode(model, ["baba codi"])
    with pytest.raises(longspan.StorageError, match=r"loaded by stock tools[^\n]*\nhint: .*longspan\.load"):
        longspan.save(model, tmp_path / "again")


def test_spans_that_have_no_effect_are_refused(saved: Path) -> None:
    model, spans = longspan.load(saved / "original", device="cpu"), [[(0, 4), (5, 9)]]
    for strategy in (None, "late", "chunk_mean", "long_late(chunks='sentences')"):
        with pytest.raises(longspan.EncodeError, match="takes no notice of them"):
            longspan.encode(model, ["baba codi"], strategy, spans=spans)
    assert len(longspan.encode(model, ["baba codi"], "late(chunks='spans')", spans=spans).vectors) == 2


def test_a_name_is_no_model_and_a_number_no_list(saved: Path) -> None:
    for verb in (longspan.extend, longspan.restore, longspan.plan_of):
        with pytest.raises(longspan.InspectError, match=r"A str was given where a model belongs[\s\S]*longspan\.load"):
            verb("a-model")
    with pytest.raises(longspan.BenchmarkError, match="The lengths must be whole numbers, not 256"):
        list(longspan.evaluate(longspan.load(saved / "original"), "passkey", 256))  # type: ignore[arg-type]
    with pytest.raises(longspan.StorageError, match="no list of lengths"):
        longspan.verify(saved / "longer", lengths=16)  # type: ignore[arg-type]
    with pytest.raises(longspan.StorageError, match=r"give a folder with a config\.json"):
        longspan.load(saved / "nowhere")
