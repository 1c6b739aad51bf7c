"""The report: complete, self-contained, escaped, written whole or not at all."""

import html
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from longspan.errors import BenchmarkError, LongspanError
from longspan.evaluation import report as module
from longspan.evaluation.report import report
from longspan.evaluation.score import Score

TRUNCATE = Score(
    model="org/model",
    revision="abc",
    engine="torch float32",
    strategy="truncate",
    plan="",
    window=512,
    benchmark="passkey",
    task="passkey(documents=100, queries=50, depths=5)",
    length=512,
    depth=None,
    metric="acc_at_1",
    value=0.37,
    stderr=0.07,
    n=50,
    seed=0,
    seconds=12.5,
    peak_bytes=300 * 2**20,
    device="cpu (2 cores)",
    versions={"torch": "2.13", "longspan": "0.1"},
    commit="1234567",
    date="2025-11-22",
)
EXTEND = replace(TRUNCATE, strategy="extend", plan="interpolate", window=4096)
CHUNK = replace(TRUNCATE, strategy="chunk_mean")
SCORES = [
    *[replace(TRUNCATE, length=n, value=v) for n, v in ((512, 0.91), (1024, 0.42), (4096, 0.13))],
    *[replace(CHUNK, length=n, value=v) for n, v in ((512, 0.92), (1024, 0.74), (4096, 0.48))],
    *[replace(EXTEND, length=n, value=v) for n, v in ((512, 0.89), (1024, 0.86), (4096, 0.83))],
    *[replace(EXTEND, length=1024, depth=d, value=v, n=10) for d, v in ((0.1, 0.21), (0.9, 0.97))],
    replace(TRUNCATE, metric="ndcg_at_10", value=0.555),
    replace(EXTEND, benchmark="fairytaleqa", task="fairytaleqa(documents=0)", length=None, metric="ndcg_at_10", n=240),
    replace(EXTEND, benchmark="short_drift", task="short_drift", length=128, metric="cosine", value=0.99871, n=64),
]


class Page(HTMLParser):
    """Collects the texts, tags, attributes and ids of a page."""

    def __init__(self, text):
        super().__init__()
        self.texts, self.tags, self.attributes = [], [], []
        self.feed(text)
        self.words = " ".join(" ".join(self.texts).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.texts.append(data)


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
    assert parsed.tags.count("svg") == 3  # a curve, a depth map, a dot plot
    assert parsed.tags.count("figure") == parsed.tags.count("figcaption") == 3
    assert [value for name, value in parsed.attributes if name == "aria-label"] == [
        "passkey(documents=100, queries=50, depths=5): acc_at_1 over length",
        "passkey(documents=100, queries=50, depths=5): acc_at_1 by depth and length, interpolate -> 4096",
        "fairytaleqa(documents=0): ndcg_at_10 of each method",
    ]


def test_the_depth_map_has_its_numbers_in_the_cells(page):
    svg = re.findall(r"<svg .*?</svg>", page, flags=re.S)[1]
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    assert {"0.21", "0.97", "10%", "90%", "1024", "depth"} <= set(texts)


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
    with pytest.raises(OSError, match="no space"):
        report(SCORES, path, title="t")
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["page.html"]


def test_drawing_leaves_matplotlib_as_it_was(tmp_path):
    import matplotlib

    report(SCORES, tmp_path / "page.html", title="t")
    assert matplotlib.rcParams["svg.fonttype"] == matplotlib.rcParamsDefault["svg.fonttype"] != "none"
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()
