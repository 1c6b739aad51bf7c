"""Siblings of SentenceTransformer: each is itself after extend, save and load, or refused by name at every entry."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import CrossEncoder, MultiVectorEncoder, SentenceTransformer, SparseEncoder
from sentence_transformers.base.modules import Router
from sentence_transformers.sentence_transformer.modules import Dense, Pooling, StaticEmbedding, Transformer
from transformers import (
    AutoConfig,
    AutoModelForMaskedLM,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

import longspan
from tests.models import ALL
from tests.pipelines import WINDOW, WORDS, pipeline, tiny_tokenizer

SHORT, LONG, LONGER = (" ".join(WORDS[i % 97] for i in range(count)) for count in (20, 100, 140))


def headed(folder: Path, kind: Any) -> str:
    """A tiny BERT with a head, as transformers saves it."""
    torch.manual_seed(0)
    model = kind.from_config(AutoConfig.for_model("bert", **{**ALL["bert"], "max_position_embeddings": WINDOW}))
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return str(folder)


def sparse(folder: Path) -> Any:
    return SparseEncoder(headed(folder, AutoModelForMaskedLM), device="cpu")


def cross(folder: Path) -> Any:
    return CrossEncoder(headed(folder, AutoModelForSequenceClassification), device="cpu")


def router(folder: Path) -> Any:
    pipeline(folder)
    routes = [[Transformer(str(folder)), Pooling(32)] for _ in range(2)]
    return SentenceTransformer(modules=[Router.for_query_document(*routes)], device="cpu")


def static(folder: Path) -> Any:
    return SentenceTransformer(modules=[StaticEmbedding(tiny_tokenizer(), embedding_dim=32)], device="cpu")


def multi(folder: Path) -> Any:
    pipeline(folder)
    return MultiVectorEncoder(str(folder), device="cpu")


def read(model: Any, text: str) -> np.ndarray:
    if isinstance(model, CrossEncoder):
        return np.asarray(model.predict([(" ".join(WORDS[:4]), text)]))
    return model.encode([text]).to_dense().numpy()


def parallel(folder: Path) -> Any:
    model = pipeline(folder)
    model[0].model = torch.nn.DataParallel(model[0].model)
    return model


EXTENDED = {"SparseEncoder": sparse, "CrossEncoder": cross}
REFUSED = {"Router": router, "StaticEmbedding": static, "MultiVectorEncoder": multi}


@pytest.mark.filterwarnings("ignore:stock tools load")
@pytest.mark.parametrize("method", ["tile", "grouped"])
@pytest.mark.parametrize("kind", EXTENDED)
def test_a_sibling_is_itself_after_extend_save_and_load(kind: str, method: str, tmp_path: Path) -> None:
    model = EXTENDED[kind](tmp_path / "original")
    short = read(model, SHORT)
    longspan.extend(model, to=2 * WINDOW, method=method)
    assert np.allclose(read(model, SHORT), short, atol=1e-5)
    assert not np.allclose(read(model, LONG), read(model, LONGER), atol=1e-4)
    folder = longspan.save(model, tmp_path / "longer")
    again = longspan.load(folder, device="cpu")
    assert type(again).__name__ == kind
    assert again.max_seq_length == 2 * WINDOW
    for text in (SHORT, LONG):
        assert np.allclose(read(again, text), read(model, text), atol=1e-5)


ENTRIES: dict[str, Callable[[Any, Path], object]] = {
    "inspect": lambda model, folder: longspan.inspect(model),
    "extend": lambda model, folder: longspan.extend(model, to=2 * WINDOW),
    "save": lambda model, folder: longspan.save(model, folder / "saved"),
    "encode": lambda model, folder: longspan.encode(model, [SHORT]),
    "evaluate": lambda model, folder: list(longspan.evaluate(model, "passkey(documents=2, queries=2)", [WINDOW])),
    "convert": lambda model, folder: longspan.convert(model, [LONG], out=folder / "converted"),
    "load": lambda model, folder: longspan.load(_saved(model, folder)),
    "inspect its folder": lambda model, folder: longspan.inspect(_saved(model, folder)),
}


def _saved(model: Any, folder: Path) -> str:
    model.save(str(folder / "stock"), create_model_card=False)
    return str(folder / "stock")


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_not_one_transformer_is_refused_by_name_at_every_entry(kind: str, tmp_path: Path) -> None:
    model = REFUSED[kind](tmp_path / "original")
    for entry, enter in ENTRIES.items():
        (tmp_path / entry).mkdir()
        with pytest.raises(longspan.LongspanError, match=rf"{kind}[\s\S]*hint: "):
            enter(model, tmp_path / entry)


def test_a_wrapped_transformer_is_refused_by_name(tmp_path: Path) -> None:
    model = parallel(tmp_path)
    for entry in ("inspect", "extend", "save", "encode", "convert"):
        with pytest.raises(longspan.LongspanError, match=r"is inside a DataParallel[\s\S]*hint: "):
            ENTRIES[entry](model, tmp_path)


@pytest.mark.parametrize("kind", EXTENDED)
def test_a_sibling_makes_no_dense_vectors(kind: str, tmp_path: Path) -> None:
    model = EXTENDED[kind](tmp_path / "original")
    for entry in ("encode", "evaluate"):
        with pytest.raises(longspan.EncodeError, match=f"A {kind} makes no dense vector of a text"):
            ENTRIES[entry](model, tmp_path)


@pytest.mark.parametrize("kind", [AutoModelForTokenClassification, AutoModelForQuestionAnswering])
def test_a_head_that_would_be_lost_is_refused_by_name(kind: Any, tmp_path: Path) -> None:
    folder = headed(tmp_path, kind)
    for way in (longspan.load, longspan.inspect, longspan.embedder):
        with pytest.raises(longspan.LongspanError, match=r"BertFor\w+, whose head \(\w+\) would be lost"):
            way(folder)


def test_a_plain_encoder_is_the_mean_of_its_states(tmp_path: Path) -> None:
    folder = headed(tmp_path, AutoModelForMaskedLM)
    assert type(longspan.load(folder)).__name__ == "SentenceTransformer"
    assert longspan.inspect(folder).window == WINDOW


def test_a_router_behind_the_pooling_is_extended_and_comes_back(tmp_path: Path) -> None:
    pipeline(tmp_path / "parts")
    routes = Router.for_query_document([Dense(32, 16)], [Dense(32, 16)])
    model = SentenceTransformer(modules=[Transformer(str(tmp_path / "parts")), Pooling(32), routes], device="cpu")
    longspan.extend(model, to=2 * WINDOW, method="tile")
    again = longspan.load(longspan.save(model, tmp_path / "longer"), device="cpu")
    for task in ("query", "document"):
        assert np.allclose(again.encode([LONG], task=task), model.encode([LONG], task=task), atol=1e-6)
