"""Options of a wrong type, tokens without a row, vectors that are no numbers: a typed error, and of one text only."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import longspan
from longspan import EncodeError, encode
from longspan.benchmarks.tasks import Question, Questions
from longspan.encoding.bench import bench
from longspan.encoding.engines import engine
from longspan.encoding.files.parts import encode_rows
from longspan.encoding.files.rows import Row
from longspan.encoding.run import Encoder
from longspan.errors import BenchmarkError, InspectError, LongspanError, PlanError, is_failure, one_line
from longspan.evaluation.compare import compare
from longspan.evaluation.language import Language
from longspan.evaluation.run import evaluate
from longspan.extension import automatic, plan_of
from longspan.inspection import inspect
from longspan.storage.load import tokenizer_of
from tests.pipelines import WORDS, pipeline

TEXTS = [" ".join(WORDS[:9]), WORDS[100], " ".join(WORDS[9:20])]
LONG = " ".join(WORDS)
STRATEGIES = ["truncate", "chunk_mean(window=16)", "chunk_max(window=16)", "late(window=32)", "long_late(size=8)"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A tiny pipeline."""
    return pipeline(tmp_path_factory.mktemp("model"))


@pytest.fixture
def own(tmp_path: Path) -> Any:
    """A tiny pipeline that a test may change."""
    return pipeline(tmp_path / "own")


def _spoil(model: Any, word: str) -> None:
    """Give a word a row of nan."""
    with torch.no_grad():
        model[0].auto_model.embeddings.word_embeddings.weight[model.tokenizer(word)["input_ids"][1]] = torch.nan


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_vector_that_is_no_number_is_an_error_of_its_text(own: Any, strategy: str) -> None:
    _spoil(own, WORDS[100])
    found = encode(own, [*TEXTS, LONG], strategy, on_error="keep", on_overflow="truncate")
    cut = strategy in ("truncate", "late(window=32)")  # in front of the word
    assert sorted(found.errors) == ([1] if cut else [1, 3])
    assert np.isfinite(found.vectors).all()
    assert set(found.owner) == {0, 2, 3} - set(found.errors)
    assert len(found.spans) == len(found.vectors)
    assert found.given[1] == found.used[1] == found.windows[1] == 0
    with pytest.raises(EncodeError, match=r"Text 1: .* not finite.*\nhint: use float32 or bfloat16"):
        encode(own, TEXTS, strategy)


@pytest.mark.parametrize("overflow", ["chunk", "extend"])
def test_the_error_has_the_place_of_a_text_that_is_read_again(own: Any, overflow: Any) -> None:
    _spoil(own, WORDS[100])
    texts = [TEXTS[0], LONG, TEXTS[2]]
    assert list(encode(own, texts, on_overflow=overflow, on_error="keep").errors) == [1]
    with pytest.raises(EncodeError, match="Text 1: "):
        encode(own, texts, on_overflow=overflow)


def test_states_beyond_the_range_of_float16_are_told(own: Any) -> None:
    with torch.no_grad():
        own[0].auto_model.embeddings.LayerNorm.weight.mul_(1e5)
    assert np.isfinite(encode(own, TEXTS).vectors).all()
    with pytest.raises(EncodeError, match=r"3 of 3 texts"):
        encode(own, TEXTS, dtype="float16")


def test_a_row_of_a_file_without_numbers_is_an_error_row(own: Any) -> None:
    _spoil(own, WORDS[100])
    part = encode_rows(Encoder(own), [Row(n, str(n), "f", n, text) for n, text in enumerate(TEXTS)])
    assert [error["row"] for error in part.errors] == [1]
    assert part.owner.tolist() == [0, 2]


def test_no_measurement_goes_on_without_numbers(own: Any, decoder: str) -> None:
    with torch.no_grad():
        own[0].auto_model.embeddings.LayerNorm.weight.fill_(torch.nan)
    with pytest.raises(EncodeError, match="not finite"):
        bench(own, TEXTS, rounds=1)
    with pytest.raises(EncodeError, match="not finite"):
        list(evaluate(own, "passkey(documents=5)", [64], bm25=False))
    with pytest.raises(EncodeError, match="not finite"):
        compare(own, 128, benchmarks="passkey(documents=5)", methods=["tile"])
    language = longspan.load(decoder)
    with torch.no_grad():
        next(iter(language.parameters())).fill_(torch.nan)
    arm = Language(language, tokenizer_of(decoder, language), None)
    asked = Question("once there was", (), "", new_tokens=2)
    for examples in (
        Questions("own", None, {"q": asked}),
        Questions("own", None, {"q": replace(asked, choices=("a",))}),
    ):
        with pytest.raises(BenchmarkError, match="logits are not numbers"):
            arm.answer(examples, "")
    language.resize_token_embeddings(8)
    with pytest.raises(EncodeError, match="has no row"):
        Language(language, tokenizer_of(decoder, language), None).count("once there was a dog")


def test_a_token_without_a_row_is_an_error_of_its_text(own: Any) -> None:
    own.tokenizer.add_tokens([f"zz{number}" for number in range(20)])
    found = encode(own, [TEXTS[0], "ba zz19", TEXTS[2]], on_error="keep")
    assert list(found.errors) == [1]
    assert "token 136 has no row in the model's embedding of 120 words" in str(found.errors[1])
    np.testing.assert_array_equal(found.vectors, encode(own, TEXTS[::2]).vectors)
    with pytest.raises(EncodeError, match="token 136"):
        encode(own, TEXTS, prompt="zz19 ")
    own[0].auto_model.resize_token_embeddings(len(own.tokenizer))
    assert len(encode(own, ["ba zz19"]).vectors) == 1


