"""Attention over ranges of positions: one meaning (``dense``), several ways to compute it."""

from __future__ import annotations

from torch import Tensor

from longspan.attention import dense, sdpa
from longspan.attention.call import Call
from longspan.errors import SeamError


def _flex(call: Call) -> tuple[Tensor, None]:
    from longspan.attention import flex  # the compiler behind it takes long to import

    return flex.attend(call)


BACKENDS = {"eager": dense.attend, "flex": _flex, "sdpa": sdpa.attend}
"""``eager`` is the meaning, for any model and small inputs; ``flex`` compiled; ``sdpa`` torch's fused kernels."""


def choose(backend: str | None, *, special: bool) -> str:
    """The backend to use: the one asked for, or the rule's.

    The rule: ``sdpa``, and ``eager`` for a model that bounds its logits or has attention sinks, which fused kernels
    do not know. ``flex`` knows both but must be asked for: it compiles for half a minute and more.

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
    if special and backend == "sdpa":
        raise SeamError(
            f"The {backend} backend knows no bound on the logits and no attention sinks, which this model has.",
            'pass attention="eager", or attention="flex"',
        )
    return backend


def attend(call: Call, backend: str) -> tuple[Tensor, Tensor | None]:
    """Compute a call: output ``[B, heads, Q, D']``, and the weights where the backend has them.

    Raises:
        SeamError: The backend cannot compute it.
    """
    return BACKENDS[backend](call)
