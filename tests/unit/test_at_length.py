"""Distillation at length: the target made of chunks, the loss between them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from longspan.conversion.agreement import Agreement
from longspan.conversion.architectures import rotary_twin
from longspan.encoding.tokens import Frame
from longspan.training.corpus import Corpus
from longspan.training.passages import passages
from longspan.training.targets import balanced_mean
from longspan.training.teacher import Teacher
from tests.models import WINDOW, build

TOKENIZER = SimpleNamespace(convert_tokens_to_ids=lambda ends: [9] * len(ends), unk_token_id=0)


def unit(rows: int, width: int, seed: int = 0) -> torch.Tensor:
    drawn = torch.randn(rows, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.nn.functional.normalize(drawn + 1, dim=-1)


def test_one_chunk_is_its_own_target() -> None:
    chunk, centre = unit(1, 8), unit(5, 8, 1).mean(0)
    torch.testing.assert_close(balanced_mean(chunk, centre), chunk[0])


def test_the_target_is_the_formula() -> None:
    chunks, centre = unit(6, 16), unit(9, 16, 1).mean(0)
    rows = chunks.numpy() - centre.numpy()
    # The dual of the same problem: (R^T R + ridge I)^-1 R^T 1, solved where the package solves the other one.
    direction = np.linalg.solve(rows.T @ rows + 5.0 * np.eye(16), rows.T @ np.ones(6))
    away = np.linalg.norm(rows, axis=1).mean() * direction / np.linalg.norm(direction)
    wanted = centre.numpy() + away
    np.testing.assert_allclose(balanced_mean(chunks, centre).numpy(), wanted / np.linalg.norm(wanted), atol=1e-12)


def test_a_large_ridge_gives_the_direction_of_the_mean_and_a_small_one_equal_cosines() -> None:
    chunks, nowhere = unit(5, 16), torch.zeros(16, dtype=torch.float64)
    mean = torch.nn.functional.normalize(chunks.mean(0), dim=0)
    torch.testing.assert_close(balanced_mean(chunks, nowhere, 1e9), mean)
    near = chunks @ balanced_mean(chunks, nowhere, 1e-9)
    torch.testing.assert_close(near, near.mean().expand(5))


def test_what_is_repeated_counts_less_than_in_the_mean() -> None:
    rare, common = unit(2, 16)
    chunks = torch.stack([rare] + [common] * 20)
    nowhere = torch.zeros(16, dtype=torch.float64)
    mean = torch.nn.functional.normalize(chunks.mean(0), dim=0)
    assert balanced_mean(chunks, nowhere) @ rare > mean @ rare + 0.05


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_target_keeps_its_type(dtype: torch.dtype) -> None:
    assert balanced_mean(unit(3, 8).to(dtype), unit(1, 8)[0].to(dtype)).dtype == dtype


ENDS = Frame((2, 4), (3,))
MEAN: Any = SimpleNamespace(pool_whole=lambda states: states.mean(1), device=torch.device("cpu"))
FIRST: Any = SimpleNamespace(pool_whole=lambda states: states[:, 0], device=torch.device("cpu"))


def long_text(content: int, seed: int = 0) -> torch.Tensor:
    ids = torch.randint(5, 120, (content,), generator=torch.Generator().manual_seed(seed))
    return torch.cat((torch.tensor(ENDS.before), ids, torch.tensor(ENDS.after)))


def target_by_hand(model: Any, ids: torch.Tensor, piece: int, centre: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The target in float64, chunk by chunk; the dual of the package's equation is solved."""
    model, total, kept = build("bert", **vars_of(model)).double(), np.zeros(32), []
    content = ids[2:-1]
    for size in (piece, piece // 2):
        vectors = []
        for at in range(0, len(content), size):
            chunk = torch.tensor([[2, 4, *content[at : at + size].tolist(), 3]])
            with torch.no_grad():
                states = model(input_ids=chunk).last_hidden_state[0].numpy()
            vectors.append(states.mean(0) / np.linalg.norm(states.mean(0)))
            if size == piece:
                kept.append(states[2:-1])
        apart = np.array(vectors) - centre
        direction = np.linalg.solve(apart.T @ apart + 5.0 * np.eye(32), apart.T @ np.ones(len(apart)))
        made = centre + np.linalg.norm(apart, axis=1).mean() * direction / np.linalg.norm(direction)
        total += made / np.linalg.norm(made)
    return total / np.linalg.norm(total), np.concatenate(kept)


def vars_of(model: Any) -> dict[str, Any]:
    return {"max_position_embeddings": model.config.max_position_embeddings}


@pytest.mark.parametrize(
    ("window", "piece", "pieces"), [(256, 252, 2), (256, 252, 9), (WINDOW, 28, 5), (WINDOW, 28, 1)], ids=str
)
@pytest.mark.parametrize("centred", [False, True], ids=["no centre", "centre"])
def test_what_a_teacher_makes_of_a_long_text(window: int, piece: int, pieces: int, centred: bool) -> None:
    model, ids = build("bert", max_position_embeddings=window), long_text(pieces * piece)
    centre = torch.linspace(-0.1, 0.2, 32)
    target, states = Teacher(model, MEAN, ENDS, piece, centre if centred else None).at_length(ids)
    wanted, kept = target_by_hand(model, ids, piece, centre.double().numpy() if centred else np.zeros(32))
    assert target.dtype == torch.float32
    assert not target.requires_grad
    assert states.shape == (1, pieces * piece, 32)
    np.testing.assert_allclose(target.numpy(), wanted, atol=2e-5)
    np.testing.assert_allclose(states[0].numpy(), kept, atol=2e-4)


def view(content: int = 84) -> dict[str, torch.Tensor]:
    """Three pieces of 28 tokens of which the last stands further behind."""
    places = torch.arange(content + 3)
    return {"input_ids": long_text(content)[None], "position_ids": torch.where(places > 57, places + 28, places)[None]}


class Given:
    """A student that gives the states it was made of."""

    def __init__(self, states: torch.Tensor) -> None:
        self.states, self.read = states, {}  # type: ignore[var-annotated]

    def __call__(self, **read: torch.Tensor) -> Any:
        self.read = read
        return SimpleNamespace(last_hidden_state=self.states)


def test_a_student_that_gives_the_target_and_the_states_has_no_loss_at_length() -> None:
    teacher, batch = Teacher(build("bert"), FIRST, ENDS, 28), view()
    target, states = teacher.at_length(batch["input_ids"][0])
    # The vector is the first token's state, so that vector and content can be chosen apart.
    right = torch.cat((7 * target[None, None], torch.randn(1, 1, 32), states, torch.randn(1, 1, 32)), dim=1)
    student = Given(right)
    assert abs(float(teacher.loss(student, batch))) < 1e-6
    assert torch.equal(student.read["position_ids"], batch["position_ids"])
    assert torch.equal(student.read["attention_mask"], torch.ones(1, 87, dtype=torch.int64))

    wrong = right + torch.randn(right.shape, generator=torch.Generator().manual_seed(1))
    s, t = wrong[0, 2:-1].double().numpy(), states[0].double().numpy()
    v, w = wrong[0, 0].double().numpy(), target.double().numpy()
    expected = 4 * (1 - v @ w / np.linalg.norm(v) / np.linalg.norm(w))
    expected += 0.5 * ((s - t) ** 2).mean() / ((t - t.mean(0)) ** 2).mean()
    assert float(teacher.loss(Given(wrong), batch)) == pytest.approx(expected, rel=1e-5)


def test_the_gradient_of_a_view_goes_down_and_reaches_every_layer() -> None:
    model = build("bert").requires_grad_(False)
    teacher, batch = Teacher(model, MEAN, ENDS, 28), view()
    student = rotary_twin(model, base=100.0).model
    weights = [weight for name, weight in student.named_parameters() if not name.startswith("pooler")]
    before = teacher.loss(student, batch)
    before.backward()  # type: ignore[no-untyped-call]
    for weight in weights:
        assert weight.grad is not None
        assert torch.isfinite(weight.grad).all()
        assert weight.grad.abs().sum() > 0
    with torch.no_grad():
        for weight in weights:
            weight -= 1e-3 * weight.grad
        assert float(teacher.loss(student, batch)) < float(before.detach())


def test_a_passage_is_compared_within_the_window() -> None:
    model, ids = build("bert"), long_text(WINDOW - 3)[None]
    teacher = Teacher(model, MEAN, ENDS, 28)
    with torch.no_grad():
        assert abs(float(teacher.loss(model, {"input_ids": ids}))) < 1e-6
        assert float(teacher.loss(rotary_twin(model, base=100.0).model, {"input_ids": ids})) > 0.1


def test_an_agreement_at_length_adds_what_a_held_out_text_has() -> None:
    draw, sizes = np.random.default_rng(0), [40, 130, 60]
    corpus = Corpus(draw.integers(10, 120, sum(sizes)).astype(np.int32), np.cumsum([0, *sizes]), "held out")
    held_out = passages(corpus, TOKENIZER, ENDS, longest=WINDOW, budget=64)
    teacher = Teacher(build("bert"), MEAN, ENDS, 28, torch.full((32,), 0.05))
    short = Agreement.of(teacher, held_out, [16, WINDOW], 4, 0)
    # 139 tokens are four pieces of 28, as 130 are; 140 are five.
    both = short.and_at_length([64, 139, 140, 1000], 3)
    assert list(short.passages) == [16, WINDOW]
    assert {length: tuple(ids.shape) for length, ids in both.passages.items()} == {
        16: (4, 16),
        WINDOW: (4, WINDOW),
        64: (3, 2 * 28 + 3),
        139: (3, 4 * 28 + 3),
    }
    student = rotary_twin(teacher.model, base=100.0).model
    found = both(student)
    assert list(found) == [16, WINDOW, 64, 139]
    for length in (64, 139):
        wanted = torch.stack([teacher.at_length(ids)[0] for ids in both.passages[length]])
        with torch.no_grad():
            ours = student(input_ids=both.passages[length]).last_hidden_state.mean(1)
        cosine = torch.nn.functional.cosine_similarity(ours, wanted).mean()
        assert found[length] == pytest.approx(float(cosine), abs=1e-5)
