"""LongEmbed, LoCoV1 and the benchmarks of own documents: construction, scoring, bad input, the published scores."""

import json
import random
import sys
from collections import Counter
from types import SimpleNamespace

import pytest

from longspan import registry, spec
from longspan.benchmarks.files import from_folder, to_folder, write_lines
from longspan.benchmarks.metrics import score_ranking
from longspan.benchmarks.published import models, published
from longspan.benchmarks.retrieval import _own, inverse_cloze, lengthened_pairs, locov1, longembed, passage_needle
from longspan.benchmarks.retrieval.inverse_cloze import InverseCloze
from longspan.benchmarks.retrieval.lengthened_pairs import LengthenedPairs
from longspan.benchmarks.retrieval.locov1 import LoCoV1
from longspan.benchmarks.retrieval.longembed import LongEmbed
from longspan.benchmarks.retrieval.needle import Needle
from longspan.benchmarks.retrieval.passage_needle import PassageNeedle
from longspan.benchmarks.retrieval.passkey import Passkey
from longspan.benchmarks.tasks import digest, usual_count
from longspan.card import BenchmarkCard
from longspan.errors import BenchmarkError

OWN = (InverseCloze, PassageNeedle, LengthenedPairs)


def length_of(benchmark):
    return None if getattr(benchmark, "natural", False) else 512


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    inverse_cloze.twin(folder)
    return str(folder)


@pytest.fixture(scope="module")
def loco(tmp_path_factory):
    folder = tmp_path_factory.mktemp("loco")
    locov1.twin(folder)
    return folder


# Published scores.


def test_minilm_on_qmsum_is_the_published_anchor():
    expected = {"ndcg_at_10": 0.16322, "acc_at_1": 0.0799}
    for name in ("all-MiniLM-L6-v2", "ALL-minilm-l6-v2", "sentence-transformers/all-MiniLM-L6-v2"):
        assert published(name, "qmsum", None) == expected


def test_a_synthetic_task_has_its_lengths_and_their_mean():
    by_length = [published("bm25", "needle", 2**power)["acc_at_1"] for power in range(8, 16)]
    assert published("bm25", "needle", None)["acc_at_1"] == pytest.approx(sum(by_length) / 8)
    assert published("bm25", "needle", None)["acc_at_1"] == pytest.approx(0.9325)
    assert published("bm25", "passkey", 32768) == {"ndcg_at_10": 1.0, "acc_at_1": 1.0}


@pytest.mark.parametrize(
    ("model", "task", "length"),
    [
        ("nobody/nothing", "qmsum", None),
        ("", "qmsum", None),
        ("bm25", "fairytaleqa", None),
        ("bm25", "qmsum", 512),
        ("bm25", "passkey", 300),
    ],
)
def test_what_is_not_published_is_empty(model, task, length):
    assert published(model, task, length) == {}


def test_the_published_models_are_told_apart_without_their_organisation():
    names = models()
    assert len({name.split("/")[-1].lower() for name in names}) == len(names) == 199
    scores = [published(name, "qmsum", None) for name in names]
    assert sum(bool(score) for score in scores) == 173
    assert all(0 <= value <= 1 for score in scores for value in score.values())


def test_every_task_of_longembed_has_published_scores():
    for task in LongEmbed.mteb:
        assert published("bm25", task, None)["ndcg_at_10"] > 0.5


# LongEmbed.


def test_the_collection_has_six_parts_that_build(tmp_path):
    longembed.twin(tmp_path)
    parts = LongEmbed(folder=str(tmp_path)).parts()
    assert parts[:2] == (Passkey(), Needle())
    assert [part.task for part in parts[2:]] == ["narrativeqa", "qmsum", "wikimqa", "summscreenfd"]
    for part in parts[2:]:
        made = part.examples(None, 0)
        assert (made.name, len(made.documents), len(made.queries)) == (part.task, 2, 2)
        assert part.task in made.documents["d0"]
        assert part.parts() == (part,)
        inner = LongEmbed(task=part.task, folder=str(tmp_path / part.task))
        assert inner.examples(None, 0) == made


