"""What a report says came out: sentences, differences, windows, costs, and what is refused."""

import re
from dataclasses import replace

import pytest

from longspan.errors import BenchmarkError
from tests.scores import BM25, EXTEND, KEPT, SCORES, TRUNCATE, cells, draw, kept


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    draw(folder, SCORES)
    return (folder / "page.html").read_text(encoding="utf-8")


def test_the_first_sentence_says_that_keyword_search_wins(tmp_path):
    words = draw(tmp_path, KEPT)
    first = re.search(r"What came out (.*?)Measured on: .*?\. (.*?\.) ", words).group(2)
    assert first.startswith("Keyword search (BM25), which needs no model, wins")
    assert "With one vector a document, interpolate → 4096 is the best: 0.80" in words
    assert "against 0.25 of the model as it is" in words
    assert "With several vectors a document, chunk_max(top=2) 512 is the best: 0.90" in words
    assert "Fused with keyword search, bm25 + interpolate → 4096 is the best: 0.93" in words
    assert "keeps, of the score of the model as it is, 90 % on Personalised Passkey Retrieval" in words


def test_the_first_sentence_says_that_keyword_search_loses_or_is_missing(tmp_path):
    worse = [*kept(BM25, 20, 10, 10), *KEPT[3:]]
    assert "is beaten by the model in the retrieval task; it has 0.50" in draw(tmp_path, worse)
    assert "Keyword search (BM25) was not measured" in draw(tmp_path, KEPT[3:])
    assert "nothing beats the model as it is" in draw(tmp_path, KEPT[3:6])


def test_differences_are_paired_with_the_model_as_it_is(tmp_path):
    words = draw(tmp_path, KEPT)
    assert "acc_at_1 less that of the model as it is (truncate 512)" in words
    found = [row for row in cells(tmp_path / "page.html", "chunk_mean 512") if "+" in "".join(row)]
    (row,) = found
    assert row[0].startswith("+0.00<small>")
    assert "+0.10" in row[1]
    assert row[1].count("[+0.00, ") == 1  # two of twenty: may be chance
    (row,) = [row for row in cells(tmp_path / "page.html", "interpolate\u00a0→\u00a04096") if "+" in "".join(row)]
    assert "<strong>+0.65" in row[2]


@pytest.mark.parametrize("change", [{"data": ""}, {"values": ()}, {"seed": 1}])
def test_what_is_not_on_the_same_examples_is_not_compared(tmp_path, change):
    other = [replace(score, **change) for score in kept(EXTEND, 18, 17, 15)]
    assert "paired bootstrap" not in draw(tmp_path, [*kept(TRUNCATE, 20, 8, 2), *other])


def test_intervals_stand_where_values_were_kept_and_errors_elsewhere(tmp_path):
    words = draw(tmp_path, [*kept(TRUNCATE, 20, 8, 2), *SCORES[6:9]])
    assert re.search(r"0\.40 \[0\.\d\d, 0\.\d\d\]", words)
    assert "0.86 ±0.07" in words
    assert "Bars are 95 % bootstrap intervals where single values were kept, else ±1 standard error" in words


def test_the_effective_window_is_a_column_with_its_threshold(tmp_path):
    draw(tmp_path, KEPT)
    path = tmp_path / "page.html"
    ends = {label: cells(path, label)[1][-1] for label in ("truncate 512", "chunk_max(top=2) 512", "bm25")}
    assert ends == {"truncate 512": "512", "chunk_max(top=2) 512": "≥ 2,048", "bm25": "≥ 2,048"}
    assert "at 40 % of the method" in draw(tmp_path, KEPT, threshold=0.4)
    assert cells(path, "truncate 512")[1][-1] == "1,024"
    for threshold in (0, 1.5, float("nan")):
        with pytest.raises(BenchmarkError, match="not a share"):
            draw(tmp_path, KEPT, threshold=threshold)


def test_the_best_of_each_task_is_bold_in_the_table_of_all(tmp_path):
    whole = {"benchmark": "fairytaleqa", "task": "fairytaleqa(documents=0)", "length": None, "metric": "ndcg_at_10"}
    scores = [*KEPT, replace(TRUNCATE, **whole, value=0.6), replace(EXTEND, **whole, value=0.5)]
    words = draw(tmp_path, scores)
    assert "it has 1.00 on Personalised Passkey Retrieval" in words
    assert "on average over both retrieval tasks" in words  # the rows with one vector that both tasks have
    path = tmp_path / "page.html"
    assert cells(path, "bm25")[0] == ["<strong>1.00</strong>", "-"]
    assert cells(path, "truncate 512")[0] == ["0.25", "<strong>0.60</strong>"]
    assert cells(path, "interpolate\u00a0→\u00a04096")[0] == ["0.80", "0.50"]


def test_how_much_was_read_and_what_it_cost(tmp_path):
    words = draw(tmp_path, KEPT)
    assert "20 of 20" in words
    assert "All were read to the end by: bm25; chunk_mean 512;" in words
    assert "mean length, characters 2,304 4,608 9,216" in words
    assert "mean length, tokens of org/model 512 1,024 2,048" in words
    assert "Token counts compare only within one tokenizer" in words
    assert "12.5 s 3,277 tokens/s" in words  # 20 texts of 2,048 tokens in 12.5 s
    assert "How much was read" not in draw(tmp_path, SCORES)


