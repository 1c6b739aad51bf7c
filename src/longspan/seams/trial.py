"""A few tokens through a model: what reaches its attention, and whether it reads beyond its window once extended."""

from __future__ import annotations

import inspect
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from longspan.errors import LongspanError, SeamError, one_line
from longspan.seams import anatomy
from longspan.seams.journal import Journal

_TOKENS = 6
_PLAIN = (bool, int, float, str, type(None), Tensor)
_PARTS = ("_parameters", "_buffers", "_modules")
_GONE = object()
_CHEAP = 2e11
"""Multiplications and additions of a forward that is tried at its whole length: a second or two of one CPU core.
BERT-base takes half of it for 512 tokens, BERT-large twice of it."""


def run(model: Any, journal: Journal, **given: Any) -> None:
    """Six tokens through the base model, without gradients and dropout."""
    ids = torch.arange(_TOKENS).unsqueeze(0) % getattr(anatomy.text_config(model), "vocab_size", _TOKENS)
    _forward(model, journal, ids, attention_mask=torch.ones_like(ids), **given)


def looks_ahead(model: Any) -> bool:
    """Whether the states of tokens depend on what stands behind them: six tokens, twice, with another last one.

    A model that does not run on token ids alone is taken to look both ways.
    """
    word = _word(anatomy.text_config(model))
    ids = torch.full((2, _TOKENS), word)
    ids[1, -1] = (word + 1) % anatomy.text_config(model).vocab_size
    try:
        found = [_forward(model, Journal(), row[None], attention_mask=torch.ones_like(row[None]))[0] for row in ids]
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception:  # noqa: BLE001 - whatever a model's own code does with what it does not expect
        return True
    one, other = (states[0, :-1].float() for states in found)
    noise = 16 * torch.finfo(found[0].dtype).eps * float(one.abs().max())
    return bool((one - other).abs().max() > noise)


def beyond(model: Any, journal: Journal, window: int, length: int, *, counted: bool) -> None:
    """One row through an extended model, beyond the window it had.

    Where a forward of ``window + 1`` tokens is cheap, it is made. Where it is not (a large model, or a long window),
    six tokens are given the positions behind the window, which asks every table for its new rows; a model that takes
    no ``position_ids``, or counts them itself, is not tried then.

    Args:
        model: A transformers model, extended.
        journal: Takes the training flags back.
        window: Tokens it could read before.
        length: Tokens it shall read.
        counted: Whether the extension counts positions itself and refuses others.

    Raises:
        SeamError: The forward fails.
    """
    tokens, far = min(window + 1, length), None
    if _work(model, tokens) > _CHEAP:
        if counted or "position_ids" not in inspect.signature(model.base_model.forward).parameters:
            return
        slot = anatomy.position_table(model)
        # The RoBERTa family is given rows of its table, the others (OPT) are given positions.
        offset = anatomy.pad_offset(slot.module) if slot and slot.module.padding_idx is not None else 0
        tokens, far = _TOKENS, offset + (window + torch.arange(_TOKENS)).clamp(max=length - 1).unsqueeze(0)
    if not (told := _failure(model, journal, tokens, far)):
        return
    if plain := _failure(model, journal, 1):
        raise SeamError(
            f"A {type(model).__name__} does not run on token ids alone, so longspan cannot try it: {plain}",
            "extend the part of it that reads text, such as model.text_model",
        )
    raise SeamError(
        f"A {type(model).__name__} extended to {length} tokens fails beyond {window}: {told}",
        "its positions or its attention are bound to the window where longspan does not look; read long texts in "
        "pieces, as the strategy chunk_mean does",
    )


def _failure(model: Any, journal: Journal, tokens: int, positions: Tensor | None = None) -> str:
    """What a forward of one row says when it fails, "" when it does not."""
    takes = inspect.signature(model.base_model.forward).parameters
    ids = torch.full((1, tokens), _word(anatomy.text_config(model)))
    offered = {"attention_mask": torch.ones_like(ids), "decoder_input_ids": ids[:, :1], "position_ids": positions}
    given = {name: value for name, value in offered.items() if name in takes and value is not None}
    try:
        _forward(model, journal, ids, **given)
    except (LongspanError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - whatever a model's own code does with a length that it does not know
        return one_line(error)
    return ""


def _forward(model: Any, journal: Journal, ids: Tensor, **given: Any) -> Any:
    device = next(model.parameters()).device
    put = {name: value.to(device) if isinstance(value, Tensor) else value for name, value in given.items()}
    with torch.no_grad(), journal.passing() as passing:
        for module in model.modules():
            passing.put(module.__dict__, "training", False)
        passing.note(partial(_put_back, state_of(model)))
        return model.base_model(input_ids=ids.to(device), **put)


class State(NamedTuple):
    """What a forward may exchange of a module.

    Attributes:
        module: The module.
        kind: Its class.
        held: Its parameters, buffers, submodules and plain attributes: each dictionary, and what stood in it.
    """

    module: nn.Module
    kind: type[nn.Module]
    held: list[tuple[dict[str, Any], dict[str, Any]]]


def state_of(model: nn.Module) -> list[State]:
    """What stands in a model now: BigBird exchanges its attention for good as it reads a short row."""
    found = []
    for module in model.modules():
        own = vars(module)
        plain = {name: value for name, value in own.items() if isinstance(value, _PLAIN)}
        found.append(State(module, type(module), [(own, plain), *((own[part], dict(own[part])) for part in _PARTS)]))
    return found


def exchanged(before: list[State]) -> set[str]:
    """Classes of the modules that are of another class, or hold other modules, switches or words than before."""
    return {
        kind.__name__
        for module, kind, held in before
        if type(module) is not kind
        or any(
            now.get(name) is not value if isinstance(value, nn.Module) else now.get(name) != value
            for now, old in held
            for name, value in old.items()
            if isinstance(value, (nn.Module, str, bool))
        )
    }


def _put_back(before: list[State]) -> None:
    for module, kind, held in before:
        if type(module) is not kind:
            module.__class__ = kind
        for now, old in held:
            now.update({name: value for name, value in old.items() if now.get(name, _GONE) is not value})


def _work(model: Any, tokens: int) -> float:
    """Multiplications and additions of a forward, roughly: one a weight and token, one a score and channel."""
    config = anatomy.text_config(model)
    layers = [module for module in model.base_model.modules() if not isinstance(module, nn.Embedding)]
    weights = sum(weight.numel() for module in layers for weight in module.parameters(recurse=False))
    scores = 2 * config.num_hidden_layers * config.hidden_size * tokens**2
    return float(2 * (weights * tokens + scores))


def _word(config: Any) -> int:
    """The id of a token that is nothing special: RoBERTa counts no position for padding."""
    names = ("pad", "bos", "eos", "sep", "cls", "mask", "decoder_start")
    special: list[Any] = []
    for name in names:
        given = getattr(config, f"{name}_token_id", None)
        special += given if isinstance(given, (list, tuple)) else [given]
    return next((token for token in range(getattr(config, "vocab_size", _TOKENS)) if token not in special), 0)
