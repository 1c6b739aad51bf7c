"""save writes all that a model computes, or refuses: adapters, parametrisations, quantised layers, wrappers, hooks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize, prune
from transformers import BertModel

import longspan
from tests.models import build
from tests.pipelines import WINDOW, WORDS, pipeline

LONG = [" ".join(WORDS[i % 97] for i in range(100))]


class Adapted(nn.Module):
    """A linear layer and what an adapter adds to it, as peft puts it in the layer's place."""

    __module__ = "peft.tuners.lora.layer"

    def __init__(self, base_layer: nn.Linear) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.added = nn.Linear(base_layer.in_features, base_layer.out_features)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return self.base_layer(states) + self.added(states)


class Doubled(nn.Module):
    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return 2 * weight


class OwnBert(BertModel):
    """A user's class, whose forward stock tools do not know."""


def query(model: Any) -> nn.Module:
    return model[0].auto_model.encoder.layer[0].attention.self


def adapter(model: Any) -> None:
    query(model).query = Adapted(query(model).query)


def integrated(model: Any) -> None:
    model[0].auto_model._hf_peft_config_loaded = True


def wrapper(model: Any) -> None:
    model[0].model = Adapted(nn.Linear(2, 2))
    model[0].model.config, model[0].model.base_model = build("bert").config, model[0].model
    setattr(model[0].model, longspan.seams.anatomy.APPLIED, longspan.extension._Applied(made(), []))


def made() -> Any:
    return longspan.plan(longspan.inspect(build("bert")), "tile", 2 * WINDOW)


def parametrised(model: Any) -> None:
    parametrize.register_parametrization(query(model).query, "weight", Doubled())


def behind(model: Any) -> None:
    parametrize.register_parametrization(model[2].linear, "weight", Doubled())


def pruned(model: Any) -> None:
    prune.l1_unstructured(query(model).query, "weight", amount=0.5)


def quantised(model: Any) -> None:
    model[0].model = torch.ao.quantization.quantize_dynamic(model[0].auto_model, {nn.Linear}, dtype=torch.qint8)


def hooked(model: Any) -> None:
    query(model).register_forward_hook(lambda module, given, states: states)


def replaced(model: Any) -> None:
    model[0].auto_model.forward = lambda *args, **kwargs: None


def offloaded(model: Any) -> None:
    query(model).query.to("meta")


def subclassed(model: Any) -> None:
    model[0].auto_model.__class__ = OwnBert


FAULTS: dict[Callable[[Any], None], str] = {
    adapter: r"attention\.self\.query' is a Adapted of peft\.tuners\.lora\.layer, where stock tools make Linear"
    r"[\s\S]*merge_and_unload",
    integrated: r"holds an adapter, and would be saved as that alone[\s\S]*merge_and_unload",
    wrapper: r"is a Adapted of peft\.tuners\.lora\.layer, which stock tools do not load[\s\S]*merge_and_unload",
    parametrised: r"is a ParametrizedLinear of torch\.nn\.utils\.parametrize, where stock tools make Linear",
    behind: r"The Dense behind the transformer would not come back from its files",
    pruned: r"3 weights are not those that stock tools make, the first encoder.*query\.weight: none instead of",
    quantised: r"is a Linear of torch\.ao\.nn\.quantized\.dynamic.*, where stock tools make Linear",
    hooked: r"A hook or forward of tests\.unit\.test_plain is set on '.*attention\.self'",
    replaced: r"A hook or forward of tests\.unit\.test_plain is set on ",
    offloaded: r"2 weights are on the meta device and have no values, the first encoder.*query\.weight",
    subclassed: r"is a OwnBert of tests\.unit\.test_plain, which stock tools do not load",
}


@pytest.mark.filterwarnings("ignore:torch.ao.quantization is deprecated", "ignore:torch.quantize_per_tensor")
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_what_a_checkpoint_would_not_hold_is_refused(fault: Callable[[Any], None], tmp_path: Path) -> None:
    model = longspan.extend(pipeline(tmp_path / "parts", dense=True), to=2 * WINDOW, method="tile")
    fault(model)
    with pytest.raises(longspan.StorageError, match=FAULTS[fault]):
        longspan.save(model, tmp_path / "longer")
    assert [path.name for path in tmp_path.iterdir()] == ["parts"]


def test_what_computes_the_same_is_saved(tmp_path: Path) -> None:
    model = longspan.extend(pipeline(tmp_path / "parts", dense=True), to=2 * WINDOW, method="tile")
    wanted = model.encode(LONG)
    model[0].auto_model.compile(backend="eager")
    model[0].model = torch.compile(model[0].auto_model, backend="eager")
    folder = longspan.save(model, tmp_path / "longer")
    assert np.array_equal(longspan.load(folder).encode(LONG), wanted)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_merged_adapter_comes_back(when: str, tmp_path: Path) -> None:
    model = pipeline(tmp_path / "parts")
    if when == "after":
        longspan.extend(model, to=2 * WINDOW, method="tile")
    adapter(model)
    adapted = query(model).query
    wanted = model.encode(LONG[0].split()[:20])
    adapted.base_layer.weight.data += adapted.added.weight.data
    adapted.base_layer.bias.data += adapted.added.bias.data
    query(model).query = adapted.base_layer
    if when == "before":
        longspan.extend(model, to=2 * WINDOW, method="tile")
    again = longspan.load(longspan.save(model, tmp_path / "longer"))
    assert np.allclose(again.encode(LONG[0].split()[:20]), wanted, atol=1e-5)
    assert np.allclose(again.encode(LONG), model.encode(LONG), atol=1e-6)
