"""A checkpoint is loaded whole or refused: no weight is left at random, none is passed over."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
)

import longspan
from longspan.training.run import load_weights
from tests import models
from tests.pipelines import WORDS, pipeline, tiny_tokenizer

TEXTS = [" ".join(WORDS[:9])]
Weights = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline with a Dense, 39 weights in its transformer."""
    folder = tmp_path_factory.mktemp("whole")
    pipeline(folder / "parts", dense=True).save(str(folder / "model"), create_model_card=False)
    return folder / "model"


def changed(whole: Path, target: Path, change: Callable[[Weights], object], name: str = "model.safetensors") -> Path:
    folder = Path(shutil.copytree(whole, target / "changed"))
    weights = load_file(folder / name)
    change(weights)
    save_file(weights, folder / name, metadata={"format": "pt"})
    return folder


def without(part: str) -> Callable[[Weights], object]:
    return lambda weights: [weights.pop(name) for name in list(weights) if part in name]


def narrower(weights: Weights) -> None:
    weights["encoder.layer.0.output.dense.weight"] = weights["encoder.layer.0.output.dense.weight"][:, :20].contiguous()


def foreign(weights: Weights) -> None:
    weights["encoder.layer.2.output.dense.bias"] = torch.zeros(32)


def compiled(weights: Weights) -> None:
    for name in list(weights):
        weights["_orig_mod." + name] = weights.pop(name)


FAULTS: dict[str, tuple[Callable[[Weights], object], str]] = {
    "a layer": (without("layer.1."), r"16 of the 39 weights of BertModel not at all, the first encoder\.layer\.1\."),
    "the words": (without("word_emb"), r"1 of the 39 weights .* the first embeddings\.word_embeddings\.weight"),
    "a shape": (narrower, r"1 of the 39 .* another shape, the first encoder.*: \(32, 20\) where \(32, 48\) fits"),
    "one more": (foreign, r"1 weights that BertModel has no place for, the first encoder\.layer\.2\."),
    "other names": (compiled, r"37 of the 39 weights of BertModel not at all"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_checkpoint_that_is_not_the_models_is_refused(fault: str, whole: Path, tmp_path: Path) -> None:
    change, told = FAULTS[fault]
    with pytest.raises(longspan.StorageError, match=told):
        longspan.load(changed(whole, tmp_path, change))


def test_a_configuration_with_fewer_layers_is_refused(whole: Path, tmp_path: Path) -> None:
    folder = changed(whole, tmp_path, lambda weights: None)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 1}))
    with pytest.raises(longspan.StorageError, match="16 weights that BertModel has no place for"):
        longspan.load(folder)


def test_what_a_bare_encoder_may_lack_or_leave_over_changes_no_vector(whole: Path, tmp_path: Path) -> None:
    def left_over(weights: Weights) -> None:
        without("pooler")(weights)
        weights["embeddings.position_ids"] = torch.arange(64)[None]
        weights["cls.predictions.bias"] = torch.zeros(120)

    found = longspan.load(changed(whole, tmp_path, left_over)).encode(TEXTS)
    assert np.array_equal(found, longspan.load(whole).encode(TEXTS))


@pytest.mark.parametrize("form", ["bin", "shards"])
def test_every_form_of_a_checkpoint_is_checked(form: str, whole: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "model"))
    (folder / "model.safetensors").unlink()
    if form == "bin":
        torch.save(load_file(whole / "model.safetensors"), folder / "pytorch_model.bin")
    else:
        AutoModel.from_pretrained(whole).save_pretrained(folder, max_shard_size="8KB")
    assert np.array_equal(longspan.load(folder).encode(TEXTS), longspan.load(whole).encode(TEXTS))
    if form == "bin":
        weights = torch.load(folder / "pytorch_model.bin")
        without("layer.1.")(weights)
        torch.save(weights, folder / "pytorch_model.bin")
    else:
        sorted(folder.glob("*.safetensors"))[1].unlink()
    with pytest.raises(longspan.StorageError, match="16 of the 39" if form == "bin" else "cannot be loaded"):
        longspan.load(folder)


