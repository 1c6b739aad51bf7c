"""The guards, benchmarks whose answer is vectors: probe, sts, collapse; and the picture of vectors."""

import json
import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from scipy.stats import spearmanr
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score

from longspan import Encoder, extended
from longspan.benchmarks.retrieval.fairytaleqa import FairytaleQA
from longspan.benchmarks.tasks import Labelled
from longspan.benchmarks.vectors import collapse, probe, sts
from longspan.benchmarks.vectors.collapse import Collapse
from longspan.benchmarks.vectors.probe import Probe
from longspan.benchmarks.vectors.sts import STS
from longspan.errors import BenchmarkError
from longspan.evaluation.projection import _turn, projection


def planted(texts=200, dimension=24, shift=6.0, classes=2, seed=0):
    """A set and vectors in which a class is a shift along an axis of its own."""
    rng = np.random.default_rng(seed)
    labels = [f"class {i % classes}" for i in range(texts)]
    rows = rng.normal(size=(texts, dimension))
    for i in range(texts):
        rows[i, i % classes] += shift
    keys = [f"t{i:04d}" for i in range(texts)]
    return Labelled("probe", None, dict.fromkeys(keys, "x"), dict(zip(keys, labels, strict=True))), rows


def accuracy(benchmark, example, rows):
    hits = benchmark.score(example, rows)["accuracy"]
    assert len(hits) == len(example.texts)
    assert set(hits) <= {0.0, 1.0}
    return sum(hits) / len(hits)


def few(example, count):
    """The first texts of a set, with what belongs to them."""
    keys = list(example.texts)[:count]
    return replace(
        example,
        texts={key: example.texts[key] for key in keys},
        labels={key: example.labels[key] for key in keys if key in example.labels},
    )


def bag_of_words(example):
    labels = list(example.labels.values())
    counts = CountVectorizer(token_pattern=r"\S+").fit_transform(example.texts.values())
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    return cross_val_score(LogisticRegression(max_iter=2000), counts, labels, cv=folds).mean()


@pytest.mark.parametrize("classes", [2, 4])
def test_probe_recovers_planted_labels(classes):
    assert accuracy(Probe(), *planted(classes=classes)) > 0.97


@pytest.mark.parametrize("scale", [2.0**-10, 2.0**10])
def test_probe_does_not_depend_on_the_scale_of_the_vectors(scale):
    example, rows = planted(shift=1.0)
    assert Probe().score(example, scale * rows) == Probe().score(example, rows)


def test_probe_is_at_chance_on_shuffled_labels_and_on_zeros():
    example, rows = planted(texts=600)
    order = np.random.default_rng(1).permutation(600)
    assert 0.4 < accuracy(Probe(), example, rows[order]) < 0.6
    assert accuracy(Probe(), example, np.zeros_like(rows)) == 0.5


def test_probe_keeps_what_the_first_singular_vectors_hold_and_loses_the_rest():
    example, rows = planted(shift=6.0)
    rows[:, 2:8] *= 100  # six louder directions without a class
    assert accuracy(Probe(), example, rows) > 0.97
    assert accuracy(Probe(components=5), example, rows) < 0.65
    assert accuracy(Probe(components=8), example, rows) > 0.97


@pytest.mark.parametrize("components", [24, 300])
def test_probe_refuses_to_compress_to_more_than_there_is(components):
    example, rows = planted()
    with pytest.raises(BenchmarkError, match="compress nothing: 24 dimensions, 200 texts") as error:
        Probe(components=components).score(example, rows)
    assert error.value.hint == "components=1 to 23, or 0 for no compression"
    Probe(components=23).score(example, rows)


def test_gold_vectors_of_the_probe_are_its_classes():
    example = Probe().examples(None, 0)
    assert accuracy(Probe(), example, [[label == "shuffled", 1] for label in example.labels.values()]) == 1


