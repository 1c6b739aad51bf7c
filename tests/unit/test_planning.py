"""plan: what it refuses and what it offers instead, and what it says of what it takes."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import pytest
import torch

from longspan import PlanError, SpecError, plan
from longspan.families import Frequencies
from longspan.geometry import MAX_FACTOR
from longspan.methods.frequencies.yarn import YaRN
from longspan.methods.scales.log_n import LogN
from longspan.planning import Plan
from tests.laws import cases

ROPE = cases.rotary(window=2048)
LEARNED = cases.learned(512)
EXTENDED = {"methods": "YaRN()", "length": 8192, "geometry": {"source": "some/model"}}


def _rope(**facts: object):
    return replace(ROPE, **facts)


REFUSED = {
    "a target below the window": (ROPE, "yarn", 2047, "below the trained window of 2048"),
    "no target": (ROPE, "yarn", 0, "below the trained window of 2048"),
    "a target too far": (ROPE, "yarn", MAX_FACTOR * 2048 + 1, "ask for at most 2097152"),
    "a target that is text": (ROPE, "yarn", "8192", "tokens"),
    "a target that is no whole number": (ROPE, "yarn", 8192.5, "tokens"),
    "no number as a target": (ROPE, "yarn", None, "tokens"),
    "two maps": (ROPE, "yarn + ntk", 8192, "both write the frequencies seam"),
    "two tables": (LEARNED, "tile + grouped", 4096, "both write the tables seam"),
    "two scales": (ROPE, "su + yarn + temperature", 8192, "both write the scales seam"),
    "a map on a learned table": (LEARNED, "yarn", 4096, "needs rope positions; this synthetic has learned ones"),
    "a table on rotary positions": (ROPE, "tile", 8192, "needs learned positions; this synthetic has rope ones"),
    "a scale on slopes": (_rope(encoding="alibi"), "log_n", 8192, "needs learned or rope positions"),
    "a learned table without rows": (LEARNED, "log_n", 4096, "No method gives positions 512 to 4095 a row"),
    "a learned table without a method": (LEARNED, "none", 4096, "No method gives positions 512 to 4095 a row"),
    "a factor that cached tokens cannot follow": (ROPE, "log_n(by='length')", 8192, "log_n\\(by='position'\\)"),
    "groups by length on a decoder": (cases.learned(512, role="decoder"), "grouped", 4096, "adaptive=false"),
    "anchors on a decoder": (cases.learned(512, role="decoder"), "interpolate", 4096, "anchors=false"),
    "an extended model": (_rope(extended=EXTENDED), "ntk", 8192, "already extended to 8192 tokens by YaRN"),
    "a dynamic rotation": (_rope(rope_parameters={"rope_type": "dynamic", "factor": 4.0}), "ntk", 8192, "dynamic"),
    "two longrope maps": (
        _rope(rope_parameters={"rope_type": "longrope", "short_factor": [1.0], "long_factor": [2.0]}),
        "ntk",
        8192,
        "already switches its rotation by length",
    ),
    "a model that looks a window back at most": (_rope(reach=1024), "ntk", 8192, "further than 1024 tokens"),
    "a base below the trained one": (cases.rotary(base=1e6, window=2048), "abf", 8192, "below the trained base"),
    "too few factors": (ROPE, "longrope(factors=(1, 2))", 8192, "2 factors for 32 rotary pairs"),
    "no method at all": (ROPE, 3, 8192, "is not a method"),
    "names in a list": (ROPE, ["yarn"], 8192, "is not a method"),
    "a class": (ROPE, YaRN, 8192, "is not a method"),
}


@pytest.mark.parametrize(("geometry", "methods", "length", "told"), REFUSED.values(), ids=REFUSED)
def test_a_plan_that_does_not_fit_is_refused_with_a_hint(geometry, methods, length, told: str) -> None:
    with pytest.raises(PlanError, match=told) as error:
        plan(geometry, methods, length)
    assert error.value.hint


UNREADABLE = {
    "a name that is nearly right": ("yarm", "did you mean yarn?"),
    "a name nobody knows": ("magic", "There is no method named 'magic'"),
    "a number that is text": ("yarn(beta_fast='many')", "takes float, got 'many'"),
    "a parameter nobody knows": ("yarn(alpha=1)", "its parameters are: beta_fast"),
}


@pytest.mark.parametrize(("methods", "told"), UNREADABLE.values(), ids=UNREADABLE)
def test_a_specification_that_does_not_read_is_refused_with_a_hint(methods: str, told: str) -> None:
    with pytest.raises(SpecError, match=told) as error:
        plan(ROPE, methods, 8192)
    assert error.value.hint


def test_a_refusal_names_the_methods_that_apply() -> None:
    with pytest.raises(PlanError) as error:
        plan(LEARNED, "yarn", 4096)
    assert "tile" in error.value.hint
    assert "log_n" in error.value.hint
    assert "ntk" not in error.value.hint


def test_two_equal_longrope_maps_are_one_map() -> None:
    parameters = {"rope_type": "longrope", "short_factor": [2.0], "long_factor": [2.0]}
    assert plan(_rope(rope_parameters=parameters), "ntk", 8192).factor == 4


def test_a_model_that_looks_further_than_its_window_can_be_extended() -> None:
    assert plan(_rope(reach=4096), "ntk", 8192).factor == 4


@pytest.mark.parametrize(
    ("geometry", "wanted"), [(LEARNED, "Tile()"), (ROPE, repr(YaRN())), (_rope(encoding="none"), "")]
)
def test_without_a_method_the_default_of_the_encoding_is_taken(geometry, wanted: str) -> None:
    assert " + ".join(map(repr, plan(geometry, None, 4096).methods)) == wanted


@pytest.mark.parametrize("methods", ["none", "None", " ", "", [], ()])
def test_no_method_can_be_asked_for(methods) -> None:
    made = plan(ROPE, methods, 8192)
    assert made.methods == ()
    assert made.rope_parameters is None
    assert made.short_inputs == "exact"


@pytest.mark.parametrize("methods", ["yarn + log_n", [YaRN(), LogN()], (YaRN(), LogN())])
def test_methods_are_given_as_text_or_objects(methods) -> None:
    assert plan(ROPE, methods, 8192).methods == (YaRN(), LogN())


@dataclass(frozen=True)
class Near:
    """A user's own map, good for twice the window."""

    def frequencies(self, geometry, factor: float, length: int) -> Frequencies:
        return Frequencies(torch.tensor(geometry.inv_freq, dtype=torch.float64) / factor)

    def reach(self, geometry, target) -> int:
        return 2 * geometry.window


