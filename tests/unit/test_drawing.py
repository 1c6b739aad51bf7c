"""draw: numbers that agree with formulas written down again, pictures that can be read, requests that are refused."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import math
import re
import shlex
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

import longspan
from longspan import PlanError, registry, spec
from longspan.cli import app
from longspan.drawing.matrix import borders
from longspan.drawing.picture import numbers, synthetic
from longspan.families import FAMILIES, Frequencies
from tests.laws import cases

DOCS = Path(__file__).parents[2] / "docs"
WINDOW, TARGET = 64, 256
SVG = "{http://www.w3.org/2000/svg}"
BY_DEFAULT = [card.name for card in registry.methods().values() if card.family in FAMILIES]


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["draw", *arguments])


def computed(*arguments: str) -> dict[str, Any]:
    done = run(*arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def texts(path: Path) -> str:
    """What a reader of a picture reads, lines of a title joined."""
    root = ElementTree.parse(path).getroot()
    assert root.tag == f"{SVG}svg"
    return " ".join("".join(each.itertext()).strip() for each in root.iter(f"{SVG}text"))


def made(methods: str, role: str = "decoder"):
    return longspan.plan(synthetic(methods, role=role, window=WINDOW, head_dim=32), methods, TARGET)


def self_extend(q: int, k: int, role: str) -> float | None:
    """Group and near by their published rules, then floored positions beyond near."""
    if role == "decoder":
        near = WINDOW // 4
        group = math.ceil((TARGET - near) / (2 * WINDOW // 3 - near))
        if k > q:
            return None
        if q < WINDOW:
            return q - k
    else:
        near, group = WINDOW * WINDOW // TARGET, TARGET // WINDOW + 1
    if abs(q - k) < near:
        return q - k
    return q // group - k // group + math.copysign(near - near // group, q - k)


def rerope(q: int, k: int, role: str) -> float | None:
    if role == "decoder" and k > q:
        return None
    if role == "decoder" and q < WINDOW:
        return q - k
    return math.copysign(min(abs(q - k), WINDOW // 8), q - k)


@pytest.mark.parametrize("formula", [self_extend, rerope])
@pytest.mark.parametrize("role", ["encoder", "decoder"])
def test_the_numbers_of_the_command_are_those_of_the_formula(formula, role: str) -> None:
    found = computed(formula.__name__, "--role", role)
    assert (found["window"], found["length"], found["role"]) == (WINDOW, TARGET, role)
    expected = [[formula(q, k, role) for k in range(TARGET)] for q in range(TARGET)]
    assert found["pairwise"]["distance"] == expected


def test_the_command_writes_a_picture_that_says_what_it_shows(tmp_path: Path) -> None:
    file = tmp_path / "pictures" / "shape.svg"
    done = run("Self-Extend(group=6) + yarn", "--role", "encoder", "--out", str(file))
    assert done.exit_code == 0, done.output
    assert done.stdout.split() == ["written", "to", str(file)]
    said = texts(file)
    for part in (
        "SelfExtend(group=6, near=None, adaptive=True)",
        "YaRN(beta_fast=32.0, beta_slow=1.0, truncate=True)",
        "64 -> 256 tokens, synthetic encoder",
        "distance that attention reads (tokens)",
        "tokens for a whole turn",
    ):
        assert part in said
    assert [path.name for path in file.parent.iterdir()] == ["shape.svg"], "nothing half written is left"


def test_without_a_name_the_file_is_named_like_the_methods(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("dca + log-n", "--window", "16", "--to", "48").exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["dca+log_n.svg"]


@pytest.mark.parametrize(("suffix", "begins"), [(".png", b"\x89PNG"), (".pdf", b"%PDF"), (".SVG", b"<?xml")])
def test_the_suffix_is_the_format(tmp_path: Path, suffix: str, begins: bytes) -> None:
    file = longspan.draw(made("rerope"), tmp_path / f"picture{suffix}")
    assert file.read_bytes().startswith(begins)


@pytest.mark.parametrize("name", BY_DEFAULT)
def test_every_method_has_a_picture_and_numbers(name: str, tmp_path: Path) -> None:
    role = "encoder" if registry.methods()[name].family == "tables" else "decoder"
    plan = made(name, role)
    family = registry.methods()[name].family
    assert json.loads(json.dumps(numbers(plan), allow_nan=False))[family]
    assert plan.methods[0].__class__.__name__ in texts(longspan.draw(plan, tmp_path / "picture.svg"))


def test_one_plan_gives_one_file_to_the_byte(tmp_path: Path) -> None:
    plans = [made("dca", "decoder"), made("dca", "encoder")]
    files = [longspan.draw(plans, tmp_path / f"{number}.svg") for number in range(2)]
    assert len({hashlib.sha256(file.read_bytes()).hexdigest() for file in files}) == 1
    assert texts(files[0]).count("DCA(") == 2


def test_wavelengths_are_two_pi_over_the_frequencies() -> None:
    found = numbers(made("pi"))["frequencies"]
    trained = [2 * math.pi * 1e4 ** (2 * pair / 32) for pair in range(16)]
    assert found["trained"] == pytest.approx(trained, rel=1e-12)
    assert found["new"] == pytest.approx([4 * each for each in trained], rel=1e-12)
    assert found["attention_factor"] == 1


def test_a_pair_that_stands_still_has_no_wavelength(tmp_path: Path) -> None:
    plan = made("giraffe_truncated")
    new = numbers(plan)["frequencies"]["new"]
    still = new.count(None)
    assert still == sum(2 * math.pi * 1e4 ** (2 * pair / 32) > 8 * WINDOW for pair in range(16)) > 0
    assert f"{still} pairs stand still" in texts(longspan.draw(plan, tmp_path / "picture.svg"))


@pytest.mark.parametrize("role", ["encoder", "decoder"])
def test_a_map_by_length_is_drawn_over_the_length(role: str) -> None:
    found = numbers(made("dynamic_ntk", role))["frequencies"]
    assert {1, WINDOW, WINDOW + 1, TARGET} <= set(found["length"])
    for length, new in zip(found["length"], found["new"], strict=True):
        tokens = math.ceil(length / WINDOW) * WINDOW if role == "decoder" else max(length, WINDOW)
        base = 1e4 * (tokens / WINDOW) ** (32 / 30)
        assert new == pytest.approx([2 * math.pi * base ** (2 * pair / 32) for pair in range(16)], rel=1e-9)


def test_rows_of_a_table() -> None:
    tiled = numbers(made("tile", "encoder"))["tables"]
    assert tiled["new"] == [0, *(1 + (position - 1) % (WINDOW - 1) for position in range(1, TARGET))]
    assert tiled["short"] == [*range(WINDOW)]
    between = numbers(made("interpolate(anchors=false)", "encoder"))["tables"]["new"]
    inner = [1 + (position - 1) * (WINDOW - 2) / (TARGET - 2) for position in range(1, TARGET)]
    assert between == pytest.approx([0, *inner], abs=1e-9)


def test_factors_are_those_of_the_last_token() -> None:
    found = numbers(made("yarn + log_n"))["scales"]
    expected = [max(1.0, math.log(length) / math.log(WINDOW)) for length in found["length"]]
    assert found["factor"] == pytest.approx(expected, rel=1e-9)
    assert set(numbers(made("su"))["scales"]["factor"]) == {1 + math.log(4) / math.log(WINDOW)}


def test_a_frequency_map_does_not_move_the_distances_of_a_pairwise_method() -> None:
    assert numbers(made("dca + dynamic_ntk"))["pairwise"] == numbers(made("dca"))["pairwise"]


def test_borders_stand_where_the_range_changes() -> None:
    owner = torch.zeros(6, 6, dtype=torch.long)
    owner[3:, :3] = 1  # one level and one upright border
    drawn = {(tuple(across), tuple(down)) for across, down in borders(owner)}
    assert drawn == {((-0.5, 2.5), (2.5, 2.5)), ((2.5, 2.5), (2.5, 5.5))}
    band = torch.arange(6)[:, None] - torch.arange(6) < 3
    # Its steps stand at 0.5, 1.5 and 2.5 in the rows 3, 4 and 5: one line through their middles.
    assert list(borders(band.long())) == [([0.0, 3.0], [2.5, 5.5])]


def test_a_real_models_geometry_is_drawn(decoder: str) -> None:
    found = computed("rerope(near=4)", "--model", decoder, "--window", "32", "--to", "64")
    assert (found["window"], found["length"], found["role"]) == (32, 64, "decoder")
    assert found["pairwise"]["distance"][63][0] == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rerope", "--window", "2048", "--to", "4097"], "draw at most 4096 tokens"),
        (["yarn", "--out", "picture.bmp"], "end the name in .svg, .png, .pdf"),
        (["yarn", "--out", "picture"], "end the name in .svg, .png, .pdf"),
        (["none"], "there is nothing to draw"),
        (["yarn", "--head-dim", "33"], "an even head_dim"),
        (["yarn", "--base", "0.5"], "a base above 1"),
        (["yarn", "--window", "1"], "a window from 2"),
        (["yarn", "--window", "0"], "a window from 2"),
        (["yarn", "--to", "0"], "below the trained window of 64"),
        (["yarn", "--to", "32"], "below the trained window of 64"),
        (["yarm"], "did you mean yarn?"),
        (["tile + yarn"], "positions"),
        (["yarn", "--model", "some/model"], "needs --to"),
        (["yarn", "--model", "some/model", "--to", "4096", "--base", "10"], "takes role, base and head_dim"),
    ],
)
def test_what_cannot_be_drawn_is_refused_with_a_hint(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run(*arguments)
    assert done.exit_code == 2, done.output
    assert message in " ".join(done.stderr.split())
    assert not list(tmp_path.iterdir())


def test_a_picture_of_nothing_is_refused(tmp_path: Path) -> None:
    plan = longspan.plan(cases.rotary(window=WINDOW), "none", TARGET)
    with pytest.raises(PlanError, match="nothing to draw"):
        longspan.draw(plan, tmp_path / "picture.svg")


def test_a_file_that_cannot_be_written_is_an_error_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run("rerope", "--out", str(tmp_path / "file" / "picture.svg"))
    assert done.exit_code == 1
    assert "cannot be written" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_method_of_ones_own_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    plan = longspan.plan(cases.rotary(window=WINDOW), Halved(), TARGET)
    assert longspan.draw(plan) == Path("Halved.svg")
    assert numbers(plan)["frequencies"]["new"][0] == pytest.approx(4 * math.pi)


@dataclass(frozen=True)
class Halved:
    """Every pair at half its speed."""

    def frequencies(self, geometry, factor: float, length: int) -> Frequencies:
        return Frequencies(torch.tensor(geometry.inv_freq, dtype=torch.float64) / 2)


@pytest.mark.parametrize("name", BY_DEFAULT)
def test_the_picture_in_the_documentation_shows_todays_defaults(name: str) -> None:
    said = texts(DOCS / "pictures" / f"{name}.svg")
    assert f"{spec.write(spec.parse(name))} 64 -> 256 tokens" in said


@pytest.mark.parametrize("page", ["by_length.md", *(f"{family}.md" for family in FAMILIES)])
def test_the_guides_are_current_and_their_pictures_are_there(page: str) -> None:
    found = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    generate = importlib.util.module_from_spec(found)
    found.loader.exec_module(generate)
    scores = {name: generate.read(generate.ROOT / "results" / name) for name in generate.MEASURED}
    text, names = (DOCS / page).read_text(), generate.guided()[DOCS / page]
    assert generate.between(text, generate.family_table(names, scores)) == text, "run python docs/generate.py"
    shown = re.findall(r"\(pictures/(\w+)\.svg\)", text)
    assert sorted(shown) == sorted(re.sub(r"\(switch=true\)", "_switch", name) for name in names)
    assert all((DOCS / "pictures" / f"{name}.svg").exists() for name in shown)
    for command in re.findall(r"^longspan draw (.*?)(?: *#.*)?$", text, flags=re.MULTILINE):
        assert spec.parse(shlex.split(command)[0])
