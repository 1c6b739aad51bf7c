"""The retrieval benchmarks: construction as published, scoring, determinism, damaged folders."""

import hashlib
import json
import os
import random
import re
import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longspan import registry, spec
from longspan.benchmarks import files
from longspan.benchmarks.files import from_folder
from longspan.benchmarks.metrics import score_ranking
from longspan.benchmarks.retrieval.fairytaleqa import FairytaleQA
from longspan.benchmarks.retrieval.needle import Needle
from longspan.benchmarks.retrieval.passkey import Passkey
from longspan.card import BenchmarkCard
from longspan.errors import BenchmarkError

DATA = Path(files.__file__).parent / "data"
LENGTHS = {256: 788, 512: 1698, 1024: 3520, 2048: 7155, 4096: 14431, 8192: 28984, 16384: 58087, 32768: 116293}
UNIT = "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again."
NEEDLE = re.compile(r"^(.+)'s pass key is (\d{5})\. Remember it\. \2 is the pass key for \1\.$", re.M)
FACTS = {row["fact"]: row["question"] for _, row in files.read_lines(DATA / "facts.jsonl")}
EVERY = [(Passkey(), 256), (Needle(), 256), (FairytaleQA(), None)]


def digest(benchmark, length, seed):
    # One right document a query here: the pins were taken when ``relevant`` held it without a tuple.
    made = benchmark.examples(length, seed)
    right = {query: one for query, (one,) in made.relevant.items()}
    return hashlib.sha256(repr((made.documents, made.queries, right, made.depth)).encode()).hexdigest()


@pytest.mark.parametrize(("length", "characters"), LENGTHS.items())
def test_passkey_documents_have_the_published_length(length, characters):
    made = Passkey().examples(length, seed=0)
    assert (len(made.documents), len(made.queries), made.length) == (100, 50, length)
    for document in made.documents.values():
        (name, _), *more = NEEDLE.findall(document)
        assert not more
        assert len(document) == characters + 62 + 2 * len(name)


def test_passkey_hides_the_template_at_a_sentence_boundary_of_the_filler():
    made = Passkey().examples(300, seed=3)
    filler = " ".join((UNIT + " " + " ".join([UNIT] * 20)).split()[: 225 - 25])
    places = set()
    for key, document in made.documents.items():
        needle = NEEDLE.search(document)
        before, after = document[: needle.start()], document[needle.end() :]
        assert before.endswith(".\n") or not before
        assert after.startswith(("\nThe ", "\nHere ", "\nThere "))
        assert (before.rstrip() + " " + after.lstrip()).strip() == filler
        places.add(len(before))
        if f"q{key[1:]}" in made.queries:
            assert made.depth[f"q{key[1:]}"] == pytest.approx(len(before.split()) / 200)
    assert len(places) > 30  # 53 boundaries, drawn 100 times


def test_passkey_asks_in_the_published_words():
    made = Passkey().examples(256, seed=0)
    for query, text in made.queries.items():
        name = NEEDLE.search(made.documents[made.relevant[query][0]])[1]
        assert text == f"what is the passkey for {name}?"


def test_the_same_names_stand_at_every_length_and_seed():
    found = {
        frozenset(NEEDLE.search(document)[1] for document in Passkey().examples(length, seed).documents.values())
        for length, seed in ((256, 0), (1024, 0), (8192, 0), (256, 5))
    }
    (names,) = found
    assert len(names) == 100
    assert all(8 <= len(name) <= 20 for name in names)
    assert len({word for name in names for word in name.split()}) == 200


def test_lengths_of_one_seed_ask_the_same_questions_about_other_places():
    short, long, other = (Needle().examples(length, seed) for length, seed in ((512, 1), (1024, 1), (512, 2)))
    assert short.queries == long.queries != other.queries
    assert sum(abs(short.depth[query] - long.depth[query]) > 0.1 for query in short.queries) > 25


