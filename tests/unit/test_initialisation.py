"""The steps of the initialisation, each against its formula."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from transformers.models.jina_embeddings_v3.modeling_jina_embeddings_v3 import apply_rotary_pos_emb

from longspan.conversion.basis import balanced_basis, pair_order
from longspan.conversion.initial import (
    add_kernel,
    carry_mean_position,
    change_basis,
    initialise,
    projected,
    unrotated,
)
from longspan.conversion.kernel import score_by_offset
from tests.models import build, states, tokens

HEAD_DIMS = [2, 8, 32]


def _random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _moments(size: int, heads: int = 3) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Correlated queries and keys ``[heads, samples, size]`` and their second moments."""
    query, key = (_random(heads, 400, size, seed=s) @ _random(heads, size, size, seed=s + 9) for s in (1, 2))
    return query, key, query.mT @ query / 400, key.mT @ key / 400


@pytest.mark.parametrize("size", HEAD_DIMS)
def test_a_balanced_basis_keeps_scores_and_makes_both_moments_one_diagonal(size: int) -> None:
    query, key, query_moment, key_moment = _moments(size)
    to_query, to_key = balanced_basis(query_moment, key_moment)
    turned_query, turned_key = query @ to_query.mT, key @ to_key.mT
    torch.testing.assert_close(turned_query @ turned_key.mT, query @ key.mT, rtol=1e-9, atol=1e-9)
    # The singular values of Lq^T Lk are the roots of the eigenvalues of Cq Ck.
    strength = torch.linalg.eigvals(query_moment @ key_moment).real.clamp(min=0).sqrt().sort(descending=True).values
    # The roots are those of moments with a millionth of their mean power on the diagonal.
    close = {"rtol": 1e-3, "atol": 1e-3 * float(strength.mean())}
    for states_ in (turned_query, turned_key):
        torch.testing.assert_close(states_.mT @ states_ / 400, torch.diag_embed(strength), **close)


