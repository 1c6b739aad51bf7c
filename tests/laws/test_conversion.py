"""Laws of a converted encoder."""

from __future__ import annotations

import gzip
import json
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModel

import longspan
from longspan.conversion.architectures import NAMES, Twin, rotary_twin
from longspan.conversion.initial import initialise
from tests.models import WINDOW, build, states, tokens

FAMILIES = sorted(NAMES)
OFFSET = {"roberta": 2, "xlm-roberta": 2, "camembert": 2}
"""Rows before position 0: as many as the padding id of tests/models.py, 1, and one more."""
CLS = 2
"""Id of the token that stands first in the passages of tiny models."""
HEADS = Path(__file__).parents[1] / "data" / "qmsum_heads.jsonl.gz"


def _original(architecture: str, **changes: Any) -> Any:
    if architecture == "electra":
        changes = {"embedding_size": 32, **changes}
    model = build(architecture, **changes)
    with torch.no_grad():
        # The tiny models keep biases at 0 and LayerNorms at 1, where a swapped pair of names would show nothing.
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.1 * torch.randn(parameter.shape))
    return model


def _without_rotation(twin: Any) -> None:
    twin.rotary_emb.inv_freq.zero_()


def _padded(ids: torch.Tensor, pad: int, *, left: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """The ids with a second row that is cut to two thirds and filled with padding."""
    ids, length = ids.clone(), ids.shape[1]
    mask = torch.ones_like(ids)
    gone = slice(0, length // 3) if left else slice(length - length // 3, length)
    ids[1, gone], mask[1, gone] = pad, 0
    return ids, mask


def _by_hand(made: Twin, ids: torch.Tensor, rows: torch.Tensor, mask: torch.Tensor) -> Any:
    """The twin on word vectors to which the table's rows ``[batch, length]`` were added."""
    words = made.model.embeddings.word_embeddings.weight[ids]
    return made.model(inputs_embeds=words + made.position[rows], attention_mask=mask)


def _agree(original: Any, made: Twin, ids: torch.Tensor, mask: torch.Tensor) -> None:
    _without_rotation(made.model)
    rows = torch.arange(ids.shape[1]).expand_as(ids)
    if original.config.model_type in OFFSET:
        rows = (mask.cumsum(1) - 1).clamp(min=0)  # these count real tokens; the others count places
    with torch.no_grad():
        there, here = original(input_ids=ids, attention_mask=mask), _by_hand(made, ids, rows, mask)
    real = mask.bool()
    torch.testing.assert_close(here.last_hidden_state[real], there.last_hidden_state[real], rtol=1e-5, atol=1e-5)
    if getattr(there, "pooler_output", None) is not None:
        first = real[:, 0]
        torch.testing.assert_close(here.pooler_output[first], there.pooler_output[first], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("architecture", FAMILIES)
def test_without_rotation_and_with_positions_by_hand_the_twin_is_the_original(architecture: str, side: str) -> None:
    original = _original(architecture)
    made = rotary_twin(original, base=10_000.0)
    _agree(original, made, *_padded(tokens(2, WINDOW), original.config.pad_token_id, left=side == "left"))


@pytest.mark.parametrize("activation", ["relu", "gelu_new", "silu"])
@pytest.mark.parametrize("architecture", FAMILIES)
def test_the_twin_has_the_originals_activation(architecture: str, activation: str) -> None:
    field = NAMES[architecture].fields.get("hidden_act", "hidden_act")
    original = _original(architecture, **{field: activation})
    ids = tokens(2, WINDOW)
    _agree(original, rotary_twin(original, base=10_000.0), ids, torch.ones_like(ids))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("architecture", FAMILIES)
def test_weights_of_any_float_give_a_float32_twin_of_the_same_values(architecture: str, dtype: torch.dtype) -> None:
    original = _original(architecture).to(dtype)
    made = rotary_twin(original, base=10_000.0)
    assert {parameter.dtype for parameter in made.model.parameters()} == {torch.float32}
    assert made.position.dtype == torch.float32
    assert made.model.rotary_emb.inv_freq.dtype == torch.float32
    ids = tokens(2, WINDOW)
    _agree(original.float(), made, ids, torch.ones_like(ids))


@pytest.mark.parametrize("side", ["left", "right"])
def test_without_rotation_the_twin_of_the_real_minilm_is_minilm(minilm: Any, side: str) -> None:
    original = minilm[0].auto_model
    made = rotary_twin(minilm, base=10_000.0)
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(1000, original.config.vocab_size, (2, 96), generator=generator)
    _agree(original, made, *_padded(ids, original.config.pad_token_id, left=side == "left"))
    assert made.position.shape == (512, 384)


@pytest.mark.parametrize("architecture", FAMILIES)
def test_token_types_keep_their_vectors(architecture: str) -> None:
    changes = {} if architecture == "distilbert" else {"type_vocab_size": 2}
    original = _original(architecture, **changes)
    made = rotary_twin(original, base=10_000.0)
    table = made.model.embeddings.token_type_embeddings.weight
    if architecture == "distilbert":
        assert torch.equal(table, torch.zeros(1, 32))
    else:
        assert torch.equal(table, original.embeddings.token_type_embeddings.weight)


@pytest.mark.parametrize("architecture", FAMILIES)
def test_a_saved_twin_loads_with_the_same_outputs_and_no_key_amiss(architecture: str, tmp_path: Path) -> None:
    original = _original(architecture)
    made = rotary_twin(original, base=5_000.0, window=WINDOW - 8)
    made.model.save_pretrained(tmp_path)
    loaded, notes = AutoModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(notes.values()), notes
    assert type(loaded).__name__ == "JinaEmbeddingsV3Model"
    assert loaded.config.max_position_embeddings == WINDOW - 8
    assert loaded.config.rope_parameters == {"rope_type": "default", "rope_theta": 5_000.0}
    ids, mask = _padded(tokens(2, WINDOW), 1, left=False)
    with torch.no_grad():
        there, here = made.model(ids, attention_mask=mask), loaded.eval()(ids, attention_mask=mask)
    assert torch.equal(here.last_hidden_state, there.last_hidden_state)
    assert torch.equal(here.pooler_output, there.pooler_output)


@pytest.mark.parametrize("architecture", FAMILIES)
def test_the_rotation_is_the_one_asked_for(architecture: str) -> None:
    made = rotary_twin(_original(architecture), base=5_000.0)
    expected = [5_000.0 ** (-2 * pair / 8) for pair in range(4)]  # head_dim is 32 / 4
    assert made.model.rotary_emb.inv_freq.tolist() == pytest.approx(expected, rel=1e-6)
    assert made.model.config.max_position_embeddings == WINDOW


@pytest.mark.parametrize("architecture", FAMILIES)
def test_the_original_is_left_alone_and_shares_nothing_with_its_twin(architecture: str) -> None:
    original = _original(architecture)
    before = {name: value.clone() for name, value in original.state_dict().items()}
    drawn = torch.get_rng_state()
    made = rotary_twin(original, base=10_000.0)
    assert torch.equal(torch.get_rng_state(), drawn)
    assert not made.model.training
    with torch.no_grad():
        made.position.fill_(7.0)
        for parameter in made.model.parameters():
            parameter.fill_(7.0)
    assert all(torch.equal(value, before[name]) for name, value in original.state_dict().items())
    offset = OFFSET.get(architecture, 0)
    fresh = rotary_twin(original, base=10_000.0)
    assert torch.equal(fresh.position, before["embeddings.position_embeddings.weight"][offset:])


def _passages(rows: int, length: int, seed: int = 0) -> torch.Tensor:
    ids = tokens(rows, length, seed).clone()
    ids[:, 0] = CLS
    return ids


def _initialised(architecture: str) -> Any:
    return initialise(_original(architecture), _passages(6, 24, seed=3), base=5_000.0, first=CLS)


@pytest.mark.parametrize("architecture", FAMILIES)
def test_a_saved_initialisation_loads_with_the_same_outputs(architecture: str, tmp_path: Path) -> None:
    student, ids = _initialised(architecture), _passages(2, WINDOW)
    student.save_pretrained(tmp_path)
    loaded, notes = AutoModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(notes.values()), notes
    assert torch.equal(states(loaded.eval(), ids), states(student, ids))


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("architecture", FAMILIES)
def test_an_initialised_row_depends_on_no_padding_and_no_neighbour(architecture: str, side: str) -> None:
    student, ids = _initialised(architecture), _passages(3, WINDOW)
    batch, mask = torch.full_like(ids, student.config.pad_token_id), torch.zeros_like(ids)
    real = [slice(WINDOW - n, WINDOW) if side == "left" else slice(0, n) for n in (WINDOW, 11, 3)]
    for row, (places, n) in enumerate(zip(real, (WINDOW, 11, 3), strict=True)):
        batch[row, places], mask[row, places] = ids[row, :n], 1
    together = states(student, batch, mask)
    for row, (places, n) in enumerate(zip(real, (WINDOW, 11, 3), strict=True)):
        alone = states(student, ids[row : row + 1, :n])[0]
        torch.testing.assert_close(together[row, places], alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("architecture", FAMILIES)
def test_an_initialisation_is_deterministic_and_leaves_the_original_alone(architecture: str) -> None:
    original, ids = _original(architecture), _passages(6, 24, seed=3)
    before = {name: value.clone() for name, value in original.state_dict().items()}
    drawn, given = torch.get_rng_state(), ids.clone()
    once, again = (initialise(original, ids, base=5_000.0, first=CLS).state_dict() for _ in range(2))
    assert torch.equal(torch.get_rng_state(), drawn)
    assert torch.equal(ids, given)
    assert all(torch.equal(value, again[name]) for name, value in once.items())
    after = original.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in after.items())
    assert not original.training


@pytest.mark.parametrize("architecture", FAMILIES)
def test_an_initialised_model_is_a_rotary_one_that_methods_extend(architecture: str) -> None:
    student = _initialised(architecture)
    geometry = longspan.inspect(student)
    assert (geometry.encoding, geometry.role, geometry.window) == ("rope", "encoder", WINDOW)
    assert geometry.base == 5_000.0
    assert geometry.rotary_dim == 8
    ids = _passages(2, 4 * WINDOW)
    short = states(student, ids[:, :WINDOW])
    plain = states(student, ids)
    for method in ("yarn", "self_extend"):
        longspan.extend(student, 4 * WINDOW, method)
        longer = states(student, ids)
        assert torch.isfinite(longer).all()
        assert (longer - plain).abs().max() > 1e-3
        longspan.restore(student)
        assert torch.equal(states(student, ids[:, :WINDOW]), short)


def test_the_initialised_minilm_resembles_minilm(minilm: Any) -> None:
    original = minilm[0].auto_model
    with gzip.open(HEADS, "rt", encoding="utf-8") as lines:
        texts = [row["text"] for row in islice((r for r in map(json.loads, lines) if "document" in r), 20)]
    ids = minilm.tokenizer(texts, truncation=True, max_length=128, padding=True, return_tensors="pt")["input_ids"]
    assert ids.shape == (20, 128)
    fit, held_out = ids[:4], ids[4:]

    def vectors(model: Any) -> torch.Tensor:
        return torch.nn.functional.normalize(states(model, held_out).mean(1), dim=-1)

    dropped = rotary_twin(minilm, base=10_000.0)
    with torch.no_grad():
        dropped.model.embeddings.token_type_embeddings.weight += dropped.position.mean(0)
    student = initialise(minilm, fit, base=10_000.0, first=minilm.tokenizer.cls_token_id)
    wanted = vectors(original)
    without, cosine = (float((vectors(model) * wanted).sum(-1).mean()) for model in (dropped.model, student))
    assert cosine >= 0.75
    assert cosine >= without + 0.15
