"""convert --to and --from: distilled at length, and further from an earlier conversion."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import longspan
from longspan.cli import app
from longspan.conversion.agreement import Agreement
from longspan.conversion.architectures import rotary_twin
from longspan.conversion.convert import convert
from longspan.errors import ConvertError, StorageError
from longspan.identity import identity
from longspan.training.run import Recipe
from tests.conversions import RECIPE, command, refused, same, stock_vectors
from tests.models import build
from tests.pipelines import WINDOW

pytestmark = pytest.mark.filterwarnings("ignore:.*tokens are few for a distillation")
TO = 256
AT_LENGTH = Recipe(steps=4, budget=128, learning_rate=1e-3, check_every=2, to=TO)


@pytest.fixture(scope="module")
def long_texts(texts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six texts of about 700 tokens."""
    folder = tmp_path_factory.mktemp("long")
    parts = [path.read_text() for path in sorted(texts.iterdir())]
    for number in range(6):
        (folder / f"{number}.txt").write_text("".join(parts[4 * number : 4 * number + 4]))
    return folder


@pytest.fixture(scope="module")
def lengthened(original: str, long_texts: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    out = tmp_path_factory.mktemp("lengthened") / "rotary"
    return convert(longspan.load(original), long_texts, out=out, recipe=AT_LENGTH, progress=False)


def test_a_conversion_at_length_is_measured_at_length(lengthened: Any) -> None:
    assert lengthened.window == TO
    assert list(lengthened.before) == list(lengthened.cosine) == [16, 32, 64, 128, TO]
    assert lengthened.cosine[TO] > lengthened.before[TO]
    card = (lengthened.folder / "README.md").read_text()
    assert f"texts of up to {TO} tokens" in card
    assert f"| 64 | 128 | {TO} |" in card
    assert f"Beyond {WINDOW} tokens the original was asked in chunks" in card


def test_within_the_window_the_card_says_nothing_of_chunks(converted: Any) -> None:
    assert "Beyond" not in (converted.folder / "README.md").read_text()


def test_every_file_says_the_length(lengthened: Any, tmp_path: Path) -> None:
    folder = lengthened.folder
    files = {
        name: json.loads((folder / name).read_text())
        for name in ("config.json", "tokenizer_config.json", "tokenizer.json", "sentence_bert_config.json")
    }
    assert files["config.json"]["max_position_embeddings"] == TO
    assert files["tokenizer_config.json"]["model_max_length"] == TO
    assert files["tokenizer.json"]["truncation"]["max_length"] == TO
    assert files["sentence_bert_config.json"]["max_seq_length"] == TO
    geometry = longspan.inspect(str(folder))
    assert (geometry.window, geometry.reads, geometry.encoding) == (TO, TO, "rope")
    line = "baba baco didi . " * 50
    vectors, told = stock_vectors(folder, [line, line + line], tmp_path)
    assert told == f"JinaEmbeddingsV3Model {TO}"
    # 200 tokens are read to their end, 400 are not, and differ from what the first 64 say.
    ours = longspan.encode(longspan.load(folder), [line]).vectors[0]
    np.testing.assert_allclose(vectors[0], ours, atol=1e-6)
    assert not np.allclose(vectors[0], vectors[1], atol=1e-4)


def test_an_interrupted_run_at_length_comes_to_the_same_weights(
    lengthened: Any, original: str, long_texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure, calls = Agreement.__call__, iter(range(100))

    def interrupted(self: Agreement, student: Any) -> dict[int, float]:
        if next(calls) == 2:  # before the training, and at step 2
            raise KeyboardInterrupt
        return measure(self, student)

    out = tmp_path / "rotary"
    with monkeypatch.context() as patch:
        patch.setattr(Agreement, "__call__", interrupted)
        with pytest.raises(KeyboardInterrupt):
            convert(longspan.load(original), long_texts, out=out, recipe=AT_LENGTH, progress=False)
    with pytest.raises(ConvertError, match="holds a run with to=256, this one has to=200"):
        convert(longspan.load(original), long_texts, out=out, recipe=replace(AT_LENGTH, to=200), progress=False)
    changed = longspan.load(original)
    changed[1].pooling_mode = "max"
    with pytest.raises(ConvertError, match="holds a run with identity="):
        convert(changed, long_texts, out=out, recipe=AT_LENGTH, progress=False)
    made = convert(longspan.load(original), long_texts, out=out, recipe=AT_LENGTH, progress=False)
    assert made.cosine == lengthened.cosine
    assert same(out, lengthened.folder)


def test_a_conversion_goes_on_from_an_earlier_one(converted: Any, original: str, texts: Path, tmp_path: Path) -> None:
    recipe = replace(RECIPE, steps=2)
    model = longspan.load(original)
    out = tmp_path / "further"
    made = convert(model, texts, out=out, recipe=recipe, start=converted.folder, base=5.0, progress=False)
    assert made.before == pytest.approx(converted.cosine, abs=1e-6)
    assert not same(out, converted.folder)
    # The base is that of the earlier conversion.
    config, before = (json.loads((folder / "config.json").read_text()) for folder in (out, converted.folder))
    assert config["rope_parameters"] == before["rope_parameters"]


def test_what_is_no_earlier_conversion_is_refused_before_the_texts_are_read(
    converted: Any, original: str, tmp_path: Path
) -> None:
    model, nothing = longspan.load(original), tmp_path / "never read"
    with pytest.raises(ConvertError, match=r"no conversion of this model: bert, 120, .* against jina_embeddings_v3"):
        convert(model, nothing, out=tmp_path / "rotary", start=original)
    other = build("bert", intermediate_size=64)
    other.save_pretrained(tmp_path / "parts")
    wider = rotary_twin(other, base=100.0).model
    wider.save_pretrained(tmp_path / "wider")
    model.tokenizer.save_pretrained(tmp_path / "wider")
    with pytest.raises(ConvertError, match=r"no conversion of this model.* 64 against .* 48 "):
        convert(model, nothing, out=tmp_path / "rotary", start=tmp_path / "wider")
    trained = longspan.load(original)
    trained[0].auto_model.encoder.layer[0].output.dense.weight.data.mul_(1.01)
    with pytest.raises(ConvertError, match="conversion of another model, or of this one before it was changed"):
        convert(trained, nothing, out=tmp_path / "rotary", start=converted.folder)
    older = Path(shutil.copytree(converted.folder, tmp_path / "older"))  # which does not say what it was made of
    told = json.loads((older / "config.json").read_text())
    assert told.pop("converted_from") == identity(model)
    (older / "config.json").write_text(json.dumps(told))
    trained[0].auto_model.embeddings.word_embeddings.weight.data.normal_()
    with pytest.raises(ConvertError, match="conversion of another model"):
        convert(trained, nothing, out=tmp_path / "rotary", start=older)
    with pytest.raises(StorageError, match="absent"):
        convert(model, nothing, out=tmp_path / "rotary", start=tmp_path / "absent")
    longer = longspan.load(converted.folder)
    longspan.extend(longer, to=256, method="yarn")
    longspan.save(longer, tmp_path / "longer")
    with pytest.raises(ConvertError, match="longer was extended"):
        convert(model, nothing, out=tmp_path / "rotary", start=tmp_path / "longer")
    assert not (tmp_path / "rotary.training").exists()


def test_a_length_that_is_not_beyond_the_window_is_refused_before_the_texts_are_read(
    original: str, tmp_path: Path
) -> None:
    for to in (0, WINDOW):
        with pytest.raises(ConvertError, match=f"{to} tokens are not more than the window of {WINDOW}"):
            convert(longspan.load(original), tmp_path / "never read", out=tmp_path / "rotary", recipe=Recipe(to=to))


def test_texts_without_a_long_one_are_refused(original: str, tmp_path: Path) -> None:
    (tmp_path / "short.jsonl").write_text("\n".join(json.dumps({"text": "baba baco . " * 10}) for _ in range(20)))
    with pytest.raises(ConvertError, match="The longest text has 30 tokens, so there is nothing to learn about 256"):
        convert(longspan.load(original), tmp_path / "short.jsonl", out=tmp_path / "rotary", recipe=AT_LENGTH)
    assert list(tmp_path.iterdir()) == [tmp_path / "short.jsonl"]


def test_the_command_goes_on_at_length(converted: Any, original: str, long_texts: Path, tmp_path: Path) -> None:
    out = tmp_path / "longer"
    more = ["--from", str(converted.folder), "--to", "200", "--check-every", "6", "--json"]
    run = CliRunner().invoke(app, command(original, long_texts, out, *more))
    assert run.exit_code == 0, run.stderr
    told = json.loads(run.stdout)
    assert told["window"] == 200
    assert list(told["cosine"]) == ["16", "32", "64", "128", "200"]
    assert longspan.load(out).max_seq_length == 200
    assert "not more than the window" in refused(*command(original, long_texts, tmp_path / "again", "--to", "64"))


def test_it_is_told_when_nothing_is_measured_at_length(original: str, tmp_path: Path) -> None:
    rows = [*(["baba baco didi . " * 10] * 20), "baba baco didi . " * 100]
    (tmp_path / "texts.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in rows))
    recipe = replace(AT_LENGTH, steps=1)
    with pytest.warns(UserWarning, match="no held-out text is longer than the window of 64"):
        made = convert(
            longspan.load(original), tmp_path / "texts.jsonl", out=tmp_path / "rotary", recipe=recipe, progress=False
        )
    assert max(made.cosine) <= WINDOW


def test_a_window_says_up_to_where_the_original_is_trusted(original: str, texts: Path, tmp_path: Path) -> None:
    made = convert(
        longspan.load(original),
        texts,
        out=tmp_path / "short",
        recipe=replace(RECIPE, steps=1),
        window=32,
        progress=False,
    )
    assert (made.window, list(made.cosine)) == (32, [16, 32])
    assert longspan.inspect(str(made.folder)).window == 32


def test_a_window_beyond_the_table_is_refused(original: str, texts: Path, tmp_path: Path) -> None:
    told = refused(*command(original, texts, tmp_path / "out", "--window", "1000"))
    assert f"window=1000 exceeds the {WINDOW} rows of the position table." in told
    assert not list(tmp_path.iterdir())