class FakeTask:
    """As mteb's LEMB tasks: the older layout, converted on request; a query has one document, perhaps a wrong one."""

    def load_data(self):
        self.loaded = True

    def convert_v1_dataset_format_to_v2(self, num_proc):
        corpus = [{"id": "b", "text": "two", "title": ""}, {"id": "a", "text": "one", "title": ""}]
        queries = [{"id": "q2", "text": "?"}, {"id": "q1", "text": "!"}, {"id": "q3", "text": "."}]
        judged = {"q2": {"a": 1}, "q1": {"b": 1, "a": 0}, "q3": {"a": 0}}
        split = {"corpus": corpus, "queries": queries, "relevant_docs": judged, "top_ranked": None}
        self.dataset = {"default": {"test": split}} if self.loaded else {}


def test_a_task_comes_from_the_hub_through_mteb(monkeypatch):
    asked = []

    def get_task(name):
        asked.append(name)
        return FakeTask()

    monkeypatch.setitem(sys.modules, "mteb", SimpleNamespace(get_task=get_task))
    made = LongEmbed(task="summscreenfd").examples(None, 0)
    assert asked == ["LEMBSummScreenFDRetrieval"]
    assert list(made.documents.items()) == [("a", "one"), ("b", "two")]
    assert list(made.queries.items()) == [("q1", "!"), ("q2", "?")]
    assert made.relevant == {"q1": ("b",), "q2": ("a",)}


def test_an_unreachable_hub_is_told_with_the_folder_layout(monkeypatch):
    def get_task(name):
        raise ConnectionError("no route\nmore")

    monkeypatch.setitem(sys.modules, "mteb", SimpleNamespace(get_task=get_task))
    with pytest.raises(BenchmarkError, match="no route") as caught:
        LongEmbed(task="qmsum").examples(None, 0)
    assert "qrels.jsonl" in caught.value.hint
    monkeypatch.setitem(sys.modules, "mteb", None)
    with pytest.raises(BenchmarkError, match="mteb"):
        LongEmbed(task="qmsum").examples(None, 0)


# LoCoV1.


def test_each_task_of_loco_is_filtered_and_has_several_right_documents(loco):
    parts = LoCoV1(folder=str(loco)).parts()
    assert len(parts) == 12
    for part in parts:
        made = part.examples(None, 0)
        assert (len(made.documents), len(made.queries)) == (3, 2)
        assert all(key.startswith(part.task) for key in [*made.documents, *made.queries])
        assert [len(found) for found in made.relevant.values()] == [1, 2]
        second = made.relevant[f"{part.task}_Q1"]
        assert part.score(second, second[:1])["ndcg_at_10"] == pytest.approx(0.6131472)  # 1 / (1 + 1 / log2(3))
        assert part.score(second, second) == {"ndcg_at_10": 1.0, "acc_at_1": 1.0}


def test_loco_comes_from_the_hub_in_the_same_form(loco, monkeypatch):
    asked = []

    def load_dataset(repository, config=None, split=None):
        asked.append((repository, split))
        name = repository.removeprefix("hazyresearch/LoCoV1-").lower()
        return [json.loads(line) for line in (loco / f"{name}.jsonl").read_text().splitlines()]

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    assert LoCoV1(task="qmsum").examples(None, 0) == LoCoV1(task="qmsum", folder=str(loco)).examples(None, 0)
    assert asked == [("hazyresearch/LoCoV1-Queries", "test"), ("hazyresearch/LoCoV1-Documents", "test")]


def write_loco(folder, documents, queries):
    write_lines(folder / "documents.jsonl", [{"dataset": "qmsum", **row} for row in documents])
    write_lines(folder / "queries.jsonl", [{"dataset": "qmsum", **row} for row in queries])
    return LoCoV1(task="qmsum", folder=str(folder))


def test_a_passage_that_is_missing_takes_its_queries_along(tmp_path):
    documents = [{"pid": "a", "passage": None}, {"pid": "b", "passage": "two"}]
    queries = [{"qid": "p", "query": "?", "answer_pids": ["a"]}, {"qid": "q", "query": "?", "answer_pids": ["a", "b"]}]
    made = write_loco(tmp_path, documents, queries).examples(None, 0)
    assert (list(made.documents), made.relevant) == (["b"], {"q": ("b",)})


