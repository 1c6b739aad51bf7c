"""What a checkpoint says to vLLM and SGLang, and what its card says about tools that do not apply all of the plan."""

from __future__ import annotations

import json
import re
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

import longspan
from longspan import plan
from longspan.engines import ENGINE_KEY, dual_chunk, left_out
from longspan.errors import SpecError
from longspan.geometry import Geometry
from longspan.storage.model_card import model_card
from tests import models
from tests.laws import cases

WINDOW, LENGTH = 4096, 20000
QUIET = pytest.mark.filterwarnings("ignore:stock tools load")


def qwen(**facts: object) -> Geometry:
    return replace(cases.rotary(window=WINDOW), architecture="qwen2", source="org/qwen", **facts)


@pytest.mark.parametrize(
    ("method", "chunk", "local"),
    [
        ("dca", 3072, 512),  # three quarters of the window, and an eighth of it
        ("dca(chunk=4096, local=1024)", 4096, 1024),
        ("dca(chunk=1920)", 1920, 320),
        ("dca(local=64)", 3072, 64),
        ("dca(adaptive=false)", 3072, 512),
        ("dca + abf(base=5e6)", 3072, 512),  # only the base changes, and that is no scaling
    ],
)
def test_the_engines_are_told_the_sizes_of_the_chunks(method: str, chunk: int, local: int) -> None:
    found = dual_chunk(plan(qwen(), method, LENGTH))
    assert found == {"chunk_size": chunk, "local_size": local, "original_max_position_embeddings": 0}


@pytest.mark.parametrize(
    ("geometry", "method", "reason"),
    [
        (qwen(role="encoder"), "dca", "encoders"),
        (replace(qwen(), architecture="llama"), "dca", "and this is llama"),
        (qwen(layer_types=("full_attention", "sliding_attention")), "dca", "sliding layers"),
        (qwen(), "dca + dynamic_ntk", "depend on the input's length"),
        (qwen(), "dca + yarn", r"scaled rotation \(rope_type yarn\)"),
        (qwen(), "dca + temperature(tau=0.8)", r"scaled rotation \(rope_type longrope\)"),
        (qwen(rope_parameters={"rope_type": "linear", "factor": 2.0}), "dca", r"\(rope_type linear\)"),
        (qwen(), "dca + log_n", "factor on the logits"),
        (qwen(), "dca(chunk=1601, local=100)", "a chunk of 1501 tokens is no multiple"),
    ],
)
def test_what_the_engines_cannot_compute_is_left_out_and_the_card_says_why(
    geometry: Geometry, method: str, reason: str
) -> None:
    made = plan(geometry, method, LENGTH)
    assert dual_chunk(made) is None
    assert re.search(reason, left_out(made))
    assert f"`{ENGINE_KEY}`, the key of vLLM and SGLang, is left out: {left_out(made)}." in model_card(made)


@pytest.mark.parametrize("method", ["yarn", "self_extend", "none"])
def test_other_plans_say_nothing_to_the_engines(method: str) -> None:
    made = plan(qwen(), method, 2 * WINDOW)
    assert (dual_chunk(made), left_out(made)) == (None, "")
    assert ENGINE_KEY not in model_card(made)
    assert "was taken out" in model_card(made, had_engine_key=True)


def test_a_plan_of_the_window_itself_has_no_dual_chunk_attention() -> None:
    made = plan(qwen(), "dca", WINDOW)
    assert dual_chunk(made) is None
    assert made.native


def test_the_card_says_where_the_engines_differ() -> None:
    own, released = (model_card(plan(qwen(), m, LENGTH)) for m in ("dca", "dca(adaptive=False)"))
    assert "at position 2560 or later" in own
    assert "`dca(adaptive=False)` is the same computation" in own
    assert "It is the same computation as in longspan" in released
    assert "position 2560" not in released
    assert all("0.11" in card for card in (own, released))


@pytest.mark.parametrize(
    ("method", "told"),
    [
        ("dca", ("the short model", "the distances of pairs", f"inputs of up to {WINDOW} tokens come out as in")),
        ("dca(adaptive=false)", ("the short model", "no input is sure to come out")),
        ("dynamic_ntk", ("the short model", "the length-dependent rotation", f"of up to {WINDOW} tokens come out")),
        ("yarn + log_n", ("less than this model", "the factor on the logits", f"up to {WINDOW} tokens come out")),
        ("dca + dynamic_ntk", ("the distances of pairs and the length-dependent rotation",)),
    ],
)
def test_the_card_warns_of_tools_that_do_not_apply_all(method: str, told: tuple[str, ...]) -> None:
    made = plan(qwen(), method, LENGTH)
    card = model_card(made)
    warned = next(line for line in card.splitlines() if line.startswith("> **Stock tools load"))
    assert all(words in warned for words in told), warned
    assert 'longspan.load("qwen-20000")' in card
    assert f"{LENGTH} tokens" in warned