def test_a_method_that_does_not_reach_the_target_is_refused() -> None:
    assert plan(ROPE, Near(), 4096).factor == 2
    with pytest.raises(PlanError, match="reaches 4096 tokens from a window of 2048, not 4097") as error:
        plan(ROPE, Near(), 4097)
    assert "at most 4096" in error.value.hint


def test_a_plan_of_ones_own_method_describes_itself() -> None:
    assert "methods        Near" in plan(ROPE, Near(), 4096).describe()


def test_a_description_shows_the_numbers_of_a_decoder() -> None:
    said = plan(_rope(dtype="bfloat16"), "yarn + log_n", 8192).describe()
    assert "2048 -> 8192 tokens (4x)" in said
    assert f"{2 * 2 * 4 * 64 * 8192 * 2:,} bytes a sequence at 8192 tokens" in said
    assert f"{32 * 4:,} bytes" in said
    assert "16x the score pairs of 2048 tokens" in said
    assert "Peng et al. 2023, arXiv:2309.00071" in said
    assert "yarn + log_n" in said


def test_a_description_shows_the_numbers_of_an_encoder() -> None:
    said = plan(LEARNED, "tile", 4096).describe()
    assert "512 -> 4096 tokens (8x)" in said
    assert f"{4096 * 256 * 4:,} bytes" in said
    assert "same vectors at every length" in said
    assert "KV cache" not in said