GOOD_DOCUMENT, GOOD_QUERY = {"pid": "a", "passage": "one"}, {"qid": "q", "query": "?", "answer_pids": ["a"]}


@pytest.mark.parametrize(
    ("documents", "queries", "words"),
    [
        ([GOOD_DOCUMENT, GOOD_DOCUMENT], [GOOD_QUERY], "documents.jsonl, line 2: the pid 'a' occurs twice"),
        ([GOOD_DOCUMENT], [GOOD_QUERY, GOOD_QUERY], "queries.jsonl, line 2: the qid 'q' occurs twice"),
        ([GOOD_DOCUMENT], [{**GOOD_QUERY, "answer_pids": ["z"]}], "line 1: qmsum has no document 'z'"),
        ([GOOD_DOCUMENT], [{**GOOD_QUERY, "answer_pids": "a"}], "line 1: answer_pids is not a list of ids"),
        ([GOOD_DOCUMENT], [{**GOOD_QUERY, "answer_pids": [1]}], "line 1: answer_pids is not a list of ids"),
        ([GOOD_DOCUMENT], [{**GOOD_QUERY, "query": None}], "line 1: query is missing"),
        ([{**GOOD_DOCUMENT, "passage": 5}], [GOOD_QUERY], "line 1: passage is not a text"),
        ([{**GOOD_DOCUMENT, "dataset": "loco"}], [{**GOOD_QUERY, "dataset": "loco"}], "0 documents and 0 queries"),
        ([GOOD_DOCUMENT], [{**GOOD_QUERY, "answer_pids": []}], "1 documents and 1 queries"),
        ([], [GOOD_QUERY], "documents.jsonl is empty"),
    ],
)
def test_damaged_loco_files_are_refused(tmp_path, documents, queries, words):
    with pytest.raises(BenchmarkError) as caught:
        write_loco(tmp_path, documents, queries).examples(None, 0)
    assert words in caught.value.fact
    assert caught.value.hint


# Own documents.


@pytest.mark.parametrize("benchmark", OWN)
def test_a_set_of_own_documents_keeps_the_laws(benchmark, own):
    made = benchmark(path=own)
    card = registry.benchmarks()[type(made).__module__.rsplit(".", 1)[-1]]
    first, again, other = (made.examples(length_of(made), seed) for seed in (0, 0, 1))
    assert digest(first) == digest(again) != digest(other)
    for ids in (first.documents, first.queries, first.relevant):
        assert list(ids) == sorted(ids)
    assert first.queries.keys() == first.relevant.keys() == first.depth.keys()
    for query, right in first.relevant.items():
        assert set(right) <= first.documents.keys()
        assert made.score(right, right) == dict.fromkeys(card.metrics, 1.0)
        assert made.score(right, ()) == dict.fromkeys(card.metrics, 0.0)
        assert first.queries[query].strip()
    assert spec.parse(repr(made), BenchmarkCard) == (made,)
    assert spec.parse(spec.short([made]), BenchmarkCard) == (made,)


def test_a_cloze_is_taken_out_of_its_document_at_all_depths(own):
    made = InverseCloze(path=own, queries=100, depths=5).examples(None, 0)
    whole = _own.read("", own, 2)
    assert Counter(made.depth.values()) == {(i + 0.5) / 5: 20 for i in range(5)}
    kept = 0
    for query, sentence in made.queries.items():
        (key,) = made.relevant[query]
        assert whole[key].count(sentence) == 1
        assert sum(sentence in text for text in whole.values()) == 1
        assert abs(whole[key].index(sentence) / len(whole[key]) - made.depth[query]) <= 0.1
        kept += sentence in made.documents[key]
    assert kept == 10
    assert max(Counter(made.relevant.values()).values()) <= 41 // 4
    touched = {key for (key,) in made.relevant.values()}
    assert all(text == whole[key] for key, text in made.documents.items() if key not in touched)