@pytest.mark.parametrize("length", [256, 1024, 32768, 65536])
def test_needle_stands_on_a_line_of_its_own_in_the_haystack(length):
    made = Needle().examples(length, seed=0)
    rests = set()
    for key, document in made.documents.items():
        lines = document.split("\n")
        (fact,) = [line for line in lines if line in FACTS]
        at = lines.index(fact)
        assert at == 0 or re.search(r"[.!?][\"')]*$", lines[at - 1])
        rests.add(" ".join(" ".join(lines[:at] + lines[at + 1 :]).split()))
        if f"q{key[1:]}" in made.queries:
            assert made.queries[f"q{key[1:]}"] == FACTS[fact]
    assert len(rests) == 1
    assert len(rests.pop().split()) == length * 3 // 4 - 25


@pytest.mark.parametrize(("benchmark", "length"), [(Passkey, 256), (Passkey, 4096), (Needle, 512), (Needle, 8192)])
@pytest.mark.parametrize("depths", [5, 10])
def test_depths_fill_equal_cells_and_are_where_they_say(benchmark, length, depths):
    made = benchmark(depths=depths).examples(length, seed=4)
    assert Counter(made.depth.values()) == {(i + 0.5) / depths: 50 // depths for i in range(depths)}
    for query, depth in made.depth.items():
        lines = made.documents[made.relevant[query][0]].split("\n")
        (needle,) = [i for i, line in enumerate(lines) if NEEDLE.match(line) or line in FACTS]
        before = " ".join(lines[:needle]).split()
        assert abs(len(before) / (length * 3 // 4 - 25) - depth) < 0.5 / depths


@pytest.mark.parametrize(("benchmark", "length"), EVERY, ids=lambda value: type(value).__name__)
def test_gold_scores_one_and_empty_scores_zero(benchmark, length):
    made = benchmark.examples(length, seed=0)
    card = registry.benchmarks()[type(benchmark).__name__.lower()]
    for query in made.queries:
        gold = made.relevant[query]
        assert set(gold) <= made.documents.keys()
        assert benchmark.score(gold, gold) == dict.fromkeys(card.metrics, 1.0)
        assert benchmark.score(gold, []) == dict.fromkeys(card.metrics, 0.0)
    for ids in (made.documents, made.queries, made.relevant):
        assert list(ids) == sorted(ids)
    assert made.relevant.keys() == made.queries.keys() == made.depth.keys()
    assert all(0 <= depth <= 1 for depth in made.depth.values())


@pytest.mark.parametrize(("benchmark", "length"), EVERY, ids=lambda value: type(value).__name__)
def test_the_specification_parses_back(benchmark, length):
    assert spec.parse(repr(benchmark), BenchmarkCard) == (benchmark,)
    assert spec.parse(spec.short([benchmark]), BenchmarkCard) == (benchmark,)


def test_a_small_set_needs_no_second_number():
    (small,) = spec.parse("passkey(documents=24)", BenchmarkCard)
    assert (len(small.examples(256, 0).documents), len(small.examples(256, 0).queries)) == (24, 24)


def test_ranking_scores_equal_those_of_sentence_transformers():
    from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator

    rng = random.Random(0)
    ids = [f"d{i}" for i in range(15)]
    gold = {f"q{i}": rng.choice(ids) for i in range(200)}
    rankings = {query: rng.sample(ids, k=rng.randint(0, 15)) for query in gold}
    judge = InformationRetrievalEvaluator(
        queries=dict.fromkeys(gold, ""),
        corpus=dict.fromkeys(ids, ""),
        relevant_docs={query: {document} for query, document in gold.items()},
        accuracy_at_k=[1],
        ndcg_at_k=[10],
        mrr_at_k=[1],
        precision_recall_at_k=[1],
        map_at_k=[1],
    )
    ranked = [
        [{"corpus_id": document, "score": -i} for i, document in enumerate(rankings[query])]
        for query in judge.queries_ids
    ]
    expected = judge.compute_metrics(ranked)
    ours = [score_ranking((gold[query],), ranking) for query, ranking in rankings.items()]
    assert 0 < expected["accuracy@k"][1] < expected["ndcg@k"][10] < 1
    assert sum(score["ndcg_at_10"] for score in ours) / 200 == pytest.approx(expected["ndcg@k"][10], abs=1e-12)
    assert sum(score["acc_at_1"] for score in ours) / 200 == pytest.approx(expected["accuracy@k"][1], abs=1e-12)


def test_the_tenth_place_counts_and_the_eleventh_does_not():
    ids = [f"d{i}" for i in range(12)]
    assert score_ranking(("d9",), ids)["ndcg_at_10"] == pytest.approx(0.2890648)
    assert score_ranking(("d10",), ids) == {"ndcg_at_10": 0.0, "acc_at_1": 0.0}


# Bytes that must not change, whatever the platform, the Python version or the hash seed.
PINNED = {
    "passkey 1024": (Passkey(), 1024, "cc3a8eb3dc8c4169b7823cad82f606325106ac88c5f91f19c9e9cdbb2cd1fbdb"),
    "needle 1024": (Needle(depths=5), 1024, "69bf1aec6839af4659f9bf00c89a8646a812345b4b1f04e78117d08a8080ac38"),
    "fairytaleqa": (
        FairytaleQA(documents=12),
        None,
        "47e118e81890ff326ed15226a084313cc6798da03d1216fd962e0fc172d974ac",
    ),
}


@pytest.mark.parametrize("name", PINNED)
def test_the_same_seed_gives_the_same_bytes_everywhere(name):
    benchmark, length, expected = PINNED[name]
    assert digest(benchmark, length, seed=7) == expected
    assert digest(benchmark, length, seed=8) != expected


def test_processes_with_other_hash_seeds_agree():
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from test_benchmarks import PINNED, digest\n"
        "print([digest(b, n, 7) for b, n, _ in PINNED.values()])"
    )
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", program, str(Path(__file__).parent)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == str([expected for _, _, expected in PINNED.values()])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Passkey().examples(34, 0), ["34", "hint: a length of 35 or more"]),
        (lambda: Passkey().examples(None, 0), ["None"]),
        (lambda: Needle().examples(34, 0), ["34", "a length of 35 to 65627"]),
        (lambda: Needle().examples(10**6, 0), ["1000000", "to 65627"]),
        (lambda: Needle(depths=10).examples(256, 0), ["256", "depth"]),
        (lambda: Passkey(documents=0), ["10000", "0"]),
        (lambda: Needle(documents=101), ["100", "101"]),
        (lambda: Passkey(queries=0), ["0"]),
        (lambda: Passkey(depths=-1), ["-1"]),
        (lambda: Passkey(depths=51), ["50", "51"]),
        (lambda: Passkey(depths=7), ["50", "7", "queries=49"]),
        (lambda: FairytaleQA(documents=-1), ["-1"]),
        (lambda: FairytaleQA(documents=61).examples(None, 0), ["60", "61"]),
        (lambda: FairytaleQA().examples(4096, 0), ["4096", "length=None"]),
    ],
)
def test_what_cannot_be_built_is_said_with_numbers_and_a_hint(make, words):
    with pytest.raises(BenchmarkError) as caught:
        make()
    assert caught.value.hint
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize(("benchmark", "length"), [(Passkey(), 35), (Needle(), 35), (Needle(), 65627)])
def test_the_lengths_in_the_hint_work(benchmark, length):
    assert benchmark.examples(length, 0).length == length