@pytest.mark.parametrize("seed", [0, 1])
def test_the_shipped_probe_is_balanced_and_its_label_is_the_order_alone(seed):
    example = Probe().examples(None, seed)
    assert Counter(example.labels.values()) == {"in order": 400, "shuffled": 400}
    assert list(example.texts) == sorted(example.texts) == list(example.labels)
    bags = Counter(" ".join(sorted(text.split())) for text in example.texts.values())
    assert set(bags.values()) == {1}  # no sentence is there both ways
    tales = {
        " ".join("".join(c if c.isalpha() or c == "'" else " " for c in tale.lower()).replace(" '", " ").split())
        for tale in FairytaleQA().examples(None, 0).documents.values()
    }
    plain = " ".join(tales).replace("' ", " ")
    for label, bound in (("in order", 380), ("shuffled", 0)):
        found = sum(text in plain for key, text in example.texts.items() if example.labels[key] == label)
        assert (found >= bound) if bound else (found == 0), (label, found)
    assert all(8 <= len(text.split()) <= 20 and text == text.lower() for text in example.texts.values())


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_bag_of_words_does_not_solve_the_shipped_probe(seed):
    assert 0.42 < bag_of_words(Probe().examples(None, seed)) < 0.58


def test_a_bag_of_words_solves_a_topical_probe():
    words = {"sea": "boat wave salt", "farm": "cow barn hay"}
    texts = {f"t{i:02d}": words["sea" if i % 2 else "farm"].split()[i % 3] + f" seen {i}" for i in range(60)}
    topical = Labelled("probe", None, texts, {key: "sea" if int(key[1:]) % 2 else "farm" for key in texts})
    assert bag_of_words(topical) > 0.95


def test_spearman_is_scipys_with_ties():
    rng = np.random.default_rng(0)
    for grades in (rng.integers(0, 6, 40).astype(float), rng.normal(size=40)):
        rows = rng.integers(-2, 3, size=(80, 3)).astype(float)  # small numbers: many equal cosines
        keys = [f"p{i:05d}{side}" for i in range(40) for side in "ab"]
        pairs = tuple((keys[2 * i], keys[2 * i + 1], float(grade)) for i, grade in enumerate(grades))
        example = Labelled("sts", None, dict.fromkeys(keys, "x"), pairs=pairs)
        norms = [math.hypot(*row) or 1 for row in rows]
        cosines = [rows[2 * i] @ rows[2 * i + 1] / norms[2 * i] / norms[2 * i + 1] for i in range(40)]
        expected = spearmanr(np.round(cosines, 12), grades).statistic
        assert len(set(np.round(cosines, 12))) < 40
        assert STS().score(example, rows)["spearman"] == pytest.approx([expected], abs=1e-12)


def graded(*grades):
    keys = [f"p{i}{side}" for i in range(len(grades)) for side in "ab"]
    pairs = tuple((f"p{i}a", f"p{i}b", float(grade)) for i, grade in enumerate(grades))
    return Labelled("sts", None, dict.fromkeys(keys, "x"), pairs=pairs)


def angles(*degrees):
    """Vectors in which pair i stands at an angle."""
    rows = [[(1.0, 0.0), (math.cos(math.radians(d)), math.sin(math.radians(d)))] for d in degrees]
    return np.array(rows).reshape(-1, 2)


@pytest.mark.parametrize(
    ("grades", "degrees", "expected"),
    [
        ((1, 2, 3), (90, 45, 0), 1.0),
        ((1, 2, 3), (0, 45, 90), -1.0),
        ((1, 2, 2, 3), (90, 45, 20, 0), 4.5 / math.sqrt(5 * 4.5)),  # ranks 1 2 3 4 with 1 2.5 2.5 4
        ((1, 2, 3), (30, 30, 30), 0.0),
    ],
)
def test_spearman_by_hand(grades, degrees, expected):
    assert STS().score(graded(*grades), angles(*degrees))["spearman"] == pytest.approx([expected])


def test_sts_gold_is_one_and_empty_is_nought():
    example = STS().examples(None, 0)
    gold = angles(*(90 - 18 * grade for _, _, grade in example.pairs))
    assert STS().score(example, gold)["spearman"] == pytest.approx([1])
    assert STS().score(example, np.zeros_like(gold)) == {"spearman": [0.0]}