@pytest.mark.parametrize(("keep", "expected"), [(0.0, 0), (1.0, 60)])
def test_the_share_that_stays_is_what_is_asked_for(own, keep, expected):
    made = InverseCloze(path=own, queries=60, keep=keep).examples(None, 3)
    assert sum(text in made.documents[made.relevant[query][0]] for query, text in made.queries.items()) == expected


@pytest.mark.parametrize("length", [128, 512, 3000])
def test_passage_needles_differ_in_one_sentence_only(own, length):
    made = PassageNeedle(path=own).examples(length, 0)
    needles = [sentence.text for key, text in _own.read("", own, 2).items() for sentence in _own.sentences(key, text)]
    every = [line for text in made.documents.values() for line in text.split("\n")]
    rests = set()
    for key, text in made.documents.items():
        lines = text.split("\n")
        (needle,) = [line for line in lines if line in needles and sum(map(line.__eq__, every)) == 1]
        at = lines.index(needle)
        rests.add(" ".join(" ".join(lines[:at] + lines[at + 1 :]).split()))
        words = iter(needle.split())
        asked = made.queries[f"q{key[1:]}"].split()
        assert len(asked) == -(-len(needle.split()) // 2)
        assert all(word in words for word in asked)  # in the order of the sentence
        assert length - 20 <= usual_count(text) <= length
    (rest,) = rests
    assert not any(needle in rest for needle in made.queries.values())


def test_passage_needles_stand_at_the_depths_asked_for(own):
    made = PassageNeedle(path=own, depths=5).examples(1024, 0)
    assert Counter(made.depth.values()) == {(i + 0.5) / 5: 10 for i in range(5)}


@pytest.mark.parametrize("length", [300, 512, 2000])
def test_a_pair_is_lengthened_to_the_length_around_its_passage(own, length):
    made = LengthenedPairs(path=own).examples(length, 0)
    whole = _own.read("", own, 2)
    by_opening = {}
    for key, text in whole.items():
        by_opening[" ".join(text.split("coins.")[0].split()) + " coins."] = key
    for query, asked in made.queries.items():
        text = made.documents[made.relevant[query][0]]
        source = whole[by_opening[asked]]
        passage = source[source.index("coins.") + 6 :].strip()[:300]
        before, found, _ = text.partition(passage)
        assert found
        assert asked not in text
        words = len(text.split()) - 110  # the passage ends with the sentence that fills 100 words
        assert abs(len(before.split()) / words - made.depth[query]) < 0.05 + 15 / words
        assert length - 2 <= usual_count(text) <= length
    assert Counter(made.depth.values()) == {(i + 0.5) / 5: 4 for i in range(5)}


@pytest.mark.parametrize("benchmark", [PassageNeedle, LengthenedPairs])
def test_the_models_own_tokens_are_counted(own, benchmark):
    made = benchmark(path=own).examples(900, 0, count=len)
    assert all(900 - 60 <= len(text) <= 900 for text in made.documents.values())


def test_keyword_search_finds_nearly_all_of_them(own):
    from longspan.evaluation.bm25 import BM25
    from longspan.evaluation.ranking import best_ten

    for benchmark in (InverseCloze(path=own), PassageNeedle(path=own), LengthenedPairs(path=own)):
        made = benchmark.examples(length_of(benchmark), 0)
        ranked = best_ten(made, BM25().search(made, "").scores)
        scores = [benchmark.score(made.relevant[query], ranked[query])["ndcg_at_10"] for query in made.queries]
        assert sum(scores) / len(scores) > 0.9


def test_files_of_all_kinds_are_read(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "deep" / "a.txt").write_bytes(b"\xef\xbb\xbfone")
    (tmp_path / "b.md").write_text("two")
    (tmp_path / "c.py").write_text("no document")
    (tmp_path / ".hidden" / "d.txt").write_text("hidden")
    (tmp_path / "empty.txt").write_text(" \n")
    write_lines(tmp_path / "e.jsonl", [{"id": "x", "text": "three"}])
    assert _own.read("own", str(tmp_path), 3) == {"b.md": "two", "deep/a.txt": "one", "x": "three"}
    assert _own.read("own", str(tmp_path / "b.md"), 1) == {"b.md": "two"}
    write_lines(tmp_path / "corpus.jsonl", [{"id": "only", "text": "this"}])
    assert _own.read("own", str(tmp_path), 1) == {"only": "this"}


def test_sentences_end_at_stops_and_empty_lines_and_not_at_initials_or_wrapped_lines():
    text = 'A title\n\nMr. J. Doe\nsaid "no." Then he left!  \u4e00\u3002\u4e8c'
    found = _own.sentences("d", text)
    assert [sentence.text for sentence in found] == [
        "A title",
        'Mr. J. Doe\nsaid "no."',
        "Then he left!",
        "\u4e00\u3002",
        "\u4e8c",
    ]
    assert all(text[sentence.start : sentence.end] == sentence.text for sentence in found)
    assert [sentence.depth for sentence in found] == [sentence.start / len(text) for sentence in found]


def test_own_documents_that_do_not_do_are_refused(tmp_path, own):
    write_lines(tmp_path / "a.jsonl", [{"id": "x", "text": "one"}])
    write_lines(tmp_path / "b.jsonl", [{"id": "x", "text": "two"}])
    with pytest.raises(BenchmarkError, match=r"b\.jsonl, line 1: the id 'x' occurs twice"):
        InverseCloze(path=str(tmp_path)).examples(None, 0)
    (tmp_path / "b.jsonl").unlink()
    (tmp_path / "b.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(BenchmarkError, match=r"b\.txt is not UTF-8 at byte 0"):
        InverseCloze(path=str(tmp_path)).examples(None, 0)
    (tmp_path / "b.txt").unlink()
    (tmp_path / "c.txt").write_text("Too short.")
    for benchmark, words in zip(OWN, ("give 0 sentences", "needs 4 documents", "needs 4 documents"), strict=True):
        with pytest.raises(BenchmarkError, match=words):
            benchmark(path=str(tmp_path)).examples(length_of(benchmark), 0)
    for path in (tmp_path / "none", tmp_path / "none.txt", tmp_path / "x.pdf"):
        with pytest.raises(BenchmarkError):
            InverseCloze(path=str(path)).examples(None, 0)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda own: InverseCloze(path=own).examples(512, 0), ["512", "length=None"]),
        (lambda own: InverseCloze(queries=15), ["15", "queries=10"]),
        (lambda own: InverseCloze(documents=1), ["1"]),
        (lambda own: InverseCloze(keep=1.5), ["1.5"]),
        (lambda own: InverseCloze(path=own, documents=41).examples(None, 0), ["41", "40"]),
        (lambda own: PassageNeedle(path=own).examples(None, 0), ["None"]),
        (lambda own: PassageNeedle(path=own).examples(20, 0), ["20", "or more"]),
        (lambda own: PassageNeedle(path=own).examples(10**6, 0), ["1000000", "words"]),
        (lambda own: PassageNeedle(path=own, documents=9000).examples(512, 0), ["9000", "documents="]),
        (lambda own: LengthenedPairs(path=own).examples(100, 0), ["100", "or more"]),
        (lambda own: LengthenedPairs(path=own).examples(10**6, 0), ["1000000", "words"]),
        (lambda own: LengthenedPairs(path=own, documents=25, queries=25).examples(512, 0), ["25", "documents=20"]),
        (lambda own: LengthenedPairs(depths=0), ["depths=0"]),
        (lambda own: LongEmbed(task="qmsumm"), ["qmsumm", "qmsum"]),
        (lambda own: LongEmbed(task="passkey"), ["passkey"]),
        (lambda own: LongEmbed().examples(None, 0), ["narrativeqa, qmsum, wikimqa, summscreenfd"]),
        (lambda own: LongEmbed(task="qmsum", folder=own).examples(512, 0), ["512", "length=None"]),
        (lambda own: LoCoV1(task="qasper"), ["qasper", "qasper_title"]),
        (lambda own: LoCoV1().examples(None, 0), ["12", "stackoverflow"]),
    ],
)
def test_what_cannot_be_built_is_said_with_numbers_and_a_hint(own, make, words):
    with pytest.raises(BenchmarkError) as caught:
        make(own)
    assert caught.value.hint
    assert all(word in str(caught.value) for word in words)


