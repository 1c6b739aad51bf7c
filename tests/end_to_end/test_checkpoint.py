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


@pytest.mark.filterwarnings("ignore:stock tools load")
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


@pytest.mark.filterwarnings("ignore:stock tools load")
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


@pytest.mark.filterwarnings("ignore:stock tools load")
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


_STATES = """
import sys, torch, longspan
given, answer, *folders = sys.argv[1:]
ids = torch.load(given)
with torch.no_grad():
    models = [longspan.load(folder).base_model for folder in folders]
    torch.save([[model(row).last_hidden_state for row in ids] for model in models], answer)
"""
LIVE = {  # what stock tools cannot hold: pair by pair, by length, both
    "dca": "dca(chunk=20, local=4)",
    "as released": "dca(chunk=20, local=4, adaptive=false)",
    "self_extend": "self_extend",
    "dynamic_ntk": "dynamic_ntk",
    "both": "rerope + dynamic_ntk",
}
TARGET = 3 * models.WINDOW
IDS = [models.tokens(2, n) for n in (5, models.WINDOW, models.WINDOW + 1, TARGET)]


def states(model: Any) -> list[torch.Tensor]:
    return [models.states(model.base_model, ids) for ids in IDS]


@pytest.fixture(scope="module")
def qwen(decoder: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Qwen2, which vLLM and SGLang read by chunks, with the tokenizer of the tiny Llama."""
    from transformers import AutoConfig, AutoTokenizer

    folder = tmp_path_factory.mktemp("qwen")
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model("qwen2", **models.ALL["qwen2"]))
    for parameter in model.parameters():
        if parameter.dim() > 1:  # as initialised, attention hardly depends on distances
            torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(decoder).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def live(qwen: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, list[torch.Tensor]]]:
    """Folders of extended decoders, and their states before they were saved."""
    made = {}
    for name, method in LIVE.items():
        model = longspan.extend(longspan.load(qwen), to=TARGET, method=method)
        with pytest.warns(UserWarning, match=r"longspan\.load restores all"):
            folder = longspan.save(model, tmp_path_factory.mktemp("live") / "longer")
        made[name] = (folder, states(model))
    return made


def test_what_stock_tools_cannot_hold_comes_back_in_a_clean_process(
    live: dict[str, tuple[Path, list[torch.Tensor]]], tmp_path: Path
) -> None:
    given, answer = tmp_path / "ids.pt", tmp_path / "states.pt"
    torch.save(IDS, given)
    arguments = [str(path) for path in (given, answer, *(folder for folder, _ in live.values()))]
    run = subprocess.run([sys.executable, "-c", _STATES, *arguments], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    for (name, (_, wanted)), found in zip(live.items(), torch.load(answer), strict=True):
        for got, expected in zip(found, wanted, strict=True):
            torch.testing.assert_close(got, expected, rtol=0, atol=1e-6, msg=name)


@pytest.mark.parametrize("name", LIVE)
def test_stock_transformers_load_the_short_model(
    name: str, live: dict[str, tuple[Path, list[torch.Tensor]]], qwen: Path
) -> None:
    folder, wanted = live[name]
    stock = AutoModelForCausalLM.from_pretrained(folder).eval()
    assert stock.config.max_position_embeddings == TARGET
    key = {"chunk_size": 20, "local_size": 4, "original_max_position_embeddings": 0}
    assert getattr(stock.config, "dual_chunk_attention_config", None) == (key if "dca" in LIVE[name] else None)
    found = states(stock)
    assert torch.allclose(found[1], wanted[1], atol=1e-5) == (name != "as released")
    assert not torch.allclose(found[3], wanted[3], atol=1e-3), "stock tools hold the plan after all"
    original = AutoModelForCausalLM.from_pretrained(qwen).eval()
    assert all(torch.equal(one, other) for one, other in zip(found, states(original), strict=True))


@pytest.mark.parametrize("name", ["dca", "as released", "dynamic_ntk"])
def test_verify_asks_equality_only_where_the_plan_promises_it(
    name: str, live: dict[str, tuple[Path, list[torch.Tensor]]]
) -> None:
    found = longspan.verify(live[name][0])
    assert found.passed
    assert found.reference == "the original, extended anew"
    assert {check.tool for check in found.checks} == {"transformers", "language model head"}
    expected = {check.tokens for check in found.checks if check.expected}
    assert expected == ({16, 31, 32} if name != "as released" else set())
    assert all(check.difference > 1e-3 for check in found.checks if check.tokens == TARGET)


@pytest.mark.parametrize("architecture", models.ALIBI)
def test_slopes_come_back_with_the_checkpoint(architecture: str, tmp_path: Path) -> None:
    from transformers import AutoConfig

    torch.manual_seed(0)
    config = AutoConfig.for_model(architecture, **models.ALL[architecture])
    model = longspan.extend(AutoModelForCausalLM.from_config(config).eval(), to=100, method="alibi_interpolation")
    with pytest.warns(UserWarning, match="without the slopes"):
        folder = longspan.save(model, tmp_path / "longer")
    ids = models.tokens(2, 100)
    with torch.no_grad():
        again, stock, wanted = (
            m(ids).logits for m in (longspan.load(folder), AutoModelForCausalLM.from_pretrained(folder).eval(), model)
        )
    torch.testing.assert_close(again, wanted, rtol=0, atol=1e-6)
    assert not torch.allclose(stock, wanted, atol=1e-4)


def test_a_rotary_pipeline_comes_back_with_its_pairs(qwen: Path, tmp_path: Path) -> None:
    model = longspan.embedder(str(qwen), device="cpu")
    longspan.extend(model, to=128, method="dca(chunk=20, local=4)")
    texts = ["the dog", "once there was a dog " * 15]
    with pytest.warns(UserWarning, match="without the distances of pairs"):
        folder = longspan.save(model, tmp_path / "longer")
    again = longspan.load(folder, device="cpu")
    assert longspan.plan_of(again) == longspan.plan_of(model)
    assert np.allclose(again.encode(texts), model.encode(texts), atol=1e-6)


def test_the_command_line_warns_once_on_stderr(qwen: Path, tmp_path: Path) -> None:
    folder = tmp_path / "longer"
    arguments = [str(qwen), "--to", "96", "--method", "dca(chunk=20, local=4)", "--out", str(folder)]
    script = "from longspan.cli import app; app()"
    run = subprocess.run(
        [sys.executable, "-c", script, "extend", *arguments], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    warned = f"warning: stock tools load {folder} without the distances of pairs; longspan.load restores all"
    assert [line for line in run.stderr.splitlines() if "warning" in line.lower()] == [warned]
    assert "warning" not in run.stdout
    card = (folder / "README.md").read_text()
    assert "--window 32" in card
    assert "Stock tools load the short model" in card
    assert "`dual_chunk_attention_config`" in card