WRONG = ["8", 8.0, 1.5, True, [1], float("nan"), float("inf"), b"8"]


@pytest.mark.parametrize("option", ["dims", "layers", "batch_tokens"])
def test_an_option_that_is_no_whole_number_is_refused(model: Any, option: str) -> None:
    for wrong in WRONG:
        with pytest.raises(EncodeError, match=f"{option} must be a whole number, not"):
            Encoder(model, **{option: wrong})
    with pytest.raises(EncodeError):
        Encoder(model, batch_tokens=-(10**5000))
    taken = Encoder(model, **{option: np.int64(1)})
    assert json.dumps(taken.describe()), "numpy's integers are kept as int"


@pytest.mark.parametrize(
    ("option", "wrong"),
    [
        *(("backend", wrong) for wrong in (["torch"], None, 5)),
        *(("dtype", wrong) for wrong in (["float32"], np.dtype("float32"), 5)),
        *(("prompt", wrong) for wrong in (5, ["a"], b"a", "\ud800")),
        *(("progress", wrong) for wrong in (5, True, ["a"])),
        *(("frame", wrong) for wrong in (5, ["echo"])),
    ],
)
def test_an_option_of_another_type_is_refused_by_name(model: Any, option: str, wrong: Any) -> None:
    with pytest.raises(EncodeError) as caught:
        encode(model, TEXTS, **{option: wrong})
    assert option.removesuffix("type") in str(caught.value)
    assert "unknown token" not in caught.value.hint


def test_layers_of_an_engine_are_a_whole_number(model: Any) -> None:
    for wrong in WRONG:
        with pytest.raises(EncodeError, match="layers must be a whole number"):
            engine(model, layers=wrong)


def test_a_prompt_that_the_pipeline_names_is_a_text(own: Any) -> None:
    own.prompts, own.default_prompt_name = {"q": 5}, "q"
    with pytest.raises(EncodeError, match="The prompt is a int, not a string"):
        encode(own, TEXTS)


def test_lengths_are_taken_from_any_integer_and_from_nothing_else(own: Any) -> None:
    assert type(inspect(own, window=np.int64(32)).window) is int
    assert automatic(own, np.int64(128), window=np.int32(64)) == automatic(own, 128, window=64)  # type: ignore[arg-type]
    for wrong in [*WRONG, 10**400, 10**5000]:
        with pytest.raises(PlanError):
            longspan.extend(own, wrong)
        with pytest.raises(InspectError):
            inspect(own, window=wrong)
    longspan.extend(own, np.int64(128), window=np.uint16(64))  # type: ignore[arg-type]
    assert type(plan_of(own).length) is int  # type: ignore[union-attr]


@pytest.mark.parametrize(("option", "kind"), [("seed", BenchmarkError), ("window", InspectError), ("to", PlanError)])
def test_a_measurement_takes_whole_numbers(model: Any, option: str, kind: type[LongspanError]) -> None:
    for wrong in ("8", 1.5, True, [1]):
        with pytest.raises(kind):
            list(evaluate(model, "passkey(documents=5)", [64], **{option: wrong}))
        with pytest.raises(kind):
            compare(model, **{"to": 128, "benchmarks": "passkey(documents=5)", option: wrong})
    for lengths in (64, "64", ["64"], [64.0], None):
        with pytest.raises(BenchmarkError, match="length"):
            list(evaluate(model, "passkey(documents=5)", lengths))  # type: ignore[arg-type]
    for given in ({"rounds": "5"}, {"rounds": True}, {"seed": [1]}):
        with pytest.raises(EncodeError, match="must be a whole number"):
            bench(model, TEXTS, **given)


@pytest.mark.parametrize(
    "use",
    [
        lambda empty: longspan.extend(empty, 128),
        longspan.restore,
        plan_of,
        inspect,
        lambda empty: encode(empty, TEXTS),
        lambda empty: longspan.save(empty, "never"),
    ],
)
def test_an_empty_pipeline_is_refused(use: Callable[[Any], Any], own: Any) -> None:
    while len(own):
        del own[0]
    for empty in (nn.Sequential(), own):
        with pytest.raises(LongspanError, match="is empty"):
            use(empty)


def test_a_panic_of_the_tokenizer_is_an_error_of_its_text_and_an_interruption_is_none(own: Any) -> None:
    from tokenizers import AddedToken
    from tokenizers.normalizers import Strip

    own.tokenizer.backend_tokenizer.normalizer = Strip()
    own.tokenizer.backend_tokenizer.add_tokens([AddedToken("\n", normalized=True)])
    found = encode(own, ["ba", "\u0301"], on_error="keep")
    assert list(found.errors) == [1]
    assert "cannot read it" in str(found.errors[1])
    assert not is_failure(KeyboardInterrupt())
    assert not is_failure(SystemExit())


def test_a_library_that_goes_on_after_a_colon_is_told_whole(tmp_path: Path, model: Any) -> None:
    assert one_line(ValueError("\n")) == "ValueError"
    assert one_line(ValueError("\n of one line \nand more")) == "of one line"
    model.save(str(tmp_path / "saved"))
    config = tmp_path / "saved" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "num_hidden_layers": "two"}))
    for read in (inspect, longspan.load):
        with pytest.raises(LongspanError, match=r"field 'num_hidden_layers': .*expected int"):
            read(str(tmp_path / "saved"))