def test_the_shipped_tales_are_spread_over_lengths_and_depths():
    made = FairytaleQA().examples(None, seed=0)
    assert (len(made.documents), len(made.queries)) == (60, 240)
    assert max(Counter(made.relevant.values()).values()) == 4
    words = sorted(len(text.split()) for text in made.documents.values())
    assert words[0] < 1000 < 2500 < words[-1]
    assert all(count >= 40 for count in Counter(int(4 * depth) for depth in made.depth.values()).values())
    assert len(set(made.queries.values())) == 240


def test_a_subset_of_the_tales_has_one_of_each_length():
    whole, part = FairytaleQA().examples(None, 0), FairytaleQA(documents=6).examples(None, 3)
    ordered = sorted(whole.documents, key=lambda key: len(whole.documents[key]))
    assert sorted(ordered.index(key) // 10 for key in part.documents) == list(range(6))
    assert {query: whole.queries[query] for query in part.queries} == part.queries
    assert {one for (one,) in part.relevant.values()} == set(part.documents)


def test_the_shipped_data_is_small_and_accounted_for():
    files = [path for path in DATA.iterdir() if path.name != "PROVENANCE.md"]
    assert sum(path.stat().st_size for path in DATA.iterdir()) < 700_000
    assert all(f"`{path.name}`" in (DATA / "PROVENANCE.md").read_text() for path in files)


GOOD = {
    "corpus.jsonl": [{"id": "b", "text": "two"}, {"id": "a", "text": "one"}],
    "queries.jsonl": [{"id": "q2", "text": "?"}, {"id": "q1", "text": "!"}, {"id": "q3", "text": "unjudged"}],
    "qrels.jsonl": [
        {"query-id": "q2", "corpus-id": "a", "score": 1},
        {"query-id": "q2", "corpus-id": "b", "score": 0},
        {"query-id": "q1", "corpus-id": "b", "score": 1.0},
    ],
}


def write_folder(folder, files):
    for name, rows in files.items():
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_a_folder_is_read_sorted_and_without_unjudged_queries(tmp_path):
    made = from_folder("own", write_folder(tmp_path, GOOD))
    assert list(made.documents.items()) == [("a", "one"), ("b", "two")]
    assert list(made.queries) == ["q1", "q2"]
    assert made.relevant == {"q1": ("b",), "q2": ("a",)}
    assert FairytaleQA(folder=str(tmp_path)).examples(None, 0).documents == made.documents


@pytest.mark.parametrize(
    ("file", "line", "row"),
    [
        ("corpus.jsonl", 2, '{"id": "a"}'),
        ("corpus.jsonl", 2, '{"id": "a", "text": 5}'),
        ("corpus.jsonl", 2, '{"id": "b", "text": "again"}'),
        ("queries.jsonl", 3, '{"text": "x"}'),
        ("queries.jsonl", 1, "[1]"),
        ("queries.jsonl", 1, "{"),
        ("qrels.jsonl", 1, '{"query-id": "q9", "corpus-id": "a", "score": 1}'),
        ("qrels.jsonl", 1, '{"query-id": "q1", "corpus-id": "z", "score": 1}'),
        ("qrels.jsonl", 1, '{"query-id": "q1", "corpus-id": "a", "score": "1"}'),
    ],
)
def test_a_damaged_folder_is_refused_with_file_and_line(tmp_path, file, line, row):
    path = write_folder(tmp_path, GOOD) / file
    lines = path.read_text().splitlines()
    lines[line - 1] = row
    path.write_text("\n".join(lines))
    with pytest.raises(BenchmarkError, match=rf"{file}, line {line}:"):
        from_folder("own", tmp_path)


@pytest.mark.parametrize("file", GOOD)
def test_a_missing_file_is_named(tmp_path, file):
    (write_folder(tmp_path, GOOD) / file).unlink()
    with pytest.raises(BenchmarkError, match=file):
        from_folder("own", tmp_path)


scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.sampled_from(["a", "b", "q1", ""]))
rows = st.dictionaries(st.sampled_from(["id", "text", "query-id", "corpus-id", "score"]), scalars)
lines = st.one_of(st.binary(max_size=40), st.builds(lambda value: json.dumps(value).encode(), st.one_of(rows, scalars)))


@settings(max_examples=150, deadline=None)
@given(st.tuples(*[st.lists(lines, max_size=4).map(b"\n".join)] * 3))
def test_any_bytes_make_a_set_or_a_typed_error(contents):
    with tempfile.TemporaryDirectory() as folder:
        for name, content in zip(GOOD, contents, strict=True):
            (Path(folder) / name).write_bytes(content)
        with suppress(BenchmarkError):
            made = from_folder("own", folder)
            assert made.relevant
            assert {one for found in made.relevant.values() for one in found} <= made.documents.keys()