def test_the_card_tells_which_side_of_the_window_a_table_is_the_same_on() -> None:
    anchored = model_card(plan(cases.learned(512), "interpolate", 4096), pipeline="SentenceTransformer")
    assert "only inputs of more than 512 tokens come out" in anchored
    assert "bit-identical to the original in longspan; changed in stock tools" in anchored
    paired = model_card(plan(qwen(), "dca", LENGTH))
    assert "bit-identical to the original, in stock tools too" in paired


def test_the_card_of_a_plan_that_stock_tools_hold_has_no_warning() -> None:
    card = model_card(plan(qwen(), "yarn", LENGTH))
    assert "Stock tools" not in card
    assert "longspan.load" not in card


def test_the_card_repeats_the_command_with_the_window() -> None:
    made = plan(replace(qwen(), window=1024), "yarn", LENGTH)
    command = 'longspan extend org/qwen --to 20000 --method "yarn" --window 1024 --out qwen-20000'
    assert command in model_card(made)


def tiny(**changes: object) -> torch.nn.Module:
    return models.build("qwen2", **changes)


def config_of(folder: Path) -> dict:
    return json.loads((folder / "config.json").read_text())


SIZES = "dca(chunk=20, local=4)"
OURS = {"chunk_size": 20, "local_size": 4, "original_max_position_embeddings": 0}
THEIRS = {"chunk_size": 8192, "local_size": 1024, "original_max_position_embeddings": 8192}


@QUIET
@pytest.mark.parametrize(
    ("method", "given", "written"),
    [(SIZES, None, OURS), (SIZES, THEIRS, OURS), ("yarn", THEIRS, None), ("self_extend", THEIRS, None)],
)
def test_the_key_stands_in_the_model_and_its_own_comes_back(
    method: str, given: dict | None, written: dict | None, tmp_path: Path
) -> None:
    model = tiny(**({ENGINE_KEY: given} if given else {}))
    longspan.extend(model, 64, method)
    folder = longspan.save(model, tmp_path / "longer")
    assert config_of(folder).get(ENGINE_KEY) == getattr(model.config, ENGINE_KEY, None) == written
    assert getattr(longspan.restore(model).config, ENGINE_KEY, None) == given
    assert ("was taken out" in (folder / "README.md").read_text()) == (written is None)


def test_a_model_that_engines_read_by_chunks_is_inspected_as_transformers_computes_it() -> None:
    with_key, without = (longspan.inspect(tiny(**keys)) for keys in ({ENGINE_KEY: THEIRS}, {}))
    assert with_key == without
    assert plan(with_key, "dca", 64).length == 64


def test_saving_warns_once_of_what_stock_tools_leave_out(tmp_path: Path) -> None:
    model = longspan.extend(tiny(), 64, SIZES)
    with pytest.warns(UserWarning, match=r"without the distances of pairs; longspan\.load restores all$") as told:
        folder = longspan.save(model, tmp_path / "longer")
    assert len(told) == 1
    assert str(folder) in str(told[0].message)
    assert told[0].filename == __file__
    longspan.restore(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        longspan.save(longspan.extend(model, 64, "yarn"), tmp_path / "native")


@dataclass(frozen=True)
class Halved:
    """A user's own method, which no file of the package holds."""

    by: float = 2.0

    def frequencies(self, geometry: Geometry, factor: float, length: int):
        from longspan.families import Frequencies

        return Frequencies(torch.tensor(geometry.inv_freq, dtype=torch.float64) / self.by)


def test_a_checkpoint_of_ones_own_method_says_how_to_get_it_back(decoder: str, tmp_path: Path) -> None:
    model = longspan.load(decoder)
    folder = longspan.save(longspan.extend(model, 64, Halved()), tmp_path / "longer")
    for read in (longspan.load, longspan.verify):
        with pytest.raises(SpecError, match=r"extended by Halved\(by=2\.0\), which cannot be restored") as error:
            read(folder)
        assert f"extend {decoder} again, with the method's class" in error.value.hint
        assert "to=64" in error.value.hint
