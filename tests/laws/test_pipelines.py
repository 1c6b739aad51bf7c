"""The law of pipelines: ``encode`` gives what ``model.encode`` gives a text alone, or names what it does not know."""

from __future__ import annotations

import tempfile
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import modules as kinds
from torch import nn

from longspan import EncodeError, encode
from tests.models import build
from tests.pipelines import WINDOW, WORDS, tiny_tokenizer

ARCHITECTURES = ("bert", "roberta", "modernbert", "llama")
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
WIDTH = 32


class Doubling(nn.Module):
    """A module of the user's own, which works on any row and is not known."""

    def forward(self, features: dict[str, Any]) -> dict[str, Any]:
        features["sentence_embedding"] = 2 * features["sentence_embedding"]
        return features


class Renamed(kinds.Normalize):
    """A subclass that does what its class does."""


class Changed(kinds.Normalize):
    """A subclass that does something else."""

    def forward(self, features: dict[str, Any]) -> dict[str, Any]:
        features["sentence_embedding"] = -super().forward(features)["sentence_embedding"]
        return features


UNKNOWN = ("Doubling", "Changed", "LSTM", "WeightedLayerPooling")


@cache
def transformer(architecture: str) -> Any:
    folder = tempfile.mkdtemp(prefix="longspan-test-")
    extra = 2 if architecture == "roberta" else 0
    build(architecture, max_position_embeddings=WINDOW + extra).save_pretrained(folder)
    tiny_tokenizer(special=architecture != "llama").save_pretrained(folder)
    return kinds.Transformer(folder, max_seq_length=WINDOW)


def made(name: str, width: int, options: dict[str, Any]) -> tuple[Any, int]:
    """A module behind numbers of a width, and the width behind it."""
    if name == "Dense":
        activation = nn.GELU() if options["flag"] else None
        out = options["out"]
        return kinds.Dense(width, out, bias=options["flag"], activation_function=activation, use_residual=True), out
    if name == "TokenDense":
        return kinds.Dense(width, options["out"], module_input_name="token_embeddings"), options["out"]
    if name == "Aside":  # a projection that nothing reads
        return kinds.Dense(width, 5, module_output_name="aside"), width
    if name == "CNN":
        sizes = [1, 3] if options["flag"] else [2, 4]
        return kinds.CNN(width, out_channels=8, kernel_sizes=sizes), 8 * len(sizes)
    if name == "WordWeights":
        vocabulary = transformer("bert").tokenizer.get_vocab()
        words = sorted(vocabulary, key=vocabulary.__getitem__)
        return kinds.WordWeights(words, {word: 0.1 + i % 7 for i, word in enumerate(words)}, 0.5), width
    simple: dict[str, Any] = {
        "Dropout": lambda: kinds.Dropout(0.5),
        "LayerNorm": lambda: kinds.LayerNorm(width),
        "Normalize": kinds.Normalize,
        "Renamed": Renamed,
        "TokenNormalize": lambda: kinds.Normalize("token_embeddings"),
        "LSTM": lambda: kinds.LSTM(width, width, bidirectional=False),
        "WeightedLayerPooling": lambda: kinds.WeightedLayerPooling(width, num_hidden_layers=2, layer_start=1),
        "Doubling": Doubling,
        "Changed": Changed,
    }
    return simple[name](), width


@st.composite
def pipelines(draw: Any) -> tuple[Any, list[str]]:
    """A pipeline of one to six modules, and the classes behind its transformer."""
    before = draw(
        st.lists(st.sampled_from(["TokenDense", "TokenNormalize", "CNN", "WordWeights", *UNKNOWN[2:]]), max_size=2)
    )
    behind = ["Dense", "LayerNorm", "Dropout", "Normalize", "Renamed", "Aside", *UNKNOWN[:2]]
    after = draw(st.lists(st.sampled_from(behind), max_size=3))
    modes = draw(st.lists(st.sampled_from(kinds.Pooling.POOLING_MODES), min_size=1, max_size=3, unique=True))
    torch.manual_seed(draw(st.integers(0, 99)))
    chain, width = [transformer(draw(st.sampled_from(ARCHITECTURES)))], WIDTH
    options = st.fixed_dictionaries({"out": st.sampled_from([16, 24]), "flag": st.booleans()})
    for name in before:
        module, width = made(name, width, draw(options))
        chain.append(module)
    chain.append(kinds.Pooling(width, tuple(modes), include_prompt=draw(st.booleans())))
    width *= len(modes)
    for name in after:
        module, width = made(name, width, draw(options))
        chain.append(module)
    prompts = {"asked": f"{WORDS[0]} {WORDS[1]} ", "none": ""}
    cut = draw(st.sampled_from([None, None, 7]))
    chosen = draw(st.sampled_from([None, "asked"]))
    model = SentenceTransformer(
        modules=chain, device="cpu", prompts=prompts, default_prompt_name=chosen, truncate_dim=cut
    )
    return model.train(draw(st.booleans())), [*before, *after]


TEXTS = st.lists(st.sampled_from([*WORDS[:20], *SPECIAL, "unheard"]), min_size=4, max_size=WINDOW - 6).map(" ".join)


def alone(model: Any, texts: list[str], **options: Any) -> np.ndarray:
    """What sentence-transformers gives each text by itself: some modules let neighbours in a batch differ."""
    return np.concatenate([model.encode([text], **options) for text in texts])


def assert_same(found: np.ndarray, wanted: np.ndarray) -> None:
    assert found.shape == wanted.shape
    scale = max(1.0, float(np.abs(wanted).max()))
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6 * scale)


@settings(max_examples=80, phases=[Phase.explicit, Phase.generate])
@given(
    drawn=pipelines(), texts=st.lists(TEXTS, min_size=1, max_size=3), asked=st.sampled_from([None, "", "[PAD] bafu "])
)
def test_encode_is_model_encode_or_names_the_module_it_does_not_know(drawn: Any, texts: list[str], asked: Any) -> None:
    model, names = drawn
    texts = [*texts, " ".join(WORDS[3:9])]
    if unknown := [name for name in names if name in UNKNOWN]:
        with pytest.raises(EncodeError, match="|".join(unknown)):
            encode(model, texts, prompt=asked)
    else:
        mode, found = model.training, encode(model, texts, prompt=asked).vectors
        assert model.training == mode
        assert_same(found, alone(model, texts, prompt=asked))