def test_the_number_of_sentences_in_the_hint_works(own):
    with pytest.raises(BenchmarkError, match="were asked for") as caught:
        InverseCloze(path=own, queries=1000).examples(None, 0)
    queries = int(caught.value.hint.removeprefix("queries="))
    assert 200 <= queries < 1000
    assert len(InverseCloze(path=own, queries=queries).examples(None, 0).queries) == queries


@pytest.mark.parametrize("benchmark", [PassageNeedle, LengthenedPairs])
def test_the_greatest_length_in_the_hint_works(own, benchmark):
    with pytest.raises(BenchmarkError) as caught:
        benchmark(path=own).examples(10**6, 0)
    longest = int(caught.value.hint.split(" to ")[1].split(",")[0])
    assert benchmark(path=own).examples(longest, 0).length == longest


# Several right documents.


def test_ndcg_with_several_right_documents_is_that_of_sentence_transformers():
    from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator

    rng = random.Random(0)
    ids = [f"d{i:02d}" for i in range(30)]
    right = {f"q{i:03d}": rng.sample(ids, rng.randint(1, 14)) for i in range(200)}
    ranked = {query: rng.sample(ids, 20) for query in right}
    judge = InformationRetrievalEvaluator(
        queries=dict.fromkeys(right, ""),
        corpus=dict.fromkeys(ids, ""),
        relevant_docs={query: set(found) for query, found in right.items()},
        ndcg_at_k=[10],
    )
    rows = [[{"corpus_id": d, "score": -i} for i, d in enumerate(ranked[query])] for query in judge.queries_ids]
    expected = judge.compute_metrics(rows)
    ours = [score_ranking(right[query], ranked[query]) for query in right]
    assert 0.1 < expected["ndcg@k"][10] < 0.9
    assert sum(score["ndcg_at_10"] for score in ours) / 200 == pytest.approx(expected["ndcg@k"][10], abs=1e-12)
    assert sum(score["acc_at_1"] for score in ours) / 200 == pytest.approx(expected["accuracy@k"][1], abs=1e-12)


