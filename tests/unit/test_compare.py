"""compare: what applies is tried, one is chosen and remembered, extend takes it up."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import longspan
from longspan import PlanError, evaluate, extended, plan_of
from longspan.benchmarks.likelihood.perplexity import Perplexity
from longspan.benchmarks.retrieval import _own
from longspan.cli import app
from longspan.evaluation import compare as module
from longspan.evaluation import sampling
from longspan.evaluation.compare import Comparison, compare
from longspan.evaluation.race import Race
from longspan.evaluation.score import Score, read
from longspan.extension import automatic
from longspan.identity import identity
from longspan.outcomes import recall
from tests.laws.cases import fresh


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LONGSPAN_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("documents")
    _own.twin(folder)
    return folder


@pytest.fixture(scope="module")
def language(decoder: str) -> Any:
    return longspan.load(decoder)


def raced(model: Any, **more: Any) -> Comparison:
    return compare(model, 64, benchmarks="perplexity(passages=4, scored=8)", **more)


def test_every_method_that_applies_is_screened_and_one_wins(language: Any) -> None:
    found = raced(language)
    assert {"none", "ntk", "yarn", "pi", "log_n"} <= {part for one in found.screened for part in one.split(" + ")}
    assert list(found.screened.values()) == sorted(found.screened.values(), reverse=True)
    best = found.contenders[0]
    assert found.method == best.method
    assert best.score == max(one.score for one in found.contenders)
    assert all(one.behind.low <= one.behind.mean <= one.behind.high for one in found.contenders)
    assert "truncate 32" in found.ladder
    assert f'--to 64 --method "{found.method}"' in found.command
    assert plan_of(language) is None, "the model is left as it was"


def test_what_was_chosen_is_taken_up_by_auto(language: Any) -> None:
    rule, why = automatic(language, 64)
    assert (rule, "rule for rope" in why) == ("yarn", True)
    found = raced(language, methods=["ntk", "pi"])
    assert automatic(language, 64)[0] == found.method in ("ntk", "pi")
    assert "chosen by compare" in automatic(language, 64)[1]
    assert automatic(language, 128)[0] == "yarn", "it was chosen for 64 tokens"
    wanted = longspan.plan(longspan.inspect(language), found.method, 64).methods
    with extended(language, 64, "auto"):
        assert plan_of(language).methods == wanted
    path = next((Path(longspan.outcomes.cache_folder()) / "compare").iterdir())
    path.write_text("{")
    assert recall(identity(language), 64) is None


def test_a_comparison_goes_on_from_its_scores(language: Any) -> None:
    kept: list[Score] = []
    first = raced(language, methods=["ntk", "pi"], keep=kept.extend)
    assert kept == first.scores
    again = raced(language, methods=["ntk", "pi"], known=kept)
    assert again.scores == []
    assert (again.method, again.contenders, again.ladder) == (first.method, first.contenders, first.ladder)


def test_a_method_that_is_surely_behind_drops_out(language: Any) -> None:
    race = Race(language, 64, longspan.inspect(language), 0, [], lambda scores: None, "")
    scores = list(evaluate(language, [Perplexity(passages=8, scored=8)], [64], methods=["ntk"]))
    (one,) = (s for s in scores if s.metric == "likelihood" and s.plan)
    cell = (one.benchmark, one.task, one.length)

    def shifted(by: float) -> dict:
        values = tuple(value + by for value in one.values)
        return {cell: replace(one, values=values, value=sum(values) / len(values))}

    values = {"ntk": shifted(0), "pi": shifted(-0.1), "yarn": shifted(-0.2), "abf": shifted(1e-9)}
    assert race.in_reach(values) == ["abf", "ntk"]
    assert race.in_reach({name: values[name] for name in ("pi", "yarn")}) == ["pi", "yarn"], "two stay in any case"
    assert race.behind(values, "pi", "ntk").high == pytest.approx(-0.1)


def test_what_does_not_apply_is_told(language: Any) -> None:
    found = raced(language, methods=["ntk", "tile"])
    assert list(found.refused) == ["tile"]
    assert "learned" in found.refused["tile"]
    with pytest.raises(PlanError, match="No method takes this llama to 64 tokens"):
        raced(language, methods=["tile"])


def test_ones_own_documents_are_enough(
    minilm_path: str, documents: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "DOCUMENTS", 4)
    monkeypatch.setattr(sampling, "QUERIES", 8)
    monkeypatch.setattr(module, "_TEXTS", 4)
    scores = tmp_path / "scores.jsonl"
    asked = ["compare", minilm_path, "--to", "640", "--data", str(documents), "--out", str(scores), "--quick"]
    asked += ["-m", "tile", "-m", "grouped", "-m", "ntk"]
    done = CliRunner().invoke(app, [*asked, "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert {name.split()[0] for name in found["sets"]} == {"inverse_cloze", "passage_needle", "lengthened_pairs"}
    assert set(found["ladder"]) >= {"bm25", "truncate 512", "chunk_mean 512", "chunk_max(top=2) 512", "long_late 512"}
    assert found["method"] in ("tile", "grouped")
    assert 0.9 < found["contenders"][0]["drift"] <= 1.0001
    before = read(scores)
    text = CliRunner().invoke(app, asked)
    assert found["command"] in text.stdout
    assert "ntk needs rope positions" in text.stdout
    assert read(scores) == before, "nothing is measured again"


def test_extend_says_where_auto_comes_from(decoder: str, language: Any, tmp_path: Path) -> None:
    def extend(name: str) -> tuple[str, str]:
        asked = ["extend", decoder, "--to", "64", "--method", "auto", "--out", str(tmp_path / name), "--json"]
        done = CliRunner().invoke(app, asked)
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)["methods"], done.stderr

    methods, why = extend("rule")
    assert "YaRN" in methods
    assert "method yarn: the rule for rope positions" in why
    found = raced(language, methods=["pi", "ntk"])
    methods, why = extend("chosen")
    assert found.method.upper() in methods.upper()
    assert f"method {found.method}: chosen by compare on" in why


def test_what_a_seam_refuses_is_not_tried() -> None:
    model = fresh("mpnet")
    race = Race(model, 64, longspan.inspect(model), 0, [], lambda scores: None, "")
    assert race.applicable(["tile", "tile + log_n", "self_extend"]) == ["tile"]
    assert "does not dispatch attention" in race.refused["tile + log_n"]
    assert "needs rope positions" in race.refused["self_extend"]
    assert longspan.plan_of(model) is None
