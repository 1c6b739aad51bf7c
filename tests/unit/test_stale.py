"""Results of an earlier model are never taken for another one's, whatever was changed and wherever they are kept."""

from __future__ import annotations

import json
import shutil
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from longspan import BenchmarkError, Encoder, encode, evaluate
from longspan.benchmarks.tasks import Retrieval
from longspan.cli import app
from longspan.evaluation.cache import VectorCache
from longspan.evaluation.score import Score, read
from longspan.evaluation.search import Dense
from longspan.storage.load import load
from tests.pipelines import WORDS, pipeline

TEXTS = [" ".join(np.random.default_rng(seed).choice(WORDS, 20)) for seed in range(12)]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stale")
    pipeline(folder / "parts", architecture="nomic_bert").save(str(folder / "model"))
    rows: dict[str, list[dict]] = {"corpus": [], "queries": [], "qrels": []}
    for place, text in enumerate(TEXTS):
        rows["corpus"].append({"id": f"d{place}", "text": text})
        rows["queries"].append({"id": f"q{place}", "text": " ".join(text.split()[:5])})
        rows["qrels"].append({"query-id": f"q{place}", "corpus-id": f"d{place}", "score": 1})
    (folder / "set").mkdir()
    for name, lines in rows.items():
        (folder / "set" / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def edited(file: str, **values: Any) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        settings = json.loads((folder / file).read_text())
        assert settings.keys() >= values.keys()
        (folder / file).write_text(json.dumps(settings | values))

    return edit


def retrained(folder: Path) -> None:
    model = load(folder, device="cpu")
    torch.nn.init.normal_(model[0].auto_model.get_input_embeddings().weight, std=0.3)
    shutil.rmtree(folder)
    model.save(str(folder))


EDITS = {
    "weights": retrained,
    "rotation": edited("config.json", rope_parameters={"rope_type": "default", "rope_theta": 100.0}),
    "heads": edited("config.json", num_attention_heads=2, head_dim=16),
    "activation": edited("config.json", hidden_act="relu"),
    "pooling": edited("1_Pooling/config.json", pooling_mode="max"),
    "prompts": edited("config_sentence_transformers.json", prompts={"query": "ba ", "document": ""}),
    "limit": edited("tokenizer_config.json", model_max_length=8),
}


@pytest.fixture(params=EDITS)
def pair(request: Any, made: Path, tmp_path: Path) -> tuple[Path, Callable[[], None]]:
    """A folder, and what makes another model of it in place."""
    folder = Path(shutil.copytree(made / "model", tmp_path / "model"))
    return folder, lambda: EDITS[request.param](folder)


def measured(made: Path, folder: Path, **options: Any) -> list[Score]:
    model = load(folder, device="cpu")
    given = {"strategies": ["truncate"], "bm25": False, **options}
    return list(evaluate(model, f"folder(path={str(made / 'set')!r})", (), **given))


def test_scores_and_vectors_of_another_model_in_the_same_folder(made: Path, pair: Any, tmp_path: Path) -> None:
    folder, edit = pair
    cache = tmp_path / "vectors.sqlite"
    first = measured(made, folder, cache=cache)
    assert measured(made, folder, cache=cache, known=first) == []
    edit()
    second = measured(made, folder, cache=cache, known=first)
    assert [one.metric for one in second] == [one.metric for one in first]
    assert [one.value for one in second] == [one.value for one in measured(made, folder)]
    texts = encode(load(folder, device="cpu"), TEXTS, on_overflow="truncate").vectors
    found, _ = VectorCache(cache).encode(Encoder(load(folder, device="cpu"), on_overflow="truncate"), TEXTS)
    np.testing.assert_array_equal(found.vectors, texts)


def test_a_model_elsewhere_by_another_name_uses_the_same_vectors(made: Path, tmp_path: Path, monkeypatch: Any) -> None:
    cache = VectorCache(tmp_path / "vectors.sqlite")
    before, _ = cache.encode(Encoder(load(made / "model", device="cpu")), TEXTS)
    moved = shutil.copytree(made / "model", tmp_path / "elsewhere")
    monkeypatch.setattr(Encoder, "encode", None)
    after, _ = cache.encode(Encoder(load(moved, device="cpu")), TEXTS)
    np.testing.assert_array_equal(before.vectors, after.vectors)


CHANGES: dict[str, Callable[[Any], Any]] = {
    "weights": lambda model: torch.nn.init.normal_(model[0].auto_model.layers[0].mlp.down_proj.weight),
    "replaced weights": lambda model: model.load_state_dict({k: 1.5 * v for k, v in model.state_dict().items()}),
    "pooling": lambda model: setattr(model[1], "pooling_mode", "max"),
    "a module less": lambda model: model.pop(2),
    "the default prompt": lambda model: vars(model).update(prompts={"query": "ba "}, default_prompt_name="query"),
    "an activation": lambda model: setattr(model[0].auto_model.layers[0].mlp, "act_fn", torch.nn.ReLU()),
    "data": lambda model: model[0].auto_model.layers[0].mlp.down_proj.weight.data.mul_(-3),
    "a function": lambda model: setattr(model[0].auto_model.layers[0].mlp, "forward", torch.sin),
}


@pytest.mark.parametrize("change", CHANGES)
def test_an_encoder_and_a_cache_follow_a_model_that_is_changed_in_place(made: Path, change: str) -> None:
    model, cache = load(made / "model", device="cpu"), VectorCache()
    encoder = Encoder(model)
    before = encoder.encode(TEXTS).vectors
    cache.encode(encoder, TEXTS)
    CHANGES[change](model)
    wanted = encode(model, TEXTS).vectors
    assert np.abs(wanted - before).max() > 1e-3
    np.testing.assert_array_equal(encoder.encode(TEXTS).vectors, wanted)
    np.testing.assert_array_equal(cache.encode(encoder, TEXTS)[0].vectors, wanted)


def test_vectors_of_a_model_that_is_changed_while_it_encodes_are_refused(made: Path, monkeypatch: Any) -> None:
    model, cache = load(made / "model", device="cpu"), VectorCache()
    encoder, real = Encoder(model), Encoder.encode

    def trained(self: Any, *given: Any, **options: Any) -> Any:
        found = real(self, *given, **options)
        CHANGES["data"](model)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(Encoder, "encode", trained)
        with pytest.raises(BenchmarkError, match="changed while it encoded"):
            cache.encode(encoder, TEXTS)
    np.testing.assert_array_equal(cache.encode(encoder, TEXTS)[0].vectors, encode(model, TEXTS).vectors)


def test_nothing_is_made_anew_while_nothing_changes(made: Path, monkeypatch: Any) -> None:
    encoder = Encoder(load(made / "model", device="cpu"))
    encoder.encode(TEXTS)
    engine = encoder._engine
    encoder.model.encode(TEXTS, prompt="ba ")
    encoder.encode(TEXTS)
    assert encoder._engine is engine


def test_a_model_that_is_trained_between_two_measurements(made: Path, tmp_path: Path) -> None:
    model = load(made / "model", device="cpu")
    shutil.copytree(made / "set", tmp_path / "again")
    sets = " + ".join(f"folder(path={str(folder)!r})" for folder in (made / "set", tmp_path / "again"))
    scores = evaluate(model, sets, (), strategies=["truncate"], bm25=False)
    found = [next(scores), next(scores)]
    CHANGES["weights"](model)
    found += list(scores)
    assert found[0].identity == found[1].identity != found[2].identity == found[3].identity
    assert found[2].value == next(evaluate(model, sets, (), strategies=["truncate"], bm25=False)).value


def test_scores_of_nobody_knows_what_are_not_gone_on_from(made: Path) -> None:
    old = [replace(one, identity="") for one in measured(made, made / "model")]
    assert len(measured(made, made / "model", known=old)) == len(old)


def test_another_assumed_window_is_another_measurement(made: Path) -> None:
    ours = {"methods": ["yarn"], "to": 256, "strategies": ()}
    first = measured(made, made / "model", window=64, **ours)
    assert measured(made, made / "model", known=first, **ours) == []
    assert len(measured(made, made / "model", window=32, known=first, **ours)) == len(first)


def test_any_part_of_a_measurement_is_gone_on_from(made: Path) -> None:
    model = load(made / "model", device="cpu")
    asked = {"strategies": ["truncate"], "bm25": True}
    task = "passkey(documents=4, queries=4, depths=2)"
    kept: list[list[Score]] = []
    every = list(evaluate(model, task, (64,), keep=kept.append, **asked))
    assert [one for scores in kept for one in scores] == every
    assert [len(scores) for scores in kept] == [6, 6, 6], "two metrics over all depths and at two; three ways to search"
    keys = [(one.label, one.depth, one.metric) for one in every]
    for known in (every[:1], every[:-1], every[1:], every[3:8], every):
        rest = list(evaluate(model, task, (64,), known=known, **asked))
        assert sorted(map(str, keys)) == sorted(str((one.label, one.depth, one.metric)) for one in [*known, *rest])


def test_an_encoder_tells_the_versions_of_what_it_computes_with(made: Path) -> None:
    model = load(made / "model", device="cpu")
    usual = {"longspan", "torch", "transformers", "sentence-transformers", "tokenizers"}
    added = {("torch", None): set(), ("onnx", "int8"): {"onnx", "onnxruntime"}, ("openvino", None): {"openvino"}}
    added["openvino", "int8"] = {"openvino", "nncf"}
    for (backend, dtype), more in added.items():
        told = Encoder(model, backend=backend, dtype=dtype).describe()
        assert told["versions"].keys() == usual | more
        assert all(told["versions"].values())
        assert told["device"] == "cpu"


@dataclass(frozen=True)
class Own:
    """A benchmark without a card, whose score may be one that judges no answer but a model's."""

    picky: bool = False

    def examples(self, length: int | None, seed: int) -> Retrieval:
        texts = {f"d{number}": " ".join(WORDS[number : number + 20]) for number in range(4)}
        return Retrieval("own", length, texts, {"q": texts["d1"]}, {"q": ("d1",)})

    def score(self, relevant: tuple[str, ...], ranking: list[str]) -> dict[str, float]:
        if self.picky and len(ranking) < 4:
            raise ZeroDivisionError
        return {"first": float(ranking[0] in relevant), "second": 0.5}


@pytest.mark.parametrize("picky", [False, True])
def test_a_benchmark_of_ones_own_is_asked_what_it_measures(made: Path, picky: bool) -> None:
    model, kept = load(made / "model", device="cpu"), []
    asked = {"strategies": ["truncate"], "bm25": False, "keep": kept.append}
    every = list(evaluate(model, [Own(picky)], (48,), **asked))
    assert [one.metric for one in every] == ["first", "second"]
    for known in (every[:1], every[1:], every):
        rest = list(evaluate(model, [Own(picky)], (48,), known=known, **asked))
        assert sorted(one.metric for one in [*known, *rest]) == ["first", "second"]
    assert len(kept) == (4 if picky else 3), "what cannot be known is measured again, and adds nothing"


@pytest.mark.filterwarnings("default:.*cut it short")
def test_an_interrupted_command_writes_what_is_missing(made: Path, tmp_path: Path) -> None:
    out, whole = tmp_path / "scores.jsonl", tmp_path / "whole.jsonl"
    asked = ["evaluate", str(made / "model"), "-b", f"folder(path={str(made / 'set')!r})", "-s", "truncate"]
    for path in (whole, out):
        asked[6:] = ["--json", "--out", str(path), "--cache", str(tmp_path / "vectors.sqlite")]
        assert CliRunner().invoke(app, asked).exit_code == 0
    lines = whole.read_bytes().splitlines(keepends=True)
    out.write_bytes(lines[0] + lines[2] + lines[3][:40])  # one metric each of two measurements, and a torn line
    run = CliRunner().invoke(app, asked)
    assert run.exit_code == 0, run.stderr
    assert "line 3: a killed run has cut it short" in run.stderr
    assert len(read(out)) == len(read(whole)) == 6
    assert _values(out) == _values(whole)


def _values(path: Path) -> set[tuple[str, str, float]]:
    return {(one.label, one.metric, one.value) for one in read(path)}


@pytest.fixture
def full(made: Path, tmp_path: Path) -> tuple[Path, Encoder, np.ndarray]:
    path, encoder = tmp_path / "vectors.sqlite", Encoder(load(made / "model", device="cpu"))
    cache = VectorCache(path)
    found = cache.encode(encoder, TEXTS)[0].vectors
    cache.close()
    return path, encoder, found


def test_a_vector_that_was_damaged_is_made_anew(full: Any) -> None:
    path, encoder, wanted = full
    with sqlite3.connect(path) as base:
        place, data = base.execute("SELECT text, vectors FROM sealed").fetchone()
        vector = bytearray(data)
        vector[5] ^= 1
        base.execute("UPDATE sealed SET vectors = ? WHERE text = ?", (bytes(vector), place))
    cache = VectorCache(path)
    with pytest.warns(UserWarning, match="vectors of 1 texts were damaged"):
        np.testing.assert_array_equal(cache.encode(encoder, TEXTS)[0].vectors, wanted)
    np.testing.assert_array_equal(cache.encode(encoder, TEXTS)[0].vectors, wanted)


def test_a_vector_of_another_text_is_no_vector_of_this_one(full: Any) -> None:
    path, encoder, wanted = full
    with sqlite3.connect(path) as base:
        (one, data), (two, _) = base.execute("SELECT text, vectors FROM sealed LIMIT 2").fetchall()
        base.execute(
            "UPDATE sealed SET vectors = ?, seal = (SELECT seal FROM sealed WHERE text = ?) WHERE text = ?",
            (data, one, two),
        )
    with pytest.warns(UserWarning, match="damaged"):
        np.testing.assert_array_equal(VectorCache(path).encode(encoder, TEXTS)[0].vectors, wanted)


def test_a_damaged_file_is_set_aside_and_rebuilt(full: Any) -> None:
    path, encoder, wanted = full
    whole = path.read_bytes()
    broken = whole[:100] + bytes(len(whole) - 100)
    path.write_bytes(broken)
    with pytest.warns(UserWarning, match="was damaged .* kept as vectors.sqlite.damaged"):
        np.testing.assert_array_equal(VectorCache(path).encode(encoder, TEXTS)[0].vectors, wanted)
    assert path.with_name("vectors.sqlite.damaged").read_bytes() == broken
    np.testing.assert_array_equal(VectorCache(path).encode(encoder, TEXTS)[0].vectors, wanted)
    pages = len(whole) // 4096
    path.write_bytes(whole[: 4096 * (pages - 3)])
    with pytest.warns(UserWarning, match="damaged"):
        np.testing.assert_array_equal(VectorCache(path).encode(encoder, TEXTS)[0].vectors, wanted)
    np.testing.assert_array_equal(VectorCache(path).encode(encoder, TEXTS)[0].vectors, wanted)


@pytest.mark.filterwarnings("ignore:.*damaged")
def test_whatever_bytes_a_cache_has_the_vectors_are_right_or_it_is_refused(full: Any) -> None:
    path, encoder, wanted = full
    whole, draw, refused = path.read_bytes(), np.random.default_rng(0), 0
    for _ in range(40):
        data = bytearray(whole)
        for place in draw.integers(0, len(data), draw.integers(1, 200)):
            data[place] = draw.integers(256)
        path.write_bytes(data[: draw.integers(1, len(data) + 1)] if draw.random() < 0.3 else data)
        try:
            cache = VectorCache(path)
            np.testing.assert_array_equal(cache.encode(encoder, TEXTS)[0].vectors, wanted)
            cache.close()
        except BenchmarkError:
            refused += 1
    assert refused < 15, "most damage is mended"


def test_a_full_disk_another_layout_and_another_program_are_told(full: Any, tmp_path: Path) -> None:
    path, encoder, _ = full
    cache = VectorCache(path)
    cache._base.execute("PRAGMA max_page_count = 1")
    with pytest.raises(BenchmarkError, match="full"):
        cache.encode(encoder, [f"{text} ba" for text in TEXTS * 40])
    with sqlite3.connect(tmp_path / "other.sqlite") as base:
        base.execute("CREATE TABLE sealed (encoder TEXT, text TEXT)")
    with pytest.raises(BenchmarkError, match="another layout"):
        VectorCache(tmp_path / "other.sqlite")
    (tmp_path / "notes").write_text("no database")
    with pytest.raises(BenchmarkError, match="no cache of vectors"):
        VectorCache(tmp_path / "notes")
    with pytest.raises(BenchmarkError, match="no cache of vectors"):
        VectorCache(tmp_path / "notes" / "below")
    assert (tmp_path / "notes").read_text() == "no database"


def test_threads_share_a_cache(full: Any) -> None:
    path, encoder, wanted = full
    cache, found = VectorCache(path), []
    threads = [threading.Thread(target=lambda: found.append(cache.encode(encoder, TEXTS)[0].vectors)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3
    assert all(np.array_equal(one, wanted) for one in found)


def test_a_model_that_changes_while_it_is_measured_gives_no_score(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = pipeline(tmp_path)
    answer = Dense.answer

    def trained_meanwhile(self: Dense, examples: Any, title: str) -> Any:
        found = answer(self, examples, title)
        with torch.no_grad():
            model[0].auto_model.embeddings.word_embeddings.weight.mul_(1.5)
        return found

    monkeypatch.setattr(Dense, "answer", trained_meanwhile)
    with pytest.raises(BenchmarkError, match="The model was changed while it was measured"):
        list(evaluate(model, "passkey(documents=2, queries=2)", [256], strategies=["truncate"], bm25=False))
