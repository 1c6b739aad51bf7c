"""rotary_twin: what it takes, what it carries over, and what it refuses."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM
from transformers import models as families

import longspan
from longspan.conversion.architectures import rotary_twin
from longspan.errors import ConvertError, InspectError
from tests.models import ALL, WINDOW, build

BASE = 10_000.0


def _config(architecture: str, **changes: Any) -> Any:
    return AutoConfig.for_model(architecture, **{**ALL[architecture], **changes})


def _refused(model: Any) -> ConvertError:
    with pytest.raises(ConvertError) as caught:
        rotary_twin(model, base=BASE)
    assert caught.value.hint
    return caught.value


def test_the_configuration_is_carried_over_field_by_field() -> None:
    given = {
        "vocab_size": 117,
        "hidden_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 6,
        "intermediate_size": 80,
        "hidden_act": "gelu_new",
        "hidden_dropout_prob": 0.21,
        "attention_probs_dropout_prob": 0.22,
        "classifier_dropout": 0.23,
        "layer_norm_eps": 3e-7,
        "type_vocab_size": 4,
        "initializer_range": 0.03,
        "pad_token_id": 7,
        "bos_token_id": 8,
        "eos_token_id": 9,
        "cls_token_id": 10,
        "tie_word_embeddings": False,
    }
    model = AutoModel.from_config(AutoConfig.for_model("bert", max_position_embeddings=40, **given))
    config = rotary_twin(model, base=500.0, window=24).model.config
    assert {name: getattr(config, name) for name in given} == given
    assert config.max_position_embeddings == 24
    assert config.rope_parameters == {"rope_type": "default", "rope_theta": 500.0}


def test_token_ids_that_the_original_lacks_stay_absent() -> None:
    config = rotary_twin(AutoModel.from_config(_config("bert", bos_token_id=None, eos_token_id=None)), base=BASE)
    assert (config.model.config.bos_token_id, config.model.config.eos_token_id) == (None, None)


def test_distilbert_names_its_fields_otherwise() -> None:
    given = {"activation": "relu", "dropout": 0.31, "attention_dropout": 0.32}
    config = rotary_twin(build("distilbert", **given), base=BASE).model.config
    assert (config.hidden_act, config.hidden_dropout_prob, config.attention_probs_dropout_prob) == ("relu", 0.31, 0.32)
    assert (config.hidden_size, config.intermediate_size, config.num_hidden_layers) == (32, 48, 2)
    assert (config.num_attention_heads, config.type_vocab_size, config.layer_norm_eps) == (4, 1, 1e-12)


@pytest.mark.parametrize(
    ("architecture", "changes"),
    [("distilbert", {}), ("electra", {"embedding_size": 32})],
    ids=["distilbert", "electra"],
)
def test_a_missing_pooler_is_the_identity(architecture: str, changes: dict[str, Any]) -> None:
    twin = rotary_twin(build(architecture, **changes), base=BASE).model
    assert torch.equal(twin.pooler.dense.weight, torch.eye(32))
    assert not twin.pooler.dense.bias.any()


@pytest.mark.parametrize("architecture", ["bert", "camembert", "distilbert", "roberta", "xlm-roberta"])
def test_a_masked_language_model_gives_the_encoder_under_it(architecture: str) -> None:
    whole = AutoModelForMaskedLM.from_config(_config(architecture)).eval()
    twin = rotary_twin(whole, base=BASE).model
    assert torch.equal(twin.embeddings.word_embeddings.weight, whole.base_model.embeddings.word_embeddings.weight)
    assert torch.equal(twin.pooler.dense.weight, torch.eye(32))  # transformers leaves the pooler out of it


@pytest.mark.parametrize("name", ["SequenceClassification", "TokenClassification", "QuestionAnswering"])
@pytest.mark.parametrize("family", ["bert", "distilbert", "roberta"])
def test_a_trained_head_is_refused_and_its_encoder_taken(family: str, name: str) -> None:
    prefix = {"bert": "Bert", "distilbert": "DistilBert", "roberta": "Roberta"}[family]
    model = getattr(getattr(families, family), f"{prefix}For{name}")(_config(family))
    error = _refused(model)
    assert f"{prefix}For{name} has a trained head" in error.fact
    assert "model.base_model" in error.hint
    rotary_twin(model.base_model, base=BASE)


@pytest.mark.parametrize(
    ("architecture", "fact", "hint"),
    [
        ("nomic_bert", "rotary positions already", "longspan extend"),
        ("jina_embeddings_v3", "rotary positions already", "longspan extend"),
        ("llama", "rotary positions already", "longspan extend"),
        ("gpt2", "is a decoder", "longspan extend"),
        ("opt", "is a decoder", "longspan extend"),
        ("bloom", "ALiBi", "longspan extend"),
        ("mpt", "ALiBi", "longspan extend"),
        ("falcon", "ALiBi", "longspan extend"),
        ("mpnet", "learned biases between pairs of tokens", "extend its table"),
        ("t5", "learned biases between pairs of tokens", "longspan encode"),
        ("electra", "16 wide and its layers 32", "embedding_size is its hidden_size"),
    ],
)
def test_other_kinds_of_model_are_refused_with_what_works(architecture: str, fact: str, hint: str) -> None:
    error = _refused(build(architecture))
    assert fact in error.fact
    assert hint in error.hint


_SMALL = {
    "vocab_size": 60,
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 40,
    "max_position_embeddings": 20,
}


@pytest.mark.parametrize(
    ("architecture", "changes", "fact"),
    [
        ("deberta", {"relative_attention": True, "pos_att_type": ["c2p"]}, "learned biases between pairs"),
        ("deberta-v2", {"relative_attention": True, "position_biased_input": False}, "learned biases between pairs"),
        ("deberta-v2", {"relative_attention": False}, "learned biases between pairs"),
        ("albert", {"embedding_size": 32}, "one set of weights"),
        ("albert", {"embedding_size": 16}, "one set of weights"),
        ("ernie", {}, "ErnieModel (ernie) cannot be converted"),
        ("bert", {"is_decoder": True}, "is a decoder"),
        ("bert", {"is_decoder": True, "add_cross_attention": True}, "is a decoder"),
        ("roberta", {"is_decoder": True}, "is a decoder"),
        ("bert", {"position_embedding_type": "relative_key"}, "'relative_key'"),
        ("electra", {"embedding_size": 32, "position_embedding_type": "relative_key_query"}, "'relative_key_query'"),
        ("bert", {"position_embedding_type": "alibi"}, "ALiBi"),
        ("bert", {"hidden_size": 36, "num_attention_heads": 4}, "36 dimensions over 4 heads make 9 a head"),
        ("distilbert", {"dim": 10, "n_heads": 2, "n_layers": 1, "hidden_dim": 12}, "make 5 a head"),
    ],
)
def test_configurations_that_do_not_fit_are_refused(architecture: str, changes: dict[str, Any], fact: str) -> None:
    sizes = {} if architecture == "distilbert" else _SMALL
    assert fact in _refused(AutoModel.from_config(AutoConfig.for_model(architecture, **{**sizes, **changes}))).fact


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")], ids=str)
@pytest.mark.parametrize(
    "name", ["encoder.layer.1.output.dense.weight", "embeddings.position_embeddings.weight", "pooler.dense.bias"]
)
def test_a_value_that_is_no_number_is_refused_by_name(name: str, value: float) -> None:
    model = build("bert")
    with torch.no_grad():
        model.get_parameter(name).view(-1)[3] = value
    error = _refused(model)
    assert name in error.fact
    assert "1 of the" in error.fact


def _with_weight(model: Any, weight: torch.Tensor) -> Any:
    model.encoder.layer[0].intermediate.dense.weight = torch.nn.Parameter(weight, requires_grad=False)
    return model


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.float8_e4m3fn], ids=str)
def test_quantised_weights_are_refused_by_name(dtype: torch.dtype) -> None:
    error = _refused(_with_weight(build("bert"), torch.zeros(48, 32).to(dtype)))
    assert "encoder.layer.0.intermediate.dense.weight" in error.fact
    assert str(dtype).removeprefix("torch.") in error.fact


def test_a_tensor_that_hides_its_quantisation_is_refused() -> None:
    class Packed(torch.Tensor):
        """Says that it is float32, as the weights of torchao do."""

    error = _refused(_with_weight(build("bert"), torch.zeros(48, 32).as_subclass(Packed)))
    assert "Packed" in error.fact


def test_a_quantisation_in_the_configuration_is_refused() -> None:
    model = build("bert")
    model.config.quantization_config = {"quant_method": "bitsandbytes", "load_in_8bit": True}
    assert "quantised" in _refused(model).fact


def test_a_model_without_values_is_refused() -> None:
    with torch.device("meta"):
        model = AutoModel.from_config(_config("bert"))
    assert "meta" in _refused(model).fact


def test_an_extended_model_is_refused_until_it_is_restored() -> None:
    model = build("bert")
    longspan.extend(model, 2 * WINDOW, "interpolate")
    error = _refused(model)
    assert "extended this model already" in error.fact
    assert "longspan.restore" in error.hint
    longspan.restore(model)
    assert rotary_twin(model, base=BASE).position.shape == (WINDOW, 32)


def test_changed_modules_are_refused_by_name() -> None:
    more, fewer, smaller = build("bert"), build("bert"), build("bert")
    more.encoder.layer[0].gate = torch.nn.Linear(2, 2)
    fewer.encoder.layer[1].output.dense.bias = None
    smaller.encoder.layer[0].intermediate.dense = torch.nn.Linear(32, 40)
    assert "2 weights have no place in the rotary network: encoder.layer.0.gate.bias" in _refused(more).fact
    assert "no weight 'encoder.layer.1.output.dense.bias'" in _refused(fewer).fact
    assert "[40, 32], its configuration says [48, 32]" in _refused(smaller).fact


def test_code_that_is_not_transformers_own_is_refused() -> None:
    model = build("bert")
    model.__class__ = type("BertModel", (type(model),), {"__module__": "transformers_modules.remote"})
    assert "cannot be converted" in _refused(model).fact


def test_what_is_no_model_is_refused() -> None:
    _refused(torch.nn.Linear(2, 2))
    with pytest.raises(InspectError, match="A str was given where a model belongs"):
        rotary_twin("bert-base-uncased", base=BASE)


@pytest.mark.parametrize("base", [0, 1, -10_000.0, float("nan"), float("inf"), True, "10000", None], ids=repr)
def test_a_base_that_turns_nothing_is_refused(base: Any) -> None:
    with pytest.raises(ConvertError, match="base="):
        rotary_twin(build("bert"), base=base)


def test_a_window_beyond_the_table_is_refused() -> None:
    with pytest.raises(InspectError, match="exceeds the 32 rows"):
        rotary_twin(build("roberta"), base=BASE, window=WINDOW + 1)


def test_a_copy_of_a_twin_is_refused_as_rotary() -> None:
    twin = rotary_twin(build("bert"), base=BASE).model
    assert "rotary positions already" in _refused(copy.deepcopy(twin)).fact