def test_a_description_says_what_training_a_method_asks_for() -> None:
    assert "required by abf" in plan(ROPE, "abf", 8192).describe()


def test_a_description_names_every_part_that_stock_tools_leave_out() -> None:
    said = plan(LEARNED, "interpolate + log_n", 4096).describe()
    assert "positions" in said.split("stock tools", 1)[1].splitlines()[0]
    assert "logits" in said.split("stock tools", 1)[1].splitlines()[0]


@pytest.mark.parametrize(
    ("geometry", "methods", "native"),
    [
        (ROPE, "yarn", True),
        (ROPE, "giraffe_power", True),
        (ROPE, "longrope", True),
        (ROPE, "longrope(first=4)", False),
        (ROPE, "yarn + su", True),
        (ROPE, "yarn + log_n", False),
        (_rope(head_dim=128), "yarn + su", False),
        (LEARNED, "tile", True),
        (LEARNED, "interpolate(anchors=false)", True),
        (LEARNED, "interpolate", False),
        (LEARNED, "tile + log_n", False),
    ],
)
def test_a_plan_knows_whether_stock_tools_give_the_same(geometry, methods: str, native: bool) -> None:
    assert plan(geometry, methods, 4096).native is native


@pytest.mark.parametrize(
    ("geometry", "methods", "said"),
    [
        (ROPE, "yarn", "changed"),
        (ROPE, "log_n", "exact"),
        (ROPE, "su", "changed"),
        (LEARNED, "tile", "exact"),
        (LEARNED, "tile + log_n", "exact"),
        (LEARNED, "tile + log_n(base=128)", "changed"),
        (LEARNED, "tile + log_n(base=1024)", "exact"),
        (LEARNED, "tile + temperature", "changed"),
        (LEARNED, "interpolate", "adaptive"),
        (LEARNED, "interpolate + log_n", "adaptive"),
        (LEARNED, "interpolate(anchors=false)", "changed"),
    ],
)
def test_a_plan_knows_what_happens_to_short_inputs(geometry, methods: str, said: str) -> None:
    assert plan(geometry, methods, 4096).short_inputs == said


def test_a_plan_reads_back_from_json() -> None:
    made = plan(ROPE, "longrope(first=4) + log_n", 8192)
    assert Plan.from_json(json.loads(json.dumps(made.to_json()))) == made


DAMAGE = {
    "a list": lambda data: [],
    "nothing": lambda data: {},
    "a length of text": lambda data: {**data, "length": "many"},
    "no length": lambda data: {**data, "length": None},
    "an empty geometry": lambda data: {**data, "geometry": {}},
    "a geometry of text": lambda data: {**data, "geometry": "text"},
    "no geometry": lambda data: {**data, "geometry": None},
    "a fact nobody knows": lambda data: {**data, "geometry": {**data["geometry"], "colour": "red"}},
    "no frequencies": lambda data: {**data, "geometry": {**data["geometry"], "inv_freq": None}},
    "a window of text": lambda data: {**data, "geometry": {**data["geometry"], "window": "wide"}},
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_plan_is_a_plan_error(damage) -> None:
    with pytest.raises(PlanError, match="cannot be read"):
        Plan.from_json(damage(plan(ROPE, "yarn", 8192).to_json()))


@pytest.mark.parametrize(("role", "told"), [("encoder", True), ("decoder", False)])
def test_who_asks_for_a_rotary_method_on_an_encoders_table_is_told_of_convert(role: str, told: bool) -> None:
    with pytest.raises(PlanError) as refused:
        plan(cases.learned(512, role=role), "ntk", 4096)
    assert ("longspan convert" in refused.value.hint) is told
