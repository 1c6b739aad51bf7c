"""Which pipelines are understood: their transformer, and what each module behind it works on."""

from __future__ import annotations

from typing import Any, Literal

from longspan.errors import EncodeError
from longspan.seams import anatomy
from longspan.tokenizer import tokens_of

Reach = Literal["tokens", "row", "pool", "vector"]
"""What a module works on: token states one by one, all those of a row, pooling, or the pooled vector."""

_STATES, _VECTOR = "token_embeddings", "sentence_embedding"


def check_transformer(model: Any) -> None:
    """Check that a pipeline begins with a transformer whose last token states are read from a text's tokens.

    Args:
        model: Anything.

    Raises:
        EncodeError: It is no pipeline, begins with another module, is wrapped, quantised or exported, or makes
            something else of a text.
    """
    if told := anatomy.refusal(model):
        raise EncodeError(*told)
    if not anatomy.is_pipeline(model):
        raise _no_pipeline(model)
    if anatomy.pipeline_class(model) != "SentenceTransformer":
        raise EncodeError(
            f"A {type(model).__name__} makes no dense vector of a text.",
            "extend it with longspan.extend, and call its own encode or predict",
        )
    from sentence_transformers.sentence_transformer.modules import Transformer

    first = model[0]
    name = type(first).__name__
    if not _is_a(first, Transformer, "forward", "preprocess"):
        raise EncodeError(f"The pipeline begins with a {name}, not with a Transformer.", "encode with model.encode")
    if first.backend != "torch":
        raise EncodeError(
            f"The transformer of this pipeline runs in {first.backend}, and longspan exports a model itself.",
            f'load it with backend="torch", and encode with backend="{first.backend}"',
        )
    quantised = next((m for m in model.modules() if "quantized.dynamic" in type(m).__module__), None)
    if quantised is not None:
        raise EncodeError(
            f"A quantised {type(quantised).__name__} scales a row by what stands beside it in the batch.",
            'encode the model that was quantised, with backend="onnx" or "openvino" and dtype="int8"',
        )
    _check_reading(first)


def reach(module: Any) -> Reach:
    """What a module behind the transformer works on.

    A subclass that keeps the forward of a known module is that module.

    Raises:
        EncodeError: It is not known.
    """
    from sentence_transformers.sentence_transformer import modules

    if _is_a(module, modules.Pooling):
        return "pool"
    if _is_a(module, modules.CNN) or _is_a(module, modules.WordWeights):
        return "row"
    if _is_a(module, modules.LayerNorm) or is_dropout(module):
        return "vector"
    if _is_a(module, modules.Dense) or _is_a(module, modules.Normalize):
        return "tokens" if _STATES in (module.module_input_name, module.module_output_name) else "vector"
    raise EncodeError(
        f"longspan does not know what a {type(module).__name__} does behind the transformer.",
        "encode with model.encode; known are CNN, Dense, Dropout, LayerNorm, Normalize, Pooling and WordWeights",
    )


def is_dropout(module: Any) -> bool:
    """Whether it does nothing where a model is not trained."""
    from sentence_transformers.sentence_transformer.modules import Dropout

    return _is_a(module, Dropout)


def normalises(module: Any) -> bool:
    """Whether it makes the pooled vector a unit vector."""
    from sentence_transformers.sentence_transformer.modules import Normalize

    return _is_a(module, Normalize) and module.module_input_name == module.module_output_name == _VECTOR


def _is_a(module: Any, kind: type, *methods: str) -> bool:
    """Whether a module does what a class does, not only what a subclass of it makes of that."""
    return isinstance(module, kind) and all(
        getattr(type(module), method) is getattr(kind, method) for method in methods or ("forward",)
    )


def _no_pipeline(model: Any) -> EncodeError:
    name = type(model).__name__
    if hasattr(model, "module"):
        return EncodeError(f"A {name} wraps a model.", "pass model.module")
    return EncodeError(
        f"A {name} does not pool token states into a vector.", "load it with sentence_transformers.SentenceTransformer"
    )


def _check_reading(first: Any) -> None:
    """Check that a Transformer module gives texts to its model as they are, and takes the last states from it."""
    if "message" in first.modality_config:
        raise EncodeError(
            "The Transformer of this pipeline writes texts into the tokenizer's chat template.",
            "make the model with longspan.embedder, or with a modality_config for text alone",
        )
    text = first.modality_config.get("text") or {}
    made = text.get("method"), text.get("method_output_name"), first.module_output_name
    if made not in (("forward", "last_hidden_state", _STATES), ("forward", ("last_hidden_state",), _STATES)):
        raise EncodeError(
            f"The Transformer of this pipeline makes {first.module_output_name} of a text by {made[0]} ({made[1]}), "
            "not token states by its last layer.",
            "encode with model.encode",
        )
    if changed := sorted({*first.processing_kwargs.get("text", {}), *first.processing_kwargs.get("common", {})}):
        raise EncodeError(
            f"The Transformer of this pipeline has processing_kwargs ({', '.join(changed)}), which longspan does not "
            "apply.",
            "set max_seq_length and the tokenizer instead",
        )
    types = _types(first.tokenizer)
    if any(types):
        raise EncodeError(f"This tokenizer gives the tokens of one text the types {types}.", "encode with model.encode")


def _types(tokenizer: Any) -> list[int]:
    """The token types of a text, as far as a tokenizer hands them to a model."""
    if "token_type_ids" not in tokenizer.model_input_names:
        return []
    backend = getattr(tokenizer, "backend_tokenizer", None)  # asked itself, for a call would change what it cuts
    if backend is None:
        return list(tokens_of(tokenizer, "a", verbose=False)["token_type_ids"])
    return list(tokens_of(backend.encode, "a").type_ids)
