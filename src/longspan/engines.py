"""What a checkpoint says to serving engines: dual chunk attention, which vLLM and SGLang compute themselves."""

from __future__ import annotations

from longspan import spec
from longspan.methods.pairwise.dca import DCA
from longspan.planning import Plan

ENGINE_KEY = "dual_chunk_attention_config"
"""The key of config.json that both engines read."""

_READERS = ("qwen2", "qwen2_moe", "qwen3", "qwen3_moe")
# Engines that find the key take a backend which wants five queries a token; only these model classes make them.

_BLOCK = 16
# Tokens of a block of the engines' KV cache, which must divide a chunk.


def dual_chunk(made: Plan) -> dict[str, int] | None:
    """The value of the engines' key, None where the plan has no dual chunk attention or they cannot compute it."""
    method = _dca(made)
    if method is None or left_out(made):
        return None
    cap, size = method.sizes(made.geometry)
    # The engines' temperature multiplies keys and the softmax scale, each by max(1, 0.1 ln(n / original) + 1) for
    # the length n so far. No method here is that, so nothing of a plan can go there: 0 turns it off.
    return {"chunk_size": cap, "local_size": cap - size, "original_max_position_embeddings": 0}


def left_out(made: Plan) -> str:
    """Why a plan with dual chunk attention cannot be told to the engines, as a clause; "" where it can."""
    method, geometry = _dca(made), made.geometry
    if method is None:
        return ""
    size = method.sizes(geometry)[1]
    rotation = (made.rope_parameters or geometry.rope_parameters).get("rope_type", "default")
    reasons = {
        "they know no dual chunk attention for encoders": geometry.role == "encoder",
        f"they read it in {', '.join(_READERS)}, and this is {geometry.architecture}": (
            geometry.architecture not in _READERS
        ),
        "their dual chunk attention knows no sliding layers": "sliding_attention" in geometry.layer_types,
        "they cannot make the rotation depend on the input's length": made.by_length,
        f"they refuse it beside a scaled rotation (rope_type {rotation})": rotation != "default",
        "they do not apply the factor on the logits": made.scale_home == "attention",
        f"a chunk of {size} tokens is no multiple of their cache's block of {_BLOCK}": size % _BLOCK != 0,
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def engines(made: Plan, *, had_key: bool = False) -> str:
    """What the model card says about the engines, "" where there is nothing to say.

    Args:
        made: The plan the model was extended by.
        had_key: Whether the original's configuration carried the key.
    """
    if (method := _dca(made)) is None:
        removed = f"The original's `{ENGINE_KEY}` was taken out: this extension starts from the model without it."
        return removed if had_key else ""
    if reason := left_out(made):
        return f"`{ENGINE_KEY}`, the key of vLLM and SGLang, is left out: {reason}."
    size, same = method.sizes(made.geometry)[1], spec.short([DCA(method.chunk, method.local, adaptive=False)])
    outputs = (
        f"They apply it to every input, so a query at position {size} or later gets its distances within the window "
        f"too, where longspan keeps the true ones, and outputs differ from there on; `{same}` is the same computation."
        if method.adaptive
        else "It is the same computation as in longspan."
    )
    return (
        f"For vLLM and SGLang config.json carries `{ENGINE_KEY}`, by which they compute dual chunk attention "
        f"themselves. {outputs} vLLM dropped its backend for it in 0.11, and later versions are reported to fail on "
        "the key: take it out there, and with it the long window."
    )


def _dca(made: Plan) -> DCA | None:
    method = made.of("pairwise")
    return method if made.late and isinstance(method, DCA) else None
