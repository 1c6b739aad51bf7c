"""Pipelines one by one: what a normalisation in the middle means for a strategy, and what is refused by name."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import modules as kinds
from tokenizers import Tokenizer, models, processors
from torch import nn

import longspan
from longspan import EncodeError, encode
from longspan.encoding.engines import engine
from longspan.encoding.engines.torch_ import TorchEngine
from tests.laws.test_pipelines import alone, assert_same, transformer
from tests.models import build
from tests.pipelines import WINDOW, WORDS

SHORT = [" ".join(WORDS[:9]), " ".join(WORDS[40:60]), "baba [PAD] codi [SEP] fuge"]
LONG = " ".join(WORDS[place % 100] for place in range(3, 180))


def pipeline(*behind: Any, architecture: str = "bert", mode: Any = "mean", **options: Any) -> Any:
    torch.manual_seed(0)
    chain = [transformer(architecture), kinds.Pooling(32, mode), *behind]
    return SentenceTransformer(modules=chain, device="cpu", **options)


def behind(name: str) -> list[Any]:
    torch.manual_seed(1)
    dense = kinds.Dense(32, 24)
    return {
        "middle": [kinds.Normalize(), dense],
        "both": [kinds.Normalize(), dense, kinds.Normalize()],
        "twice": [dense, kinds.Normalize(), kinds.Dropout(0.5), kinds.Normalize()],
    }[name]


@pytest.mark.parametrize("name", ["middle", "both", "twice"])
@pytest.mark.parametrize("strategy", ["truncate", "chunk_max", "extend", "chunk_mean", "late", "long_late"])
def test_a_text_within_a_window_has_its_vector_wherever_a_pipeline_normalises(name: str, strategy: str) -> None:
    model = pipeline(*behind(name))
    wanted, found = alone(model, SHORT), encode(model, SHORT, strategy).vectors
    if strategy == "chunk_mean":  # which is a unit vector by definition
        wanted = wanted / np.linalg.norm(wanted, axis=1, keepdims=True)
    assert_same(found, wanted)


@pytest.mark.parametrize("name", ["middle", "both"])
def test_windows_are_merged_behind_a_normalisation_in_the_middle(name: str) -> None:
    model, words, room = pipeline(*behind(name)), LONG.split(), WINDOW - 2
    starts = [*range(0, len(words) - room, room), len(words) - room]
    windows = alone(model, [" ".join(words[start : start + room]) for start in starts])
    mean = (windows / np.linalg.norm(windows, axis=1, keepdims=True)).mean(0)
    assert_same(encode(model, [LONG], "chunk_mean").vectors[0], mean / np.linalg.norm(mean))
    assert_same(encode(model, [LONG], "chunk_max").vectors, windows)


@pytest.mark.parametrize("strategy", ["late", "long_late"])
def test_spans_are_means_of_what_reaches_pooling(strategy: str) -> None:
    torch.manual_seed(2)
    tokens = [kinds.Dense(32, 16, module_input_name="token_embeddings"), kinds.Normalize("token_embeddings")]
    model = SentenceTransformer(
        modules=[transformer("bert"), *tokens, kinds.Pooling(16), kinds.Normalize()], device="cpu"
    )
    assert_same(encode(model, SHORT, strategy).vectors, alone(model, SHORT))
    found = encode(model, SHORT[:1], f"{strategy}(size=4)").vectors
    states = model.encode(SHORT[0], output_value="token_embeddings").numpy()
    for vector, mean in zip(found, [states[:5].mean(0), states[5:9].mean(0), states[9:].mean(0)], strict=True):
        assert_same(vector, mean / np.linalg.norm(mean))


@pytest.mark.parametrize("strategy", ["late", "long_late"])
@pytest.mark.parametrize("module", [kinds.CNN(32, 32, [3]), kinds.WordWeights(["a"] * 120, {"a": 0.5})])
def test_spans_of_what_needs_the_whole_row_are_refused_by_name(strategy: str, module: Any) -> None:
    model = SentenceTransformer(modules=[transformer("bert"), module, kinds.Pooling(32)], device="cpu")
    assert_same(encode(model, SHORT).vectors, alone(model, SHORT))
    with pytest.raises(EncodeError, match=f"{type(module).__name__} works on a whole row"):
        encode(model, SHORT, strategy)


def test_several_ways_of_pooling_have_no_meaning_for_a_span() -> None:
    with pytest.raises(EncodeError, match=r"pools by mean \+ max,"):
        encode(pipeline(mode=("mean", "max")), SHORT, "late")


def test_a_model_that_cuts_its_vectors_cuts_them_behind_the_normalisation() -> None:
    model = pipeline(kinds.Normalize(), truncate_dim=8)
    assert_same(encode(model, SHORT).vectors, alone(model, SHORT))
    kept = encode(model, [*SHORT, 5], on_error="keep")
    assert kept.vectors.shape == (3, 8)
    assert encode(model, [5], on_error="keep").vectors.shape == (0, 8)
    cut = alone(model, SHORT, truncate_dim=4)
    assert_same(encode(model, SHORT, dims=4).vectors, cut / np.linalg.norm(cut, axis=1, keepdims=True))
    with pytest.raises(EncodeError, match="A vector of 8 dimensions has no first 16"):
        encode(model, SHORT, dims=16)
    whole = encode(model, [LONG, *SHORT], on_overflow="chunk")
    assert whole.vectors.shape == (4, 8)
    assert whole.used == whole.given


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_projections_of_another_type_are_computed_in_float32(dtype: torch.dtype) -> None:
    behind = [kinds.Pooling(32), kinds.Dense(32, 24), kinds.LayerNorm(24), kinds.Normalize()]
    model = SentenceTransformer(modules=[own_transformer(), *behind], device="cpu")
    wanted = alone(model, SHORT)
    model.to(dtype)
    for strategy in ("truncate", "late"):
        np.testing.assert_allclose(encode(model, SHORT, strategy).vectors, wanted, rtol=0, atol=2e-2)
    assert {p.dtype for p in model.parameters()} == {dtype}


def static() -> Any:
    return kinds.StaticEmbedding(Tokenizer(models.WordLevel({"a": 0}, unk_token="a")), embedding_dim=8)


@pytest.mark.parametrize(
    ("modules", "told"),
    [
        (lambda: [static()], "begins with StaticEmbedding"),
        (lambda: [kinds.BoW(["baba"])], "begins with BoW"),
        (lambda: [kinds.Router({"query": [transformer("bert"), kinds.Pooling(32)], "document": [static()]})], "Router"),
        (lambda: [transformer("bert")], "stands nothing, and no Pooling"),
        (lambda: [transformer("bert"), kinds.Normalize()], "stands Normalize, and no Pooling"),
        (lambda: [transformer("bert"), kinds.Pooling(32), kinds.Dense(24, 8)], "A Dense does not fit"),
        (lambda: [transformer("bert"), kinds.Pooling(32), kinds.Router({"a": [static()]})], "what a Router does"),
    ],
    ids=["static", "bow", "router", "bare", "no-pooling", "width", "router-behind"],
)
def test_what_is_not_understood_is_named(modules: Any, told: str) -> None:
    with pytest.raises(EncodeError, match=re.escape(told)):
        encode(SentenceTransformer(modules=modules(), device="cpu"), SHORT)


def own_transformer(**options: Any) -> Any:
    return kinds.Transformer(transformer("bert").model.config._name_or_path, max_seq_length=WINDOW, **options)


def test_a_transformer_that_reads_texts_another_way_is_refused() -> None:
    def refused(first: Any, told: str) -> None:
        with pytest.raises(EncodeError, match=told):
            encode(SentenceTransformer(modules=[first, kinds.Pooling(32)], device="cpu"), SHORT)

    refused(own_transformer(processing_kwargs={"text": {"max_length": 4}}), "processing_kwargs .max_length.")
    pooled = {"text": {"method": "forward", "method_output_name": "pooler_output"}}
    refused(own_transformer(modality_config=pooled, module_output_name="sentence_embedding"), "sentence_embedding")
    refused(own_transformer(transformer_task="fill-mask"), "logits")
    chat = own_transformer()
    chat.modality_config["message"] = chat.modality_config["text"]
    refused(chat, "chat template")
    typed = own_transformer()
    typed.tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        "[CLS]:0 $A:1 [SEP]:1", None, [("[CLS]", 2), ("[SEP]", 3)]
    )
    typed.tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    refused(typed, r"the types \[0, 1, 1\]")


@pytest.mark.filterwarnings("ignore:.*torch.*quantiz")
def test_wrapped_and_quantised_models_are_refused_by_type() -> None:
    with pytest.raises(EncodeError, match=r"A DataParallel wraps a model\.\nhint: pass model\.module"):
        encode(nn.DataParallel(pipeline()), SHORT)
    wrapped = SentenceTransformer(modules=[own_transformer(), kinds.Pooling(32)], device="cpu")
    wrapped[0].model = nn.DataParallel(wrapped[0].model)
    with pytest.raises(EncodeError, match="inside a DataParallel"):
        encode(wrapped, SHORT)
    plain = SentenceTransformer(modules=[own_transformer(), kinds.Pooling(32)], device="cpu")
    quantised = torch.ao.quantization.quantize_dynamic(plain, {nn.Linear}, dtype=torch.qint8)
    with pytest.raises(EncodeError, match="A quantised Linear"):
        encode(quantised, SHORT)


def test_a_decoder_reads_a_text_as_it_is_whatever_its_chat_template(decoder: str, tmp_path: Any) -> None:
    import shutil

    folder = shutil.copytree(decoder, tmp_path / "chat")
    (folder / "chat_template.jinja").write_text("dog dog {{ messages[0]['content'] }} cat")
    model = longspan.embedder(str(folder))
    assert model.tokenizer.chat_template
    assert_same(encode(model, ["the cat was there"]).vectors, alone(model, ["the cat was there"]))
    assert_same(model.encode(["the cat"]), longspan.embedder(decoder).encode(["the cat"]))


def test_a_model_whose_states_change_by_padding_reads_rows_of_one_length_together() -> None:
    from transformers import AutoModel, ConvBertConfig

    torch.manual_seed(0)
    size = {"vocab_size": 120, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    model = AutoModel.from_config(ConvBertConfig(**size, intermediate_size=48, embedding_size=32)).eval()
    rows = [list(range(5, 9)), list(range(20, 50)), list(range(9, 13))]
    ours = TorchEngine(model)
    assert not ours.packs
    together = ours.states(rows)
    for row, found in zip(rows, together, strict=True):
        with torch.no_grad():
            wanted = model(input_ids=torch.tensor([row])).last_hidden_state[0]
        torch.testing.assert_close(found[: len(row)], wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("backend", ["torch", "onnx", "openvino"])
def test_a_padding_token_within_a_text_keeps_the_positions_of_the_roberta_family(backend: str) -> None:
    model = build("roberta")
    rows = [[2, 9, 1, 10, 1, 1, 11, 3], [1, 1, 5], [2, 7, 8, 9, 10, 3]]
    for row, found in zip(rows, engine(model, backend).states(rows), strict=True):
        with torch.no_grad():
            wanted = model(input_ids=torch.tensor([row])).last_hidden_state[0]
        torch.testing.assert_close(found[: len(row)], wanted, rtol=0, atol=2e-5)


@pytest.mark.parametrize(
    ("backend", "told"),
    [
        ("onnx", r"A ModernBertModel with these positions cannot be exported to \w+: .*"),
        # It follows one of the two maps, which is no longer the model.
        ("openvino", "At 63 tokens the exported model's states have a cosine of nan to the model's"),
    ],
)
def test_what_an_exporter_cannot_follow_is_told(backend: str, told: str, capsys: Any) -> None:
    model = longspan.extend(build("modernbert", max_position_embeddings=WINDOW), to=128, method="longrope")
    with pytest.raises(EncodeError, match=told):
        engine(model, backend)
    assert not capsys.readouterr().out
