"""What tests of convert share: a tiny model, texts, and the conversion of one with the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import longspan
from longspan.conversion.convert import convert
from tests.conversions import RECIPE
from tests.pipelines import pipeline, write_texts


@pytest.fixture(scope="session")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_texts(tmp_path_factory.mktemp("corpus") / "texts")


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with the tiny pipeline, and a prompt."""
    folder = tmp_path_factory.mktemp("original")
    model = pipeline(folder / "parts")
    model.prompts = {"query": "baba baco ", "document": ""}
    model.save(str(folder / "tiny"), create_model_card=False)
    (folder / "tiny" / "README.md").write_text("---\nlicense: mit\n---\nThe text of the original.\n")
    return str(folder / "tiny")


@pytest.fixture(scope="session")
def converted(original: str, texts: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("converted") / "rotary"
    with pytest.warns(UserWarning, match="tokens are few for a distillation"):
        return convert(
            longspan.load(original), texts, out=folder, recipe=RECIPE, original="---\nlicense: mit\n---\nTold."
        )
