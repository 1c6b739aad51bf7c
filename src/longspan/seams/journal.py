"""What was written to a model and what stood there before, so that all of it can be taken back."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig

Undo = Callable[[], None]

_ABSENT = object()


class Journal:
    """Changes to a model, each noted before it is made.

    To take a change back is to put back what stood there, whether or not the change was made. So an exception of any
    class may come between any two steps: ``undo`` brings the model back, and an ``undo`` that was interrupted itself
    goes on when it is called again.
    """

    def __init__(self) -> None:
        self._steps: list[Undo] = []

    def note(self, undo: Undo) -> None:
        """Remember how to take back a change that is about to be made; ``undo`` may run more than once."""
        self._steps.append(undo)

    def undo(self) -> None:
        """Take everything back, the last change first.

        A step that raises is made once more, since it may have been interrupted; what it raised comes at the end, when
        all others are taken back.
        """
        raised: BaseException | None = None
        tried: Undo | None = None
        while self._steps:
            step = self._steps[-1]
            error = _error_of(step)
            raised = raised or error
            if error is not None and step is not tried:
                tried = step
            else:
                self._steps.pop()
        if raised is not None:
            raise raised

    def put(self, place: dict[str, Any], name: str, value: object) -> None:
        """Write an entry of a dictionary."""
        old = place.get(name, _ABSENT)

        def undo() -> None:
            if old is _ABSENT:
                place.pop(name, None)
            else:
                place[name] = old

        self.note(undo)
        place[name] = value

    def set(self, module: nn.Module, name: str, value: object) -> None:
        """Write a parameter, a buffer, a submodule or a plain attribute, where the module has it now.

        Where the model was cast or moved in between, a tensor that is put back follows what stood in its place.
        """
        parts: tuple[dict[str, Any], ...] = (module._parameters, module._buffers, module._modules)
        place = next((part for part in parts if name in part), None)
        if place is None:
            self.put(module.__dict__, name, value)
            return
        old, written = place[name], _form(value)

        def undo() -> None:
            now = _form(place[name])
            if place[name] is not old and now is not None and now != written:
                place[name] = _cast(old, *now)
            else:
                place[name] = old

        self.note(undo)
        place[name] = value

    def hook(self, module: nn.Module, hook: Callable[..., Any], *, before: bool = False) -> None:
        """Add a forward hook, or a pre-hook, that is also given the keywords."""
        held = module._forward_pre_hooks if before else module._forward_hooks
        with_kwargs = module._forward_pre_hooks_with_kwargs if before else module._forward_hooks_with_kwargs

        def undo() -> None:
            for key in [key for key, each in held.items() if each is hook]:
                with_kwargs.pop(key, None)
                del held[key]

        self.note(undo)
        register = module.register_forward_pre_hook if before else module.register_forward_hook
        register(hook, with_kwargs=True)

    @contextmanager
    def passing(self) -> Iterator[Journal]:
        """A journal of changes that are taken back at the end of the block."""
        inner = Journal()
        self.note(inner.undo)
        try:
            yield inner
        finally:
            inner.undo()


def _form(held: Any) -> tuple[torch.dtype, torch.device] | None:
    """Type and device of a tensor, or of a module's first floating one; None where there is none."""
    tensors = [held] if isinstance(held, Tensor) else []
    if isinstance(held, nn.Module):
        tensors = [*held.parameters(), *held.buffers()]
    first = next((tensor for tensor in tensors if tensor.is_floating_point()), next(iter(tensors), None))
    return None if first is None else (first.dtype, first.device)


def _cast(held: Any, dtype: torch.dtype, device: torch.device) -> Any:
    """As torch casts and moves a model: only floating numbers change type, a parameter stays the same object."""
    if isinstance(held, nn.Module):
        return held.to(device=device, dtype=dtype) if dtype.is_floating_point else held.to(device=device)
    holder = nn.Module()
    if isinstance(held, nn.Parameter):
        holder.register_parameter("held", held)
    else:
        holder.register_buffer("held", held)
    return _cast(holder, dtype, device).held


def _error_of(step: Undo) -> BaseException | None:
    try:
        step()
    except BaseException as error:  # noqa: BLE001 - raised again when the other steps are made
        return error
    return None


Owned = list[tuple[Any, Any]]
"""Configurations: the one that a model had, and its own."""


def own_configuration(model: Any, journal: Journal) -> Owned:
    """Give a model a configuration of its own, which seams may write to; the undo is the object from before.

    Models are often built from one configuration object (``AutoModel.from_config(teacher.config)``), and what is
    written for one must not be read by the other. Configurations inside of configurations stay the ones that the
    inner models have.
    """
    copies: dict[int, Any] = {}
    owned: dict[int, tuple[Any, Any]] = {}
    for module in model.modules():
        config = module.__dict__.get("config")
        if isinstance(config, PreTrainedConfig) or (config is not None and config is model.config):
            own = copy.deepcopy(config, copies)
            owned[id(config)] = config, own
            journal.put(module.__dict__, "config", own)
    return list(owned.values())


def keep_later_changes(owned: Owned, journal: Journal) -> None:
    """Let what others write to the configurations from now on (``resize_token_embeddings``) outlive the undo."""
    written = [dict(vars(own)) for _, own in owned]

    def undo() -> None:
        for (before, own), known in zip(owned, written, strict=True):
            for name, value in vars(own).items():
                if name not in known or known[name] is not value:
                    before.__dict__[name] = value

    journal.note(undo)