def test_the_shipped_pairs_are_graded_evenly_and_no_sentence_occurs_twice():
    example = STS().examples(None, 0)
    assert Counter(grade for _, _, grade in example.pairs) == dict.fromkeys(map(float, range(6)), 10)
    assert len(set(example.texts.values())) == len(example.texts) == 120
    assert list(example.texts) == sorted(example.texts)


def test_collapse_is_the_mean_over_pairs_in_float64():
    rows = np.random.default_rng(0).normal(loc=0.3, size=(17, 8)).astype(np.float32)
    example = Labelled("collapse", 64, {f"t{i:02d}": "x" for i in range(17)})
    expected = []
    for i in range(17):
        a, total = [float(v) for v in rows[i]], 0.0
        for j in range(17):
            b = [float(v) for v in rows[j]]
            if i != j:
                total += sum(x * y for x, y in zip(a, b, strict=True)) / math.hypot(*a) / math.hypot(*b)
        expected.append(total / 16)
    assert Collapse().score(example, rows)["mean_cosine"] == pytest.approx(expected, abs=1e-12)


def test_collapse_is_one_where_all_texts_are_one_and_less_than_nought_where_they_part():
    example = Labelled("collapse", 64, {"a": "x", "b": "y"})
    assert Collapse().score(example, [[1, 2], [2, 4]])["mean_cosine"] == pytest.approx([1, 1])
    assert Collapse().score(example, [[1, 2], [-1, -2]])["mean_cosine"] == pytest.approx([-1, -1])
    with pytest.raises(BenchmarkError, match="1 of 2 vectors are zero"):
        Collapse().score(example, [[1, 2], [0, 0]])


def test_collapse_reads_the_same_texts_at_each_length_the_longest_there_are():
    short, long = (Collapse(texts=12).examples(length, 0) for length in (64, 2048))
    assert short.texts == long.texts
    assert (short.length, long.length) == (64, 2048)
    lengths = sorted(map(len, FairytaleQA().examples(None, 0).documents.values()))
    assert sorted(map(len, short.texts.values())) == lengths[-12:]


@pytest.mark.parametrize("length", [None, 0, -3, 5001])
def test_collapse_says_which_lengths_there_are(length):
    with pytest.raises(BenchmarkError, match=f"no 30 texts of length {length}: the shortest has 5000") as error:
        Collapse().examples(length, 0, count=lambda text: 5000 if text.startswith("Once") else 6000)
    assert error.value.hint.startswith("a length of 1 to 5000, ")


def test_collapse_says_how_many_texts_there_are():
    with pytest.raises(BenchmarkError, match="has 60 texts here, not 61") as error:
        Collapse(texts=61).examples(64, 0)
    assert error.value.hint == "texts=60"


@pytest.mark.parametrize("benchmark", [Probe(), STS(), Collapse(texts=2)])
@pytest.mark.parametrize(
    ("damage", "match"),
    [
        (lambda rows: rows[:-1], "texts, the vectors have the shape"),
        (lambda rows: rows[:, :0], "the vectors have the shape"),
        (lambda rows: rows[0], "the vectors have the shape"),
        (lambda rows: np.where(np.arange(len(rows))[:, None] == 1, np.nan, rows), "^1 of .* vectors are not finite"),
    ],
)
def test_vectors_that_do_not_belong_to_the_texts_are_refused(benchmark, damage, match):
    example = benchmark.examples(64 if isinstance(benchmark, Collapse) else None, 0)
    rows = np.random.default_rng(0).normal(size=(len(example.texts), 4))
    benchmark.score(example, rows)
    with pytest.raises(BenchmarkError, match=match):
        benchmark.score(example, damage(rows))


