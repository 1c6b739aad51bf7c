"""What is tried on a model leaves it as it was, also where its forward exchanges parts of it for good."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModel

from longspan import EncodeError, extend, inspect, restore
from longspan.encoding.engines.torch_ import TorchEngine
from tests.models import states, tokens

LONG = tokens(1, 232)


def bigbird() -> Any:
    """Its attention is sparse, until a row comes that is too short for its blocks: then it is full ever after."""
    sizes = {"vocab_size": 120, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    blocks = {"intermediate_size": 48, "max_position_embeddings": 256, "block_size": 8, "num_random_blocks": 1}
    torch.manual_seed(0)
    return AutoModel.from_config(AutoConfig.for_model("big_bird", **sizes, **blocks, pad_token_id=1)).eval()


@pytest.fixture(scope="module")
def wanted() -> torch.Tensor:
    return states(bigbird(), LONG)


def test_a_short_row_changes_what_this_model_does_to_a_long_one(wanted: torch.Tensor) -> None:
    model = bigbird()
    states(model, LONG[:, :8])
    assert not torch.allclose(states(model, LONG), wanted, atol=1e-4)


def test_extending_and_restoring_leave_its_attention_sparse(wanted: torch.Tensor) -> None:
    model = bigbird()
    inspect(model)
    extend(model, 512, "tile")
    assert torch.equal(states(model, LONG), wanted)
    restore(model)
    assert torch.equal(states(model, LONG), wanted)


def test_an_engine_of_it_is_refused_by_name_until_its_attention_is_settled(wanted: torch.Tensor) -> None:
    model = bigbird()
    with pytest.raises(EncodeError, match="BigBirdModel exchanges parts of itself") as error:
        TorchEngine(model)
    assert torch.equal(states(model, LONG), wanted)
    assert "set_attention_type('original_full')" in error.value.hint
    model.set_attention_type("original_full")
    found = TorchEngine(model).states([LONG[0].tolist()])
    assert torch.allclose(found, states(model, LONG), atol=1e-5)
