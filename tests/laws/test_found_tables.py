"""Position tables under any name are found and lengthened; what cannot be lengthened is refused before it is used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModel,
    CLIPConfig,
    CLIPModel,
    SiglipTextConfig,
    SiglipTextModel,
)

from longspan import SeamError, extend, inspect, plan_of, restore, save
from longspan.seams import trial
from tests.laws.cases import LONG, fresh
from tests.laws.test_interruptions import snapshot
from tests.models import WINDOW, states, tokens

SIZE: dict[str, Any] = {
    "vocab_size": 120,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": WINDOW,
    "pad_token_id": 1,
    "bos_token_id": 2,
    "eos_token_id": 3,
}
VISION = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 8, "patch_size": 4}
GPT = {"vocab_size": 120, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": WINDOW}
BART = {"d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48}


def _auto(kind: str, **sizes: Any) -> Any:
    return AutoModel.from_config(AutoConfig.for_model(kind, **sizes))


def _clip() -> Any:
    return CLIPModel(CLIPConfig(text_config=SIZE, vision_config=VISION, projection_dim=16))


FOUND = {
    "clip": lambda: _auto("clip_text_model", **SIZE),
    "the text part of clip": lambda: _clip().text_model,
    "siglip": lambda: SiglipTextModel(SiglipTextConfig(**SIZE, projection_size=32)),
    "openai-gpt": lambda: _auto("openai-gpt", **GPT),
    "xlm": lambda: _auto("xlm", vocab_size=120, emb_dim=32, n_layers=2, n_heads=4, max_position_embeddings=WINDOW),
}
REFUSED = {
    "landmarks": (lambda: _auto("nystromformer", **SIZE), "fails beyond 32"),
    "a fixed table of sines": (lambda: _auto("roformer", **SIZE, embedding_size=32), "fails beyond 32"),
    "fixed rotations": (lambda: _auto("gptj", **GPT, rotary_dim=4), "fails beyond 32"),
    "two tables": (lambda: _auto("bart", **SIZE, **BART), "has 2 position tables"),
    "images too": (_clip, "does not run on token ids alone"),
}


@pytest.mark.parametrize("kind", FOUND)
def test_a_table_is_found_and_lengthened_whatever_its_name(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = FOUND[kind]().eval()
    told = inspect(model)
    assert (told.encoding, told.window, told.pad_offset) == ("learned", WINDOW, 0)
    before, as_it_was = states(model, tokens(2, WINDOW)), snapshot(model)
    extend(model, LONG, "tile")
    assert torch.equal(states(model, tokens(2, WINDOW)), before)
    long = states(model, tokens(1, LONG))
    assert bool(long.isfinite().all())
    assert snapshot(restore(model)) == as_it_was
    folder = save(extend(model, LONG, "tile"), tmp_path / "longer")
    stock = type(model).from_pretrained(folder).eval()
    assert torch.allclose(states(stock, tokens(1, LONG)), long, atol=1e-6)


@pytest.mark.parametrize("kind", REFUSED)
def test_what_fails_beyond_its_window_is_refused_and_stays_as_it_was(kind: str) -> None:
    build, told = REFUSED[kind]
    model = build().eval()
    before = snapshot(model)
    with pytest.raises(SeamError, match=told) as error:
        extend(model, LONG)
    assert error.value.hint
    assert snapshot(model) == before
    assert plan_of(model) is None


@pytest.fixture
def forwards(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the base models are given from now on."""
    given: list[dict[str, Any]] = []
    forward = trial._forward

    def noted(model: Any, journal: Any, ids: torch.Tensor, **kwargs: Any) -> None:
        given.append({"ids": ids, **kwargs})
        forward(model, journal, ids, **kwargs)

    monkeypatch.setattr(trial, "_forward", noted)
    return given


@pytest.mark.parametrize(("architecture", "spec"), [("bert", "tile"), ("roberta", "grouped"), ("llama", "yarn")])
def test_a_cheap_model_is_tried_with_one_token_more_than_its_window(
    architecture: str, spec: str, forwards: list[dict[str, Any]]
) -> None:
    model = fresh(architecture)
    special = (model.config.pad_token_id, model.config.bos_token_id, model.config.eos_token_id)
    extend(model, LONG, spec)
    (given,) = forwards
    assert given["ids"].shape == (1, WINDOW + 1)
    assert not set(given["ids"].flatten().tolist()) & set(special)


@pytest.mark.parametrize(
    ("architecture", "spec", "first"), [("bert", "tile", 32), ("roberta", "grouped", 34), ("llama", "yarn", 32)]
)
def test_a_large_model_is_tried_with_a_few_tokens_behind_its_window(
    architecture: str, spec: str, first: int, forwards: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "_CHEAP", 0)
    model = extend(fresh(architecture), LONG, spec)
    (given,) = forwards
    assert given["position_ids"].tolist() == [list(range(first, first + 6))]
    restore(model)
    extend(model, WINDOW + 2, spec)
    assert int(forwards[-1]["position_ids"].max()) == first + 1


def test_a_large_model_that_fails_there_is_refused_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "_CHEAP", 0)
    with pytest.raises(SeamError, match="fails beyond 32"):
        extend(_auto("gptj", **GPT, rotary_dim=4), LONG)


def test_the_work_of_a_forward_counts_weights_and_scores() -> None:
    model = fresh("bert")
    layers = model.encoder.layer
    weights = sum(p.numel() for p in layers.parameters())
    assert trial._work(model, 10) == pytest.approx(2 * (weights * 10 + 2 * 2 * 32 * 100), rel=0.1)