def test_several_right_documents_survive_a_folder(tmp_path, loco):
    made = LoCoV1(task="qmsum", folder=str(loco)).examples(None, 0)
    to_folder(made, tmp_path)
    assert from_folder("qmsum", tmp_path) == made


@pytest.mark.parametrize(
    ("file", "row", "words"),
    [
        ("qrels", {"query-id": "q", "corpus-id": "a", "score": 0}, "line 2: 'a' is right for 'q' in one line"),
        ("qrels", {"query-id": "q", "corpus-id": "a", "score": True}, "line 2: score is not a number"),
        ("qrels", {"query-id": "q", "corpus-id": "a", "score": float("nan")}, "line 2: not JSON (NaN"),
        ("corpus", {"id": "b", "text": "\\ud800"}, "line 2: text holds half of a surrogate pair"),
    ],
)
def test_contradictions_and_half_characters_are_refused(tmp_path, file, row, words):
    write_lines(tmp_path / "corpus.jsonl", [{"id": "a", "text": "one"}])
    write_lines(tmp_path / "queries.jsonl", [{"id": "q", "text": "?"}])
    write_lines(tmp_path / "qrels.jsonl", [{"query-id": "q", "corpus-id": "a", "score": 1}])
    with (tmp_path / f"{file}.jsonl").open("a") as out:
        out.write(json.dumps(row).replace("\\\\", "\\") + "\n")
    with pytest.raises(BenchmarkError) as caught:
        from_folder("own", tmp_path)
    assert words in caught.value.fact


def test_a_path_that_no_file_can_have_is_refused():
    with pytest.raises(BenchmarkError, match="cannot be read"):
        from_folder("own", "a\0b")


def test_the_twins_are_the_three_same_documents(tmp_path, own):
    for module in (passage_needle, lengthened_pairs):
        module.twin(tmp_path)
        assert _own.read("own", str(tmp_path), 40) == _own.read("own", own, 40)