@pytest.mark.parametrize(
    ("module", "make", "file", "length"),
    [
        (probe, Probe, "texts.jsonl", None),
        (sts, STS, "pairs.jsonl", None),
        (collapse, Collapse, "corpus.jsonl", 4096),
    ],
)
def test_a_twin_is_read_back_and_its_damage_is_named(module, make, file, length, tmp_path):
    folder = tmp_path / "deep" / "twin"
    module.twin(folder)
    benchmark = make(folder=str(folder))
    assert benchmark.examples(length, 0) == benchmark.examples(length, 1)
    lines = (folder / file).read_text().splitlines()
    third = json.loads(lines[2])
    column = "first" if make is STS else "text"
    damaged = {
        "not JSON": lines[2][:-1],
        "not a JSON object": "[1]",
        f"{column} is missing": json.dumps({k: v for k, v in third.items() if k != column}),
        f"{column} is not a text": json.dumps(third | {column: 3}),
    }
    if make is STS:
        damaged |= {"score is not a number": json.dumps(third | {"score": "5"})}
    else:
        damaged |= {"occurs twice": lines[1]}
    for fact, line in damaged.items():
        (folder / file).write_text("\n".join([*lines[:2], line, *lines[3:]]))
        with pytest.raises(BenchmarkError, match=f"{file}, line 3: .*{fact}"):
            benchmark.examples(length, 0)
    (folder / file).write_text("\n")
    with pytest.raises(BenchmarkError, match=r"is empty|0 pairs"):
        benchmark.examples(length, 0)
    (folder / file).unlink()
    with pytest.raises(BenchmarkError, match="cannot be read"):
        benchmark.examples(length, 0)


@pytest.mark.parametrize(
    ("score", "told"),
    [
        (True, "score is not a number"),
        (None, "score is not a number"),
        (float("nan"), "not JSON"),
        (float("inf"), "not JSON"),
    ],
)
def test_a_grade_must_be_a_number(score, told, tmp_path):
    row = {"first": "a", "second": "b", "score": score}
    (tmp_path / "pairs.jsonl").write_text(json.dumps(row | {"score": 1}) + "\n" + json.dumps(row))
    with pytest.raises(BenchmarkError, match=f"line 2: {told}"):
        STS(folder=str(tmp_path)).examples(None, 0)


def test_pairs_of_one_grade_and_texts_of_one_class_are_refused(tmp_path):
    (tmp_path / "pairs.jsonl").write_text('{"first": "a", "second": "b", "score": 1}\n' * 3)
    with pytest.raises(BenchmarkError, match="3 pairs of a single grade"):
        STS(folder=str(tmp_path)).examples(None, 0)
    (tmp_path / "texts.jsonl").write_text('{"id": "1", "text": "a", "label": "x"}\n')
    with pytest.raises(BenchmarkError, match="every text is 'x'"):
        Probe(folder=str(tmp_path)).examples(None, 0)
    rows = [{"id": f"{i}", "text": "a", "label": "xy"[i > 5]} for i in range(10)]
    (tmp_path / "texts.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(BenchmarkError, match="class 'y' has 4 texts, too few for 5 folds"):
        Probe(folder=str(tmp_path)).examples(None, 0)
    assert len(Probe(folder=str(tmp_path), folds=4).examples(None, 0).texts) == 10


@pytest.mark.parametrize("wrong", [{"components": -1}, {"folds": 1}, {"folds": 0}])
def test_numbers_that_make_no_sense_are_refused(wrong):
    with pytest.raises(BenchmarkError):
        Probe(**wrong)
    with pytest.raises(BenchmarkError, match="texts=1"):
        Collapse(texts=1)


@pytest.mark.parametrize("benchmark", [Probe(), STS()])
def test_short_texts_take_no_length(benchmark):
    with pytest.raises(BenchmarkError, match="not ones of 512 tokens") as error:
        benchmark.examples(512, 0)
    assert error.value.hint == "length=None"


def coloured(path):
    """Share of the pixels of the two first classes' colours, left and right half."""
    with Image.open(path) as image:
        assert image.format == "PNG"
        pixels = np.asarray(image.convert("RGB")).astype(int)
    half = pixels.shape[1] // 2
    near = [np.abs(pixels - np.array(c)).sum(axis=2) < 120 for c in ((0x2F, 0x8F, 0xD0), (0xE0, 0x70, 0x1A))]
    return pixels.shape, [[float(mask[:, side].mean()) for side in (slice(half), slice(half, None))] for mask in near]


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_a_projection_is_a_png_with_a_panel_for_each_reading(method, tmp_path):
    example, rows = planted(texts=40, dimension=6)
    labels = list(example.labels.values())
    path = projection({"before": rows, "after $": rows + 1}, labels, tmp_path / "new" / "p.png", method, seed=3)
    shape, shares = coloured(path)
    assert shape[1] > 1.8 * shape[0]
    assert all(share > 1e-3 for both in shares for share in both)
    again = projection({"before": rows, "after $": rows + 1}, labels, tmp_path / "q.png", method, seed=3)
    assert again.read_bytes() == path.read_bytes()
    assert [found.name for found in (tmp_path / "new").iterdir()] == ["p.png"]


def test_a_rotated_copy_is_turned_back_onto_the_first():
    points = np.random.default_rng(0).normal(size=(30, 2)) * (3, 1)
    angle = math.radians(130)
    rotated = points @ np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]) * (1, -1)
    assert rotated @ _turn(rotated, points) == pytest.approx(points)


