"""The report: complete, honest about keyword search, self-contained, escaped, written whole or not at all."""

import html
import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from longspan.errors import BenchmarkError, LongspanError
from longspan.evaluation import report as module
from longspan.evaluation.report import report
from longspan.evaluation.score import append, read
from tests.scores import BM25, EXTEND, HYBRID, KEPT, SCORES, TRUNCATE, Page, draw


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "new" / "report.html"
    assert report(SCORES, path, title="Longer windows", notes=["First note.", "Second note."]) == path
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]
    return path.read_text(encoding="utf-8")


def test_every_number_is_on_the_page(page):
    words = Page(page).words
    for number in ("0.91", "0.42", "0.13", "0.92", "0.74", "0.48", "0.89", "0.86", "0.83"):
        assert f"{number} ±0.07" in words
    for text in ("0.9987 ±0.0700", "n = 240", "n = 64", "n = 10", "12.5 s", "300 MiB", "1,024", "whole texts"):
        assert text in words
    for text in (
        "Longer windows",
        "First note.",
        "Second note.",
        "org/model",
        "torch 2.13",
        "1234567",
        "cpu (2 cores)",
    ):
        assert text in words


def test_every_figure_says_how_it_is_read(page):
    parsed = Page(page)
    assert parsed.tags.count("svg") == 4  # a curve, a depth map, a dot plot, short against long
    assert parsed.tags.count("figure") == parsed.tags.count("figcaption") == 4
    assert [value for name, value in parsed.attributes if name == "aria-label"] == [
        "passkey(documents=100, queries=50, depths=5): acc_at_1 over length",
        "passkey(documents=100, queries=50, depths=5): acc_at_1 by depth and length, interpolate\u00a0→\u00a04096",
        "fairytaleqa(documents=0): ndcg_at_10 of each method",
        "passkey(documents=100, queries=50, depths=5): short inputs against acc_at_1, 1,024 to 4,096 tokens",
    ]


def test_the_depth_map_has_its_numbers_in_the_cells(page):
    svg = re.findall(r"<svg .*?</svg>", page, flags=re.S)[1]
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    assert {"0.21", "0.97", "10%", "90%", "1,024", "depth in the text"} <= set(texts)


def test_the_main_metric_of_the_card_comes_first(page):
    words = Page(page).words
    assert words.index("acc_at_1 : share of questions") < words.index("ndcg_at_10 : 1 if")


def test_the_page_needs_nothing_but_itself(page):
    parsed = Page(page)
    assert "http" not in page
    assert "@import" not in page
    assert not {"script", "link", "img", "iframe", "object"} & set(parsed.tags)
    links = [value for name, value in parsed.attributes if name in ("src", "href", "xlink:href", "data", "srcset")]
    assert links
    assert all(value.startswith("#") for value in links)
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", page))


def test_references_inside_the_figures_resolve_and_ids_are_unique(page):
    ids = [value for name, value in Page(page).attributes if name == "id"]
    assert len(ids) == len(set(ids))
    targets = set(re.findall(r"url\(#([^)]*)\)", page)) | set(re.findall(r'href="#([^"]*)"', page))
    assert targets
    assert targets <= set(ids)


def test_text_is_escaped_wherever_it_comes_from(tmp_path):
    evil = '<script>alert("1")</script> $x_1$ {{ 7 * 7 }}'
    score = replace(EXTEND, model=evil, plan=evil, task=evil, device=evil, commit=evil, versions={evil: evil})
    scores = [score, replace(score, depth=0.5), replace(score, benchmark="own", length=None, metric=evil)]
    text = report(scores, tmp_path / "page.html", title=evil, notes=[evil]).read_text(encoding="utf-8")
    parsed = Page(text)
    assert "script" not in parsed.tags
    assert "49" not in parsed.words
    assert parsed.words.count(evil) >= 8
    drawn = re.findall(r"<text[^>]*>([^<]*)</text>", text)
    assert sum(evil in html.unescape(label) for label in drawn) >= 3  # a legend, a map's title, a row of dots


def test_the_same_scores_give_the_same_page(tmp_path, page):
    again = report(SCORES, tmp_path / "again.html", title="Longer windows", notes=["First note.", "Second note."])
    assert again.read_text(encoding="utf-8") == page


def test_no_scores_no_page(tmp_path):
    with pytest.raises(BenchmarkError, match="no scores"):
        report([], tmp_path / "page.html", title="t")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("package", ["matplotlib", "jinja2"])
def test_a_missing_package_is_named_with_the_extra_that_brings_it(tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(LongspanError, match=package) as caught:
        report(SCORES, tmp_path / "page.html", title="t")
    assert caught.value.hint == "pip install 'longspan[report]'"


def test_a_failed_write_leaves_the_old_page(tmp_path, monkeypatch):
    path = tmp_path / "page.html"
    path.write_text("old")

    def full(self, target):
        raise OSError("no space left")

    monkeypatch.setattr(module.Path, "replace", full)
    with pytest.raises(BenchmarkError, match="no space"):
        report(SCORES, path, title="t")
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["page.html"]


def test_drawing_leaves_matplotlib_as_it_was(tmp_path):
    import matplotlib

    report(SCORES, tmp_path / "page.html", title="t")
    assert matplotlib.rcParams["svg.fonttype"] == matplotlib.rcParamsDefault["svg.fonttype"] != "none"
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()


def test_each_figure_is_a_png_as_well(tmp_path):
    from matplotlib import image

    draw(tmp_path, SCORES, png=tmp_path / "new" / "figures")
    paths = sorted((tmp_path / "new" / "figures").iterdir())
    assert [path.name[:2] for path in paths] == ["01", "02", "03", "04"]
    for path in paths:
        pixels = image.imread(path)
        assert min(pixels.shape[:2]) > 100
        assert pixels[..., :3].std() > 0.01  # not blank


def test_a_figure_of_many_methods_tells_them_apart():
    from longspan.evaluation.figures import looks
    from longspan.evaluation.score import table

    many = [replace(EXTEND, plan=f"method{i}") for i in range(20)]
    found = looks(table([BM25, TRUNCATE, *many, HYBRID], metric="acc_at_1"))
    assert len({(look["color"], look["marker"], look["linestyle"]) for look in found}) == 23


def test_shipped_results_are_drawn_one_by_one_and_together(tmp_path):
    files = sorted((Path(__file__).parents[2] / "results").glob("*.jsonl"))
    assert files
    for path in files:
        assert "What came out" in draw(tmp_path, read(path))
    words = draw(tmp_path, [score for path in files for score in read(path)])
    assert "wins" in words
    assert "rope-minilm: yarn → 4096" in words


def test_the_command_writes_page_and_figures(tmp_path):
    from typer.testing import CliRunner

    from longspan.cli import app

    append(tmp_path / "a.jsonl", KEPT[:6])
    append(tmp_path / "b.jsonl", KEPT[6:])
    out, png = tmp_path / "page.html", tmp_path / "png"
    asked = ["report", str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl"), "--out", str(out), "--png", str(png)]
    result = CliRunner().invoke(app, [*asked, "--threshold", "0.4", "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.output) == {"report": str(out)}
    assert len(list(png.iterdir())) == 2
    assert "at 40 % of" in out.read_text(encoding="utf-8")