def test_the_modules_behind_the_transformer_are_checked_too(whole: Path, tmp_path: Path) -> None:
    with pytest.raises(longspan.StorageError, match=r"Dense"):
        longspan.load(changed(whole, tmp_path / "a", without("bias"), "2_Dense/model.safetensors"))
    folder = Path(shutil.copytree(whole, tmp_path / "b"))
    (folder / "2_Dense" / "model.safetensors").unlink()
    with pytest.raises(longspan.StorageError, match=r"Could not find 'model\.safetensors'"):
        longspan.load(folder)


@pytest.mark.parametrize("way", [longspan.load, longspan.embedder])
def test_a_decoder_that_lacks_a_layer_is_refused(way: Any, decoder: str, tmp_path: Path) -> None:
    folder = changed(Path(decoder), tmp_path, without("layers.1."))
    with pytest.raises(longspan.StorageError, match=r"9 of the \d+ weights of Llama\w+ not at all"):
        way(str(folder))


def test_a_distillation_does_not_go_on_from_a_checkpoint_that_lacks_a_layer(whole: Path, tmp_path: Path) -> None:
    student = AutoModel.from_pretrained(whole)
    with pytest.raises(longspan.ConvertError, match="holds 16 of the 39 weights of BertModel not at all"):
        load_weights(student, changed(whole, tmp_path, without("layer.1.")))


def test_an_embedder_of_an_extended_decoder_has_its_plan(decoder: str, tmp_path: Path) -> None:
    model = longspan.extend(longspan.load(decoder), to=96, method="self_extend")
    with pytest.warns(UserWarning, match="without the distances of pairs"):
        folder = longspan.save(model, tmp_path / "longer", tokenizer=longspan.embedder(decoder).tokenizer)
    assert longspan.plan_of(longspan.embedder(str(folder))) == longspan.plan_of(model)
    with pytest.raises(longspan.EncodeError, match="extended as a decoder"):
        longspan.embedder(str(folder), bidirectional=True)


def test_an_adapter_is_refused_by_name(whole: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "model"))
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "somebody/else"}')
    for way in (longspan.load, longspan.inspect):
        with pytest.raises(longspan.LongspanError, match=r"adapter of PEFT[\s\S]*merge_and_unload"):
            way(folder)


def test_a_pipeline_of_a_decoder_is_a_pipeline(decoder: str, tmp_path: Path) -> None:
    made = longspan.embedder(decoder, pooling="mean", device="cpu")
    made.save(str(tmp_path / "model"))
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    (tmp_path / "model" / "config.json").write_text(json.dumps({**config, "architectures": ["LlamaForCausalLM"]}))
    again = longspan.load(tmp_path / "model", device="cpu")
    assert np.array_equal(again.encode(["once a dog"]), made.encode(["once a dog"]))


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("classifier")
    model = AutoModelForSequenceClassification.from_config(pipeline(folder / "parts")[0].auto_model.config)
    model.save_pretrained(folder / "model")
    tiny_tokenizer().save_pretrained(folder / "model")
    return folder / "model"


def test_a_classifier_needs_its_pooler_and_its_head(classifier: Path, tmp_path: Path) -> None:
    assert type(longspan.load(classifier)).__name__ == "CrossEncoder"
    for part, count in (("pooler", 2), ("classifier", 2)):
        with pytest.raises(longspan.StorageError, match=f"{count} of the 41 weights .* not at all"):
            longspan.load(changed(classifier, tmp_path / part, without(part)))


def test_a_language_model_needs_its_untied_head(decoder: str, tmp_path: Path) -> None:
    weights = load_file(Path(decoder) / "model.safetensors")
    assert "lm_head.weight" in weights
    with pytest.raises(longspan.StorageError, match=r"1 of the .* not at all, the first lm_head\.weight"):
        longspan.load(changed(Path(decoder), tmp_path, without("lm_head")))
    config = AutoModelForCausalLM.from_pretrained(decoder).config
    config.tie_word_embeddings = True
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "tied")
    assert "lm_head.weight" not in load_file(tmp_path / "tied" / "model.safetensors")
    assert longspan.load(tmp_path / "tied").config.tie_word_embeddings