@pytest.mark.parametrize(
    ("vectors", "labels", "match"),
    [
        ({}, ["a"], "no vectors"),
        ({"x": np.ones((4, 3))}, ["a"] * 5, "There are 5 labels, the vectors 'x' have the shape"),
        ({"x": np.ones((3, 3))}, ["a"] * 3, "3 vectors of dimension 3 make no picture"),
        ({"x": np.full((5, 3), np.nan)}, ["a"] * 5, "not all finite"),
    ],
)
def test_what_makes_no_picture_is_refused(vectors, labels, match, tmp_path):
    with pytest.raises(BenchmarkError, match=match):
        projection(vectors, labels, tmp_path / "p.png")
    with pytest.raises(BenchmarkError, match="no projection 'umap'"):
        projection({"x": np.ones((5, 3))}, ["a"] * 5, tmp_path / "p.png", "umap")
    assert not list(tmp_path.iterdir())


def read(model, example, window=512):
    encoder = Encoder(model, f"truncate(window={example.length or window})", on_overflow="truncate")
    return encoder.encode(list(example.texts.values())).vectors


def test_the_real_model_knows_the_order_of_words_until_its_positions_are_gone(minilm, tmp_path):
    example = few(Probe().examples(None, 0), 400)
    before = read(minilm, example)
    table = minilm[0].auto_model.embeddings.position_embeddings.weight
    kept = table.data.clone()
    try:
        table.data[:] = kept[:64].mean(0)  # every place looks alike: what is left is a bag of words
        after = read(minilm, example)
    finally:
        table.data = kept
    assert 0.68 < accuracy(Probe(), example, before) < 0.95
    assert accuracy(Probe(), example, after) < 0.6
    labels = list(example.labels.values())
    assert projection({"before": before, "after": after}, labels, tmp_path / "p.png").stat().st_size > 10_000


def test_the_real_model_ranks_the_shipped_pairs_as_people_do(minilm):
    example = STS().examples(None, 0)
    (value,) = STS().score(example, read(minilm, example))["spearman"]
    assert 0.8 < value < 0.98


def test_the_real_model_extended_by_tile_reads_as_before_and_its_vectors_crowd_at_length(minilm):
    made = [Collapse(texts=6).examples(length, 0) for length in (64, 1024)]
    alone = read(minilm, made[0])
    with extended(minilm, 1024, "tile") as longer:
        short, long = (read(longer, example) for example in made)
    assert np.array_equal(alone, short)
    values = [Collapse().score(e, v)["mean_cosine"] for e, v in zip(made, (short, long), strict=True)]
    assert all(len(value) == 6 for value in values)
    assert np.mean(values[1]) > np.mean(values[0]) + 0.05