@pytest.mark.parametrize("power", [1e-12, 1e12], ids=["weak", "strong"])
def test_moments_of_any_size_are_balanced(power: float) -> None:
    *_, query_moment, key_moment = _moments(8)
    to_query, to_key = balanced_basis(query_moment * power, key_moment)
    torch.testing.assert_close(to_query.mT @ to_key, torch.eye(8).double().expand(3, 8, 8), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", ["no queries", "no keys", "neither", "one direction", "float32"])
def test_degenerate_moments_give_a_finite_basis_that_keeps_scores(kind: str) -> None:
    query, key, query_moment, key_moment = _moments(8)
    direction = _random(3, 8, 1, seed=5)
    nothing = torch.zeros_like(query_moment)
    query_moment, key_moment = {
        "no queries": (nothing, key_moment),
        "no keys": (query_moment, nothing),
        "neither": (nothing, nothing),
        "one direction": (direction @ direction.mT, key_moment),
        "float32": (query_moment.float(), key_moment.float()),
    }[kind]
    to_query, to_key = balanced_basis(query_moment, key_moment)
    assert to_query.dtype == to_key.dtype == torch.float64
    assert torch.isfinite(to_query).all()
    assert torch.isfinite(to_key).all()
    scores = (query @ to_query.mT) @ (key @ to_key.mT).mT
    torch.testing.assert_close(scores, query @ key.mT, rtol=1e-7, atol=1e-6)


@pytest.mark.parametrize("head_dim", [2, 4, 8, 32, 64])
def test_the_strongest_two_channels_share_the_last_pair_and_the_weakest_two_the_first(head_dim: int) -> None:
    order, half = pair_order(head_dim).tolist(), head_dim // 2
    assert sorted(order) == list(range(head_dim))
    assert {order[half - 1], order[-1]} == {0, 1}
    assert {order[0], order[half]} == {head_dim - 2, head_dim - 1}
    weakest = [min(order[pair], order[pair + half]) for pair in range(half)]
    assert weakest == sorted(weakest, reverse=True)


def _network() -> Any:
    """A rotary network whose biases and vectors are no zeros."""
    model = build("jina_embeddings_v3", pad_token_id=1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.1 * torch.randn(parameter.shape))
    return model


@pytest.mark.parametrize("first", [None, 2])
def test_the_mean_row_goes_to_all_types_and_row_0_to_the_first_token(first: int | None) -> None:
    embeddings, position = _network().embeddings, _random(30, 32).float()
    words, types = (
        table.weight.detach().double().clone()
        for table in (embeddings.word_embeddings, embeddings.token_type_embeddings)
    )
    with torch.no_grad():
        carry_mean_position(embeddings, position, first)
    mean = sum(row.double() for row in position[1:]) / 29
    expected = words.clone()
    if first is not None:
        expected[first] += position[0].double() - mean
    torch.testing.assert_close(embeddings.token_type_embeddings.weight.double(), types + mean, rtol=0, atol=1e-6)
    torch.testing.assert_close(embeddings.word_embeddings.weight.double(), expected, rtol=0, atol=1e-6)
    if first is not None:
        summed = embeddings.word_embeddings.weight[first] + embeddings.token_type_embeddings.weight[0]
        torch.testing.assert_close(summed.double(), words[first] + types[0] + position[0], rtol=0, atol=1e-6)


def _moment_of(states_: torch.Tensor) -> torch.Tensor:
    return torch.einsum("rhti,rhtj->hij", states_.double(), states_.double()) / (states_.shape[0] * states_.shape[2])


def test_a_change_of_basis_is_free_without_rotation_and_not_with_it() -> None:
    model, ids = _network(), tokens(4, 24)
    turning = states(model, ids)
    with unrotated(model):
        still = states(model, ids)
    with torch.no_grad():
        before = projected(model, input_ids=ids)
        for layer, (query, key) in zip(model.layers, before, strict=True):
            change_basis(layer.self_attn, _moment_of(query), _moment_of(key))
    with unrotated(model):
        torch.testing.assert_close(states(model, ids), still, rtol=1e-5, atol=1e-5)
    assert (states(model, ids) - turning).abs().max() > 0.01


def test_a_change_of_basis_puts_the_power_of_queries_and_keys_into_the_slow_pairs() -> None:
    model, ids = _network(), tokens(4, 24)
    with torch.no_grad():
        ((query, key), *_) = projected(model, input_ids=ids)
        change_basis(model.layers[0].self_attn, _moment_of(query), _moment_of(key))
        ((query, key), *_) = projected(model, input_ids=ids)
    for states_ in (query, key):
        power = states_.double().square().mean((0, 2)).unflatten(-1, (2, -1)).sum(1)  # [heads, pairs]
        assert (power.diff(dim=-1) > 0).all()


def test_a_kernel_is_added_to_the_biases_of_its_own_heads() -> None:
    attention = _network().layers[0].self_attn
    before = {name: value.clone() for name, value in attention.state_dict().items()}
    waves = torch.zeros(4, 2, dtype=torch.complex128)
    waves[1, 0] = 2.0j
    with torch.no_grad():
        add_kernel(attention, waves)
    after = attention.state_dict()
    changed = {name: (after[name] != before[name]).nonzero().flatten().tolist() for name in before}
    # Head 1 has the channels 8 to 15, its fastest pair 8 and 12; the key's phase is -90 degrees.
    assert changed.pop("q_proj.bias") == [8]
    assert set(changed.pop("k_proj.bias")) - {8} == {12}
    assert not any(changed.values())
    assert float(after["k_proj.bias"][12] - before["k_proj.bias"][12]) == pytest.approx(
        -math.sqrt(2 * math.sqrt(8)), rel=1e-5
    )


def test_rotation_comes_back_after_an_exception() -> None:
    model, ids = _network(), tokens(2, 24)
    kept, expected = model.rotary_emb.inv_freq.clone(), states(model, ids)
    with unrotated(model):
        assert not model.rotary_emb.inv_freq.any()
    with pytest.raises(IndexError), unrotated(model):
        model(torch.full((1, 4), 10_000))
    assert torch.equal(model.rotary_emb.inv_freq, kept)
    assert torch.equal(states(model, ids), expected)


@torch.no_grad()
def test_projected_gives_queries_and_keys_of_each_head_before_rotation() -> None:
    model, ids = _network(), tokens(2, 24)
    found = projected(model, input_ids=ids)
    assert [(query.shape, key.shape) for query, key in found] == [((2, 4, 24, 8),) * 2] * 2
    embedded = model.embeddings(input_ids=ids)
    attention = model.layers[0].self_attn
    for states_, projection in zip(found[0], (attention.q_proj, attention.k_proj), strict=True):
        third = embedded.double() @ projection.weight[16:24].double().T + projection.bias[16:24]  # head 2
        torch.testing.assert_close(states_[:, 2].double(), third, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("fails", [True, False])
def test_projected_leaves_no_hook(fails: bool) -> None:
    model = _network()
    if fails:
        with pytest.raises(IndexError):
            projected(model, input_ids=torch.full((1, 4), 10_000))
    else:
        projected(model, input_ids=tokens(2, 24))
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize("length", [1, 2, 3, 7])
@pytest.mark.parametrize("first", [None, 2])
def test_passages_shorter_than_the_reach_are_enough_to_measure_on(length: int, first: int | None) -> None:
    student = initialise(build("bert"), tokens(2, length), base=10_000.0, first=first)
    assert torch.isfinite(states(student, tokens(2, 32))).all()


def test_biases_bring_the_first_layers_kernels_closer_to_the_originals(monkeypatch: pytest.MonkeyPatch) -> None:
    original, ids = build("bert", num_hidden_layers=1), tokens(16, 32)
    with torch.no_grad():  # near tokens attend to each other, whatever they say
        original.embeddings.position_embeddings.weight.copy_(_waves_of_a_table(32, 32))
        original.embeddings.word_embeddings.weight.mul_(0.3)
        attention = original.encoder.layer[0].attention.self
        attention.key.weight.copy_(attention.query.weight)
        given = original.embeddings(ids)
        wanted = score_by_offset(*(_by_head(side(given)) for side in (attention.query, attention.key)), 15)

    def missing() -> torch.Tensor:
        student = initialise(original, ids, base=10_000.0, first=None)
        with torch.no_grad():
            ((query, key),) = projected(student, input_ids=ids)
            turn = student.rotary_emb(given, torch.arange(32)[None])
            return wanted - score_by_offset(*apply_rotary_pos_emb(query, key, *turn), 15)

    with_biases, fitted = missing(), []
    monkeypatch.setattr("longspan.conversion.initial.fit_kernel", lambda kernel, *_: fitted.append(kernel))
    monkeypatch.setattr("longspan.conversion.initial.add_kernel", lambda attention, waves: None)
    without = missing()
    torch.testing.assert_close(fitted[0], without, rtol=1e-4, atol=1e-4)
    power = [float((left - left.mean(-1, keepdim=True)).square().sum()) for left in (with_biases, without)]
    assert power[0] < 0.5 * power[1]


def _by_head(states_: torch.Tensor) -> torch.Tensor:
    return states_.unflatten(-1, (4, 8)).transpose(1, 2)


def _waves_of_a_table(rows: int, hidden: int) -> torch.Tensor:
    angle = torch.arange(rows)[:, None] * 100.0 ** (-torch.arange(hidden // 2) / (hidden // 2))
    return torch.cat((angle.cos(), angle.sin()), dim=-1)


def test_heads_of_one_pair_are_initialised() -> None:
    student = initialise(build("bert", num_attention_heads=16), tokens(4, 24), base=10_000.0, first=None)
    assert student.rotary_emb.inv_freq.tolist() == [1.0]
    assert torch.isfinite(states(student, tokens(2, 32))).all()


@pytest.mark.parametrize("side", ["query", "key"])
def test_a_pruned_head_stays_finite_and_reads_no_content(side: str) -> None:
    original = build("bert")
    projection = getattr(original.encoder.layer[0].attention.self, side)
    with torch.no_grad():
        projection.weight[:8] = 0
        projection.bias[:8] = 0
    student = initialise(original, tokens(4, 24), base=10_000.0, first=None)
    assert all(torch.isfinite(parameter).all() for parameter in student.parameters())
    attention = student.layers[0].self_attn
    weight = {"query": attention.q_proj, "key": attention.k_proj}[side].weight
    assert not weight[:8].any()
