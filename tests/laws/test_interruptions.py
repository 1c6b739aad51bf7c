"""An exception of any class, at any line of extend and restore, leaves a model as it was, or extended as a whole."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch
from torch import nn

from longspan import LongspanError, extend, extended, extension, inspect, plan, restore, seams
from longspan.extension import plan_of
from longspan.seams import anatomy
from tests.laws.cases import LONG, fresh
from tests.laws.test_slopes import encoder
from tests.pipelines import pipeline

WATCHED = (extension.__file__, str(Path(seams.__file__).parent))
KINDS: dict[str, tuple[Callable[[], Any], str]] = {  # together they run every seam
    "table, positions, scale": (partial(fresh, "bert"), "interpolate + log_n"),
    "queries": (partial(fresh, "gpt2"), "tile + temperature"),
    "frequencies": (partial(fresh, "llama"), "longrope(first=4)"),
    "late rotation": (partial(fresh, "gemma3_text"), "rerope + dynamic_ntk"),
    "slopes of a decoder": (partial(fresh, "mpt"), "alibi_interpolation"),
    "slopes of an encoder": (partial(encoder, True), "alibi_interpolation(by_length=true)"),
}


@contextmanager
def interrupted(
    at: int = 0, error: type[BaseException] = KeyboardInterrupt, *, since: str = ""
) -> Iterator[dict[tuple[str, int], None]]:
    """Raise at the ``at``-th line of longspan that runs in the block, counting a line once; gives the lines.

    With ``since``, lines count from the first call of that function on.
    """
    lines: dict[tuple[str, int], None] = {}
    waiting = bool(since)

    def trace(frame: FrameType, event: str, _: Any) -> Callable[..., Any] | None:
        nonlocal waiting
        waiting = waiting and frame.f_code.co_name != since
        if waiting or not frame.f_code.co_filename.startswith(WATCHED):
            return None
        place = frame.f_code.co_filename, frame.f_lineno
        if event == "line" and place not in lines:
            lines[place] = None
            if len(lines) == at:
                raise error
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield lines
    finally:
        sys.settrace(before)


class Same:
    """Equal to the same object only, which it keeps alive."""

    def __init__(self, value: object) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and self.value is other.value

    __hash__ = None  # type: ignore[assignment]


def snapshot(model: Any) -> list[Any]:
    """All that a seam could write to: attributes, parameters, buffers, hooks, configurations, limits."""
    seen: list[Any] = []
    for module in model.modules():
        for name, value in vars(module).items():
            one = isinstance(value, (nn.Module, torch.Tensor)) or name in ("config", "forward")
            parts = [(key, Same(each)) for key, each in value.items()] if isinstance(value, dict) else repr(value)
            seen.append((name, Same(value) if one else parts))
        if hasattr(module, "config"):
            seen.append({key: repr(value) for key, value in vars(module.config).items()})
    if anatomy.is_pipeline(model):
        seen.append((model.max_seq_length, model.tokenizer.backend_tokenizer.truncation))
    return seen


def stopped(run: Callable[[], object], at: int, since: str = "") -> bool:
    """Whether a run was interrupted, which is over before so many lines otherwise."""
    try:
        with interrupted(at, since=since):
            run()
    except KeyboardInterrupt:
        return True
    return False


@pytest.mark.parametrize("kind", KINDS)
def test_an_interrupted_extend_leaves_the_model_as_it_was(kind: str) -> None:
    build, spec = KINDS[kind]
    model = build()
    made = plan(inspect(model), spec, LONG)
    before, lines = snapshot(model), 0
    while stopped(lambda: extend(model, method=made), lines + 1, since="_apply"):  # nothing is written before
        lines += 1
        assert snapshot(model) == before, lines
    assert lines > 60
    assert plan_of(model) == made


@pytest.mark.parametrize("kind", KINDS)
def test_an_interrupted_restore_restores_or_can_be_called_again(kind: str) -> None:
    build, spec = KINDS[kind]
    model = build()
    made = plan(inspect(model), spec, LONG)
    before, lines = snapshot(model), 0
    whole = snapshot(extend(model, method=made))
    while stopped(lambda: restore(model), lines + 1):
        lines += 1
        if plan_of(model) is not None:
            assert snapshot(model) == whole, lines
            restore(model)
        assert snapshot(model) == before, lines
        whole = snapshot(extend(model, method=made))
    assert lines > 10
    assert snapshot(model) == before


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, MemoryError, GeneratorExit, RuntimeError])
def test_a_block_that_is_interrupted_anywhere_ends_as_it_began(error: type[BaseException], tmp_path: Path) -> None:
    model = pipeline(tmp_path)
    model.tokenizer.backend_tokenizer.enable_truncation(20)
    before = snapshot(model)

    def run() -> None:
        with extended(model, LONG, "tile"):
            assert model.max_seq_length == model.tokenizer.backend_tokenizer.truncation["max_length"] == LONG

    with interrupted() as lines:
        run()
    for at in range(1, len(lines) + 1, 1 if error is KeyboardInterrupt else 9):
        with suppress(error, LongspanError), interrupted(at, error):
            run()
        assert snapshot(model) == before, at


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_back_that_fails_does_not_keep_the_others(kind: str) -> None:
    build, spec = KINDS[kind]
    model = build()
    before = snapshot(model)
    extend(model, LONG, spec)
    journal = getattr(model.base_model, anatomy.APPLIED).journal
    steps = journal._steps

    def fails() -> None:
        raise OSError("no such step")

    steps.insert(len(steps) // 2, fails)
    with pytest.raises(OSError, match="no such step"):
        restore(model)
    assert snapshot(model) == before
