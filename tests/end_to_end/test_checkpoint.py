"""Extend, save, verify, load: the checkpoint is what stock tools think it is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

import longspan
from longspan.benchmarks.retrieval.fairytaleqa import FairytaleQA
from tests import models

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
TALES = list(FairytaleQA().examples(None, seed=0).documents.values())
LONG = " ".join(TALES[:4])


def extended_folder(folder: Path, method: str, length: int = 1024) -> Path:
    model = longspan.extend(longspan.load(MODEL), to=length, method=method)
    return Path(longspan.save(model, folder / "longer", original="---\nlicense: apache-2.0\n---\nThe original's text."))


@pytest.fixture(scope="module")
def tiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return extended_folder(tmp_path_factory.mktemp("tiled"), "tile", 4096)


def test_the_five_places_agree(tiled: Path) -> None:
    def read(name: str) -> Any:
        return json.loads((tiled / name).read_text())

    assert read("config.json")["max_position_embeddings"] == 4096
    assert read("tokenizer_config.json")["model_max_length"] == 4096
    assert read("tokenizer.json")["truncation"]["max_length"] == 4096
    assert read("sentence_bert_config.json")["max_seq_length"] == 4096
    assert read("config.json")["longspan"]["methods"] == "Tile()"


def test_plain_sentence_transformers_reads_a_4000_token_document(tiled: Path, tmp_path: Path) -> None:
    script = (
        "import sys, numpy as np\n"
        "from sentence_transformers import SentenceTransformer\n"
        "model = SentenceTransformer(sys.argv[1])\n"
        "text = open(sys.argv[2]).read()\n"
        "assert model.max_seq_length == 4096 and 'longspan' not in sys.modules\n"
        "assert 4000 < len(model.tokenizer(text)['input_ids']) < 4097\n"
        "np.save(sys.argv[3], model.encode([text, text[:-100], text[: len(text) // 2]]))\n"
    )
    text, answer = tmp_path / "text.txt", tmp_path / "vectors.npy"
    tokens = longspan.load(tiled).tokenizer(LONG, return_offsets_mapping=True)["offset_mapping"]
    text.write_text(LONG[: tokens[4050][1]])
    run = subprocess.run(
        [sys.executable, "-c", script, str(tiled), str(text), str(answer)], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    vectors = np.load(answer)
    in_process = longspan.encode(longspan.load(tiled), [text.read_text()], on_overflow="error").vectors[0]
    assert np.allclose(vectors[0], in_process, atol=1e-6)
    assert not np.allclose(vectors[0], vectors[1], atol=1e-6), "the end of the document was not read"


def test_verify_passes_and_says_where_stock_tools_differ(tmp_path: Path) -> None:
    found = longspan.verify(extended_folder(tmp_path, "interpolate", 640))
    assert found.passed
    assert found.reference == "the original, extended anew"
    short = [check for check in found.checks if check.tokens <= 512]
    long = [check for check in found.checks if check.tokens > 512]
    assert {check.tokens for check in found.checks} == {16, 511, 512, 513, 640}
    assert {check.tool for check in found.checks} == {"transformers", "sentence-transformers"}
    assert all(check.expected and check.difference < 1e-5 for check in long)
    assert all(not check.expected and check.difference > 1e-3 for check in short)


def test_verify_fails_when_a_weight_was_changed(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = extended_folder(tmp_path, "tile", 640)
    weights = load_file(folder / "model.safetensors")
    weights["embeddings.position_embeddings.weight"][600] *= -3  # LayerNorm would hide a constant
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    found = longspan.verify(folder)
    assert not found.passed
    assert {check.tokens for check in found.checks if not check.passed} == {640}


@pytest.mark.parametrize("method", ["grouped + log_n", "interpolate", "temperature(tau=0.8) + tile"])
def test_load_restores_what_stock_tools_cannot_hold(method: str, tmp_path: Path) -> None:
    texts = ["short", LONG[:2500], LONG[:9000]]
    model = longspan.load(MODEL)
    before = model.encode(texts[:1])
    longspan.extend(model, to=1024, method=method)
    vectors = longspan.encode(model, texts, on_overflow="truncate").vectors
    folder = longspan.save(model, tmp_path / "longer")
    again = longspan.load(folder)
    assert np.array_equal(longspan.encode(again, texts, on_overflow="truncate").vectors, vectors)
    assert longspan.plan_of(again) == longspan.plan_of(model)
    exact = longspan.plan_of(model).short_inputs != "changed"
    assert np.array_equal(again.encode(texts[:1]), before) == exact


def test_the_model_card_says_what_was_done(tmp_path: Path) -> None:
    card = (extended_folder(tmp_path, "interpolate + log_n") / "README.md").read_text()
    for fact in (
        "512",
        "1024",
        "`interpolate + log_n`",
        MODEL,
        "license: apache-2.0",
        "arXiv:2404.12096",
        "original's",
    ):
        assert fact in card, fact
    assert f'longspan extend {MODEL} --to 1024 --method "interpolate + log_n"' in card


def test_a_decoder_is_saved_natively_and_generates_past_its_window(tmp_path: Path) -> None:
    torch.manual_seed(0)
    from transformers import AutoConfig

    config = AutoConfig.for_model("llama", **models.ALL["llama"])
    model = AutoModelForCausalLM.from_config(config).eval()
    longspan.extend(model, to=4 * models.WINDOW, method="yarn")
    ids = models.tokens(1, 3 * models.WINDOW)
    folder = longspan.save(model, tmp_path / "longer")
    stock = AutoModelForCausalLM.from_pretrained(folder).eval()
    assert stock.config.rope_parameters["rope_type"] == "yarn"
    assert torch.equal(stock(ids).logits, model(ids).logits)
    one, other = (m.generate(ids, max_new_tokens=8, do_sample=False, pad_token_id=1) for m in (stock, model))
    assert torch.equal(one, other)
