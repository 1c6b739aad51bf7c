"""Scores of every kind, and a page taken apart, for the tests of reports."""

import re
from dataclasses import replace
from html.parser import HTMLParser

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


BM25 = replace(TRUNCATE, model="bm25", revision="0.3", engine="bm25s", strategy="bm25", window=0)
HYBRID = replace(EXTEND, strategy="bm25 + extend")
SEVERAL = replace(TRUNCATE, strategy="chunk_max(top=2)")


def kept(score, *right, **changes):
    """A score of twenty examples with their values: how many of them are right at each of three lengths."""
    return [
        replace(
            score,
            length=length,
            values=(1.0,) * n + (0.0,) * (20 - n),
            n=20,
            value=n / 20,
            stderr=0.1,
            data=f"digest{length}",
            inputs=20,
            truncated=20 if score.strategy == "truncate" and length > 512 else 0,
            characters=4.5 * length,
            tokens=None if score.strategy == "bm25" else float(length),
            **changes,
        )
        for length, n in zip((512, 1024, 2048), right, strict=True)
    ]


KEPT = [
    *kept(BM25, 20, 20, 20),
    *kept(TRUNCATE, 20, 8, 2),
    *kept(CHUNK, 20, 10, 4),
    *kept(SEVERAL, 20, 18, 18),
    *kept(EXTEND, 18, 17, 15),
    *kept(HYBRID, 20, 19, 18),
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


def draw(folder, scores, **options):
    """The words of a page."""
    return Page(report(scores, folder / "page.html", title="t", **options).read_text(encoding="utf-8")).words


def cells(path, label):
    """The cells of each table row with that label."""
    text = path.read_text(encoding="utf-8")
    rows = re.findall(rf'<th scope="row">{re.escape(label)}</th>(.*?)</tr>', text, flags=re.S)
    return [re.findall(r"<td>(.*?)</td>", row, flags=re.S) for row in rows]
