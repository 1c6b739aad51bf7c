"""A distillation of a tiny network: options, checkpoints, where it stops and where it goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from longspan.conversion.architectures import rotary_twin
from longspan.conversion.work import keep_options
from longspan.encoding.pooling import Head
from longspan.encoding.tokens import Frame
from longspan.errors import ConvertError, StorageError
from longspan.training.corpus import Corpus
from longspan.training.lessons import Lessons
from longspan.training.passages import passages
from longspan.training.run import Recipe, distil, frozen, last_whole, without_dropout
from longspan.training.teacher import Teacher
from longspan.training.views import views
from tests.models import WINDOW, build

END = 9


def checkpoint(folder: Path, step: int, state: str | None) -> Path:
    made = folder / f"checkpoint-{step}"
    made.mkdir(parents=True)
    (made / "model.safetensors").write_bytes(b"weights")
    if state is not None:
        (made / "trainer_state.json").write_text(state)
    return made


def test_the_last_whole_checkpoint_is_the_one_with_the_most_steps_that_was_written_to_its_end(tmp_path: Path) -> None:
    assert last_whole(tmp_path) is None
    assert last_whole(tmp_path / "absent") is None
    checkpoint(tmp_path, 900, json.dumps({"global_step": 900}))
    whole = checkpoint(tmp_path, 1000, json.dumps({"global_step": 1000}))
    checkpoint(tmp_path, 1100, json.dumps({"global_step": 1100})[:-1])
    checkpoint(tmp_path, 1200, None)
    checkpoint(tmp_path, 1300, "[]")
    checkpoint(tmp_path, 1400, "{}")
    assert last_whole(tmp_path) == whole


def test_a_run_goes_on_with_its_own_options_only(tmp_path: Path) -> None:
    work = tmp_path / "model.training"
    keep_options(work, {"base": 10_000.0, "steps": 6})
    keep_options(work, {"base": 20_000.0, "steps": 6})  # nothing was trained yet, so nothing is mixed
    checkpoint(work, 2, json.dumps({"global_step": 2}))
    keep_options(work, {"base": 20_000.0, "steps": 6})
    with pytest.raises(ConvertError, match=r"steps=6, this one has steps=7"):
        keep_options(work, {"base": 20_000.0, "steps": 7})
    for damaged in ("", '{"base": 2', "[]"):
        (work / "run.json").write_text(damaged)
        with pytest.raises(ConvertError, match=r"run\.json cannot be read"):
            keep_options(work, {"base": 20_000.0, "steps": 6})


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        keep_options(tmp_path / "file" / "model.training", {"steps": 6})


def test_a_frozen_model_is_as_before_also_after_an_error() -> None:
    model = build("bert").train()
    model.encoder.layer[0].eval()
    model.pooler.requires_grad_(False)
    modes = [module.training for module in model.modules()]
    wanted = [parameter.requires_grad for parameter in model.parameters()]
    during: list[bool] = []

    def read() -> None:
        with frozen(model):
            during.extend(module.training for module in model.modules())
            during.extend(parameter.requires_grad for parameter in model.parameters())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read()
    assert not any(during)
    assert [module.training for module in model.modules()] == modes
    assert [parameter.requires_grad for parameter in model.parameters()] == wanted


BASE = 100.0
RECIPE = Recipe(steps=6, budget=96, learning_rate=1e-3, check_every=2)


class Mean:
    """A head that pools by mean."""

    def pool_whole(self, states: torch.Tensor) -> torch.Tensor:
        return states.mean(1)


FRAME = Frame((2,), (3,))


def tiny_lessons(recipe: Recipe) -> Lessons:
    ids = np.random.default_rng(0).integers(10, 120, 4000).astype(np.int32)
    ids[::6] = END
    corpus = Corpus(ids, np.arange(0, 4001, 100), "digest")
    tokenizer = SimpleNamespace(convert_tokens_to_ids=lambda ends: [END] * len(ends), unk_token_id=0)
    read = passages(corpus, tokenizer, FRAME, longest=WINDOW, budget=96)
    to = recipe.to
    beyond = None if to is None else views(corpus, FRAME, window=WINDOW, longest=to, budget=96)
    return Lessons(read, beyond, recipe.steps, recipe.seed)


def run(
    folder: Path,
    recipe: Recipe = RECIPE,
    agreement: Callable[[Any], Mapping[int, float]] = lambda student: {16: 0.5},
    spoil: Callable[[Any], None] = lambda student: None,
) -> tuple[Any, Any]:
    model = build("bert")
    student = rotary_twin(model, base=BASE).model
    spoil(student)
    teacher = Teacher(model, Mean(), FRAME, piece=30)  # type: ignore[arg-type]
    with frozen(model):
        done = distil(student, teacher, tiny_lessons(recipe), agreement, recipe, folder, progress=False)
    return student, done


def same(one: Any, other: Any) -> bool:
    theirs = other.state_dict()
    return all(torch.equal(weight, theirs[name]) for name, weight in one.state_dict().items())


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    folder = tmp_path_factory.mktemp("trained")
    student, done = run(folder)
    return SimpleNamespace(student=student, done=done, folder=folder)


def test_a_distillation_trains_all_but_the_words(trained: SimpleNamespace) -> None:
    before, after = rotary_twin(build("bert"), base=BASE).model.state_dict(), trained.student.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    words = "embeddings.word_embeddings.weight"
    assert words not in changed
    assert {name for name in before if name.startswith("layers.")} <= changed
    assert trained.done.steps == 6
    assert trained.done.cosine == {16: 0.5}
    assert not trained.student.training


def test_words_are_trained_where_asked(tmp_path: Path) -> None:
    student, _ = run(tmp_path, Recipe(steps=1, budget=96, train_words=True))
    words = "embeddings.word_embeddings.weight"
    assert not torch.equal(student.state_dict()[words], rotary_twin(build("bert"), base=BASE).model.state_dict()[words])


def test_two_checkpoints_are_kept_and_nothing_is_said(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "elsewhere"
    home.mkdir()
    monkeypatch.chdir(home)
    run(tmp_path / "work")
    assert sorted(path.name for path in (tmp_path / "work").iterdir()) == ["checkpoint-4", "checkpoint-6"]
    assert list(home.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def interrupted_at(measurement: int) -> Callable[[Any], Mapping[int, float]]:
    calls = iter(range(1, 100))

    def agreement(student: Any) -> Mapping[int, float]:
        if next(calls) == measurement:
            raise KeyboardInterrupt
        return {16: 0.5}

    return agreement


@pytest.mark.parametrize("measurement", [1, 2, 3], ids=["no checkpoint", "step 2", "step 4"])
@pytest.mark.parametrize("to", [None, 90], ids=["within the window", "at length"])
def test_an_interrupted_run_comes_to_the_same_weights(
    trained: Any, tmp_path: Path, measurement: int, to: int | None
) -> None:
    recipe = replace(RECIPE, to=to)
    wanted = trained.student if to is None else run(tmp_path / "whole", recipe)[0]
    assert same(wanted, trained.student) is (to is None)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, recipe, agreement=interrupted_at(measurement))
    whole = last_whole(tmp_path)
    assert (whole.name if whole else None) == [None, "checkpoint-2", "checkpoint-4"][measurement - 1]
    # What a kill in the midst of the next checkpoint leaves behind.
    checkpoint(tmp_path, 5, '{"global_')
    student, done = run(tmp_path, recipe)
    assert same(student, wanted)
    assert done.steps == 6


def test_a_run_stops_at_its_target_and_is_done_when_it_is_called_again(tmp_path: Path) -> None:
    recipe = Recipe(steps=6, budget=96, learning_rate=1e-3, check_every=2, until=0.9)
    rising = iter([{16: 0.95, 32: 0.8}, {16: 0.96, 32: 0.9}])
    stopped, done = run(tmp_path, recipe, agreement=lambda student: next(rising))
    assert done.steps == 4
    assert done.cosine == {16: 0.96, 32: 0.9}
    again, done = run(tmp_path, recipe, agreement=lambda student: {16: 0.97, 32: 0.91})
    assert done.steps == 4
    assert done.cosine == {16: 0.97, 32: 0.91}
    assert same(again, stopped)


def test_the_last_step_is_measured_and_kept_whatever_the_rhythm(tmp_path: Path) -> None:
    seen: list[torch.Tensor] = []

    def agreement(student: Any) -> Mapping[int, float]:
        seen.append(student.layers[0].mlp.fc1.bias.detach().clone())
        return {16: len(seen) / 10}

    student, done = run(tmp_path, Recipe(steps=5, budget=96, learning_rate=1e-3, check_every=2), agreement)
    assert done.cosine == {16: 0.3}  # after steps 2, 4 and 5
    assert torch.equal(seen[-1], student.layers[0].mlp.fc1.bias)
    assert (last_whole(tmp_path) or tmp_path).name == "checkpoint-5"


def spoilt(student: Any) -> None:
    with torch.no_grad():
        student.layers[0].mlp.fc1.bias[0] = float("nan")


def test_a_loss_that_is_no_number_leaves_the_checkpoints(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, agreement=interrupted_at(2))
    before = (tmp_path / "checkpoint-2" / "model.safetensors").read_bytes()

    def poisoned(student: Any) -> Mapping[int, float]:
        spoilt(student)
        return {16: 0.5}

    with pytest.raises(ConvertError, match="The loss is nan at step 5"):
        run(tmp_path, agreement=poisoned)
    assert (tmp_path / "checkpoint-2" / "model.safetensors").read_bytes() == before


def test_a_student_that_is_spoilt_from_the_start_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match=r"(?s)The loss is nan at step 1.*lower learning rate"):
        run(tmp_path, spoil=spoilt)
    assert last_whole(tmp_path) is None


def test_vectors_that_are_no_numbers_do_not_become_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match="not numbers after step 2"):
        run(tmp_path, agreement=lambda student: {16: 0.9, 32: float("nan")})
    assert last_whole(tmp_path) is None


def test_dropout_is_off_while_a_student_learns() -> None:
    student = rotary_twin(build("bert", hidden_dropout_prob=0.5, attention_probs_dropout_prob=0.5), base=BASE).model
    ids = torch.randint(10, 120, (2, 16), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        wanted = student.eval()(input_ids=ids).last_hidden_state
        noisy = student.train()(input_ids=ids).last_hidden_state
        with without_dropout(student):
            silent = student.train()(input_ids=ids).last_hidden_state
        again = student.train()(input_ids=ids).last_hidden_state
    torch.testing.assert_close(silent, wanted)
    assert (noisy - wanted).abs().max() > 0.1
    assert (again - wanted).abs().max() > 0.1


def test_pooling_reads_every_token() -> None:
    seen: list[Any] = []
    head = SimpleNamespace(pool=lambda states, rows: seen.append([row.pooled for row in rows]) or states.mean(1))
    assert Head.pool_whole(head, torch.ones(3, 7, 2)).shape == (3, 2)  # type: ignore[arg-type]
    assert seen == [[(0, 7)] * 3]
