"""Attention over ranges of positions: one meaning (``dense``), several ways to compute it."""

from __future__ import annotations

from torch import Tensor

from longspan.attention import dense, sdpa
from longspan.attention.call import Call
from longspan.errors import SeamError

BACKENDS = {"eager": dense.attend, "sdpa": sdpa.attend}
"""``eager`` is the meaning, for any model and small inputs; ``sdpa`` torch's fused kernels."""


def choose(backend: str | None, *, special: bool) -> str:
    """The backend to use: the one asked for, or the rule's.

    The rule: ``sdpa``, and ``eager`` for a model that bounds its logits or has attention sinks, which fused kernels
    do not know.

    Args:
        backend: The one asked for, None for the rule.
        special: Whether the model bounds its logits or has sinks.

    Raises:
        SeamError: There is no such backend, or it cannot compute this model.
    """
    if backend is None:
        return "eager" if special else "sdpa"
    if backend not in BACKENDS:
        raise SeamError(f"There is no attention backend {backend!r}.", f"these exist: {', '.join(BACKENDS)}")
    if special and backend != "eager":
        raise SeamError(
            f"The {backend} backend knows no bound on the logits and no attention sinks, which this model has.",
            'pass attention="eager"',
        )
    return backend


def attend(call: Call, backend: str) -> tuple[Tensor, Tensor | None]:
    """Compute a call: output ``[B, heads, Q, D']``, and the weights where the backend has them.

    Raises:
        SeamError: The backend cannot compute it.
    """
    return BACKENDS[backend](call)
