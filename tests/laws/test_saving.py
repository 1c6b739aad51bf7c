"""Saved and loaded, an extended model is the same; where the plan says native, in stock transformers too."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from transformers import AutoModel

import longspan
from longspan.extension import reapply
from longspan.planning import Plan
from tests import models
from tests.laws.cases import ALL, LONG, every, fresh

LENGTHS = (3, models.WINDOW - 1, models.WINDOW, models.WINDOW + 1, LONG)


@every(ALL)
def test_a_saved_model_loads_as_it_was(architecture: str, spec: str, tmp_path: Path) -> None:
    model = longspan.extend(fresh(architecture), to=LONG, method=spec)
    made = longspan.plan_of(model)
    expected = {n: models.states(model, models.tokens(2, n)) for n in LENGTHS}
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        folder = longspan.save(model, tmp_path / "longer")
    assert ["longspan.load" in str(one.message) for one in told] == [True] * (not made.native)

    stock = AutoModel.from_pretrained(folder).eval()
    for n in LENGTHS:
        same = torch.allclose(models.states(stock, models.tokens(2, n)), expected[n], atol=1e-5)
        assert same or not made.same_in_stock(n), f"stock tools differ at {n} tokens"
    assert not made.native or all(made.same_in_stock(n) for n in LENGTHS)

    reapply(stock, Plan.from_json(stock.config.longspan))
    assert longspan.plan_of(stock) == made
    for n in LENGTHS:
        assert torch.allclose(models.states(stock, models.tokens(2, n)), expected[n], atol=1e-6)