def test_different_data_are_refused_and_a_repeated_measurement_is_not(tmp_path):
    again = [replace(score, data="other") for score in kept(EXTEND, 18, 17, 15)]
    with pytest.raises(BenchmarkError, match="different data") as caught:
        draw(tmp_path, [*KEPT[:6], *again])
    assert "apart" in caught.value.hint
    assert not list(tmp_path.iterdir())
    assert draw(tmp_path, [*kept(EXTEND, 18, 17, 15), *again])  # the later one replaced the earlier
    assert draw(tmp_path, [*KEPT[:6], *[replace(score, seed=1) for score in again]])
    assert draw(tmp_path, [*KEPT[:6], *[replace(score, data="", values=()) for score in again]])


def test_texts_that_a_tokenizer_fits_differ_from_model_to_model(tmp_path):
    ours = [replace(score, benchmark="lm_passkey", task="LMPasskey()") for score in KEPT[:6]]
    theirs = [replace(score, model="org/other", data="other") for score in ours]
    assert draw(tmp_path, [*ours, *theirs])
    with pytest.raises(BenchmarkError, match="different data"):
        draw(tmp_path, [*ours, *[replace(score, model="org/model", window=64) for score in theirs]])


def test_different_versions_in_a_table_are_marked(tmp_path):
    newer = [replace(score, versions={"torch": "2.14", "longspan": "0.1"}) for score in kept(EXTEND, 18, 17, 15)]
    assert "Measured with different versions (torch 2.13 and 2.14)" in draw(tmp_path, [*KEPT[:6], *newer])
    assert "different versions" not in draw(tmp_path, KEPT)


def test_published_numbers_stand_apart_for_known_models_only(tmp_path):
    known = [replace(score, model="sentence-transformers/all-MiniLM-L6-v2") for score in kept(TRUNCATE, 20, 8, 2)]
    words = draw(tmp_path, known)
    assert "published: sentence-transformers/all-MiniLM-L6-v2" in words
    assert "published: bm25" in words
    assert "Rows named published were not measured here" in words
    assert "published: org/model" not in draw(tmp_path, KEPT)
    tales = replace(known[0], benchmark="fairytaleqa", task="fairytaleqa(documents=0)")
    assert "published:" not in draw(tmp_path, [tales])


def test_every_name_that_occurs_is_explained_in_one_line(tmp_path):
    words = draw(tmp_path, KEPT)
    for text in (
        "truncate N Truncation: one vector a document. For documents that say at the start",
        "chunk_max N MaxP (best chunks): several vectors a document.",
        "interpolate Position Interpolation",
        "bm25 Keyword search (BM25): counts the words",
        "bm25 + ... Keyword search and the named way, fused",
    ):
        assert text in words
    assert "long_late N" not in words


def test_less_is_better_is_told_and_turns_the_best_around(tmp_path):
    facts = {"benchmark": "perplexity", "task": "Perplexity(passages=8)", "metric": "nll"}
    scores = [replace(TRUNCATE, **facts, length=n, value=v) for n, v in ((512, 2.0), (1024, 4.0))]
    scores += [replace(EXTEND, **facts, length=n, value=v) for n, v in ((512, 2.1), (1024, 2.0))]
    words = draw(tmp_path, scores)
    assert "(lower is better)" in words
    assert "language model, N A language model reads N tokens" in words
    assert "vector" not in words
    assert "Lower is better. Each line is a method" in words
    assert "±0.07 (ppl 7.39)" in words
    assert "On Perplexity by position (nll, less is better; 1,024 tokens): interpolate → 4096 2.00" in words
    path = tmp_path / "page.html"
    assert cells(path, "interpolate\u00a0→\u00a04096")[0] == ["<strong>2.00</strong>"]
    assert cells(path, "interpolate\u00a0→\u00a04096")[1][-1] == "≥ 1,024"
    assert cells(path, "truncate 512")[1][-1] == "512"


def test_short_and_long_are_drawn_against_each_other(tmp_path, page):
    svg = re.findall(r"<svg .*?</svg>", page, flags=re.S)[-1]
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    assert {"truncate 512", "interpolate\u00a0→\u00a04096"} <= set(texts)
    assert "chunk_mean 512" not in texts  # no drift was measured of it
    assert "short inputs (128 tokens): cosine to the" in texts
    draw(tmp_path, KEPT)
    svg = re.findall(r"<svg .*?</svg>", (tmp_path / "page.html").read_text(encoding="utf-8"), flags=re.S)[-1]
    assert "short inputs (512 tokens): score / that" in svg
    assert "chunk_mean 512" in svg


def test_a_score_of_one_example_is_drawn_without_an_error(tmp_path):
    draw(tmp_path, [replace(score, n=1, stderr=0.0, values=(1.0,), value=1.0) for score in KEPT[:3]])
    assert ["1.00"] * 3 in [row[:3] for row in cells(tmp_path / "page.html", "bm25")]