def _saved(model: Any, folder: Path, change: Callable[[Weights], object] = lambda weights: None, **config: Any) -> Path:
    """A model's folder with a tokenizer, its weights and its configuration changed."""
    model.save_pretrained(folder)
    tokenizer = tiny_tokenizer()
    tokenizer.model_max_length = 30
    tokenizer.save_pretrained(folder)
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    told = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**told, **config}))
    return folder


def _masked(architecture: str) -> Any:
    return AutoModelForMaskedLM.from_config(AutoConfig.for_model(architecture, **models.ALL[architecture]))


MASKED = ["bert", "roberta", "mpnet", "distilbert", "electra", "modernbert"]


@pytest.mark.parametrize("architecture", MASKED)
def test_the_names_behind_another_tasks_head_are_compared_too(architecture: str, tmp_path: Path) -> None:
    model = _masked(architecture)
    assert len(longspan.load(_saved(model, tmp_path / "whole"), device="cpu").encode(TEXTS)) == 1
    layers = "n_layers" if architecture == "distilbert" else "num_hidden_layers"
    fewer = {layers: 1, **({"layer_types": ["full_attention"]} if architecture == "modernbert" else {})}
    with pytest.raises(longspan.StorageError, match=r"that .*Model has no place for"):
        longspan.load(_saved(model, tmp_path / "fewer", **fewer), device="cpu")

    def garbage(weights: Weights) -> None:
        weights[f"{model.base_model_prefix}.embeddings.foo"] = torch.zeros(3)

    with pytest.raises(longspan.StorageError, match=r"1 weights .* the first .*embeddings\.foo"):
        longspan.load(_saved(model, tmp_path / "garbage", garbage), device="cpu")


def test_the_names_of_a_model_without_its_head_are_compared_too(tmp_path: Path) -> None:
    config = AutoConfig.for_model("gpt2", **models.ALL["gpt2"])
    model = AutoModelForCausalLM.from_config(config)

    def hub(weights: Weights) -> None:
        for name in list(weights):
            weights[name.removeprefix("transformer.")] = weights.pop(name)

    def deeper(weights: Weights) -> None:
        hub(weights)
        weights["h.2.ln_1.weight"] = torch.zeros(32)

    longspan.load(_saved(model, tmp_path / "hub", hub))
    with pytest.raises(longspan.StorageError, match=r"1 weights .* the first h\.2\.ln_1"):
        longspan.load(_saved(model, tmp_path / "deeper", deeper))


OLD_BUFFERS = {
    "codegen": (
        {"n_positions": 32, "n_embd": 32, "n_layer": 2, "n_head": 4, "rotary_dim": 4},
        "transformer.h.0.attn.causal_mask",
    ),
    "opt": (models.ALL["opt"], "model.decoder.version"),
    "xglm": ({"d_model": 32, "ffn_dim": 48, "num_layers": 2, "attention_heads": 4}, "model.embed_positions.weights"),
    "llama": (models.ALL["llama"], "model.layers.0.self_attn.rotary_emb.cos_cached"),
}


@pytest.mark.parametrize("architecture", OLD_BUFFERS)
def test_a_buffer_that_old_releases_saved_is_no_weight(architecture: str, tmp_path: Path) -> None:
    sizes, name = OLD_BUFFERS[architecture]
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(architecture, **{"vocab_size": 120, **sizes}))
    longspan.load(_saved(model, tmp_path / "old", lambda weights: weights.update({name: torch.ones(4)})))
    with pytest.raises(longspan.StorageError, match="1 weights"):
        longspan.load(_saved(model, tmp_path / "strange", lambda weights: weights.update({name + "_": torch.ones(4)})))


def test_token_types_that_old_releases_saved_are_no_weight(tmp_path: Path) -> None:
    def add(weights: Weights) -> None:
        weights["bert.embeddings.token_type_ids"] = torch.zeros(1, 32, dtype=torch.long)

    longspan.load(_saved(_masked("bert"), tmp_path / "old", add), device="cpu")
