"""What a model is: the same wherever it lies and however it was used, another once anything of it is changed."""

from __future__ import annotations

import collections
import copy
import decimal
import functools
import os
import re
import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from longspan import InspectError, PlanError, encode, extend, extended
from longspan.contents import digests
from longspan.families import Frequencies
from longspan.identity import _Look, identity, stamp
from longspan.storage.load import load
from longspan.telling import digest
from tests.models import build, states, tokens
from tests.pipelines import WORDS, pipeline


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("identity") / "model"
    pipeline(folder.with_name("parts"), dense=True).save(str(folder))
    return folder


@pytest.fixture
def model(home: Path) -> Any:
    return load(home, device="cpu")


def test_it_does_not_depend_on_place_name_or_copy(home: Path, model: Any, tmp_path: Path) -> None:
    elsewhere = shutil.copytree(home, tmp_path / "another name")
    assert identity(load(elsewhere, device="cpu")) == identity(model) == identity(copy.deepcopy(model))
    model.save(str(tmp_path / "again"))
    assert identity(load(tmp_path / "again", device="cpu")) == identity(model)


def test_use_leaves_it(model: Any) -> None:
    before = identity(model)
    text = " ".join(WORDS[:100])
    model.encode([text, "ba"], prompt="co ", batch_size=1, truncate_dim=None)
    encode(model, [text], "chunk_mean(window=16)")
    model.eval().requires_grad_(False)
    assert identity(model) == before
    encode(model, ["ba co"])
    assert stamp(model) == stamp(model) != "", "no call of the encoder's own makes it look again"
    with extended(model, 256, "interpolate + log_n"):
        assert identity(model) not in (before, "")
    assert identity(model) == before


@pytest.mark.parametrize("kind", ["dynamic", "longrope", "yarn"])
def test_a_rotation_that_follows_the_last_input_leaves_it(kind: str) -> None:
    rope: dict[str, Any] = {"rope_type": kind, "rope_theta": 10000.0, "factor": 4.0}
    rope |= {"original_max_position_embeddings": 32} if kind != "dynamic" else {}
    rope |= {"short_factor": [1.0] * 4, "long_factor": [2.0] * 4} if kind == "longrope" else {}
    model = build("llama", rope_parameters=rope, max_position_embeddings=32 if kind == "dynamic" else 128)
    before, seen = identity(model), stamp(model)
    states(model, tokens(1, 100))
    assert identity(model) == before
    assert kind == "dynamic" or stamp(model) == seen
    other = {**rope, "factor": 8.0}
    assert (
        identity(build("llama", rope_parameters=other, max_position_embeddings=model.config.max_position_embeddings))
        != before
    )


def weight(model: Any) -> torch.Tensor:
    return model[0].auto_model.encoder.layer[1].output.dense.weight


def stepped(model: Any) -> None:
    model[0].auto_model.embeddings.word_embeddings.weight.grad = torch.ones(120, 32)
    torch.optim.SGD([model[0].auto_model.embeddings.word_embeddings.weight], lr=1e-3).step()


def loaded(model: Any) -> None:
    model.load_state_dict({name: 1.5 * value for name, value in model.state_dict().items()})


def adapted(model: Any) -> None:
    part = model[0].auto_model.encoder.layer[0].attention.self
    part.query = torch.nn.Sequential(part.query, torch.nn.Linear(32, 32))


def hooked(model: Any) -> None:
    model[0].auto_model.encoder.layer[0].register_forward_hook(lambda module, args, output: output)


def settled(path: str, value: Any) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        *way, last = path.split(".")
        place = model
        for name in way:
            place = place[int(name)] if name.isdecimal() else getattr(place, name)
        setattr(place, last, value)

    return change


def forwarded(model: Any) -> None:
    part = model[0].auto_model.encoder.layer[0].output.dense
    before = part.forward
    part.forward = lambda states: -2 * before(states)


def in_numpy(model: Any) -> None:
    np.negative(weight(model).detach().numpy(), out=weight(model).detach().numpy())


BERT = "0.auto_model"
CHANGES: dict[str, Callable[[Any], Any]] = {
    "one element": lambda model: weight(model).requires_grad_(False).view(-1).__setitem__(7, 3.0),
    "scaled data": lambda model: weight(model).data.mul_(1.001),
    "replaced data": lambda model: setattr(weight(model), "data", weight(model).data.clone() + 1),
    "an optimizer's step": stepped,
    "other weights": loaded,
    "an adapter": adapted,
    "a hook": hooked,
    "an empty part": settled("1.parts", torch.nn.ParameterDict()),
    "another forward": forwarded,
    "an array of the data": in_numpy,
    "values by number": lambda model: model[0].auto_model.config.update({"_scales": {"a": 7}}),
    "half precision": lambda model: model.bfloat16(),
    "a buffer": lambda model: model[0].auto_model.embeddings.position_ids.add_(1),
    "rows of positions": lambda model: model[0].auto_model.embeddings.position_embeddings.weight.data.zero_(),
    "heads of the configuration": settled(f"{BERT}.config.num_attention_heads", 2),
    "heads of a layer": settled(f"{BERT}.encoder.layer.0.attention.self.num_attention_heads", 2),
    "causal": settled(f"{BERT}.encoder.layer.1.attention.self.is_causal", True),
    "causal configuration": settled(f"{BERT}.config.is_causal", True),
    "scaling": settled(f"{BERT}.encoder.layer.1.attention.self.scaling", 0.5),
    "epsilon": settled(f"{BERT}.embeddings.LayerNorm.eps", 0.1),
    "an activation": settled(f"{BERT}.encoder.layer.0.intermediate.intermediate_act_fn", torch.nn.ReLU()),
    "an activation's function": settled(f"{BERT}.encoder.layer.0.intermediate.intermediate_act_fn.act", torch.relu),
    "an attribute of one's own": settled(f"{BERT}._steered", [1.0, 2.0]),
    "attention": lambda model: model[0].auto_model.set_attn_implementation("eager"),
    "pooling": settled("1.pooling_mode", "max"),
    "pooling of the prompt": settled("1.include_prompt", False),
    "a module's activation": settled("2.activation_function", torch.nn.Identity()),
    "a module less": lambda model: model.pop(3),
    "prompts": lambda model: model.prompts.update(query="ba "),
    "the default prompt": settled("default_prompt_name", "query"),
    "the limit": settled("max_seq_length", 32),
    "the width": settled("truncate_dim", 8),
    "lower case": settled("0.do_lower_case", True),
    "a token": lambda model: model.tokenizer.add_tokens(["zzz"]),
    "the normaliser": lambda model: settled("tokenizer.backend_tokenizer.normalizer", lowercase())(model),
    "the frame": lambda model: settled("tokenizer.backend_tokenizer.post_processor", frame())(model),
    "the side that is cut": settled("tokenizer.truncation_side", "left"),
    "tokens of special texts": settled("tokenizer.split_special_tokens", True),
    "a plan": lambda model: extend(model, 256, "tile"),
    "a plan of another length": lambda model: extend(model, 255, "tile"),
}


def lowercase() -> Any:
    from tokenizers import normalizers

    return normalizers.Lowercase()


def frame() -> Any:
    from tokenizers import processors

    return processors.TemplateProcessing("$A [SEP]", None, [("[SEP]", 3)])


def test_whatever_is_changed_in_place_makes_it_another(model: Any) -> None:
    found = {"as it was": identity(model)}
    for name, change in CHANGES.items():
        other = copy.deepcopy(model)
        identity(other)  # known already when it is changed
        before = stamp(other)
        change(other)
        found[name] = identity(other)
        assert stamp(other) != before, f"{name}: a kept encoder would not see it"
    same = [(a, b) for a in found for b in found if a < b and found[a] == found[b]]
    assert same == [], "these are not told apart"


def test_a_pooler_that_nobody_reads_plays_no_part(model: Any) -> None:
    before = identity(model), identity(model[0].auto_model)
    model[0].auto_model.pooler.dense.weight.data.add_(1)  # many checkpoints have none: it is random in each process
    assert (identity(model) == before[0], identity(model[0].auto_model) == before[1]) == (True, False)


def test_bare_language_models_and_their_tokenizers(decoder: str) -> None:
    from transformers import AutoTokenizer

    model, tokenizer = load(decoder), AutoTokenizer.from_pretrained(decoder)
    plain, read = identity(model), identity(model, tokenizer=tokenizer)
    assert plain == identity(load(decoder)) != read
    tokenizer.add_tokens(["zzz"])
    assert identity(model, tokenizer=tokenizer) not in (plain, read)
    model.generation_config.repetition_penalty = 1.5
    assert identity(model) != plain


def test_a_slow_tokenizer_is_read_by_its_words(decoder: str, tmp_path: Path) -> None:
    from transformers import BertTokenizerLegacy

    model, files = load(decoder), [tmp_path / "a.txt", tmp_path / "b.txt", tmp_path / "c.txt"]
    for file, last in zip(files, ("dog", "dog", "cat"), strict=True):
        file.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", last]))
    one, same, other = (identity(model, tokenizer=BertTokenizerLegacy(str(file))) for file in files)
    cased = identity(model, tokenizer=BertTokenizerLegacy(str(files[0]), do_lower_case=False))
    assert one == same
    assert len({one, other, cased}) == 3


def test_an_assumed_window_counts_where_it_is_another(model: Any) -> None:
    assert identity(model, window=64) == identity(model) != identity(model, window=32)


def test_tensors_are_read_once_and_again_only_when_they_were_written_to(model: Any, monkeypatch: Any) -> None:
    from longspan import contents

    read: list[Any] = []
    real = contents._digest
    monkeypatch.setattr(contents, "_digest", lambda one: (read.append(one[0].shape), real(one))[1])
    identity(copy.deepcopy(model))
    whole = len(read)
    assert whole >= len(list(model.parameters()))
    identity(model)
    read.clear()
    identity(model)
    assert read == []
    with torch.no_grad():
        weight(model).mul_(2)
    identity(model)
    assert read == [weight(model).shape]


@dataclass(slots=True)
class Slotted:
    value: Any


class Plain:
    def __init__(self, value: Any) -> None:
        self.value = value

    def __call__(self, *given: Any) -> Any:
        return given[-1]


def scaled(by: Any) -> Callable[..., Any]:
    return lambda module, given, output: output * by


def made(by: float) -> Any:
    return type("Gate", (Plain,), {"by": by})(0)


def quantised(value: float) -> Any:
    linear = torch.nn.Linear(2, 2)
    torch.nn.init.constant_(linear.weight, value)
    torch.nn.init.zeros_(linear.bias)
    with warnings.catch_warnings(action="ignore"):
        return torch.ao.quantization.quantize_dynamic(torch.nn.Sequential(linear), {torch.nn.Linear})


def rows(value: float) -> torch.Tensor:
    with warnings.catch_warnings(action="ignore"):
        return torch.eye(3).mul(value).to_sparse_csr()


def levels(value: float) -> torch.Tensor:
    with warnings.catch_warnings(action="ignore"):
        return torch.quantize_per_tensor(torch.ones(2), value, 0, torch.qint8)


PAIRS: dict[str, tuple[Any, Any]] = {
    "slots": (Slotted(1.0), Slotted(2.0)),
    "attributes": (Plain(1), Plain(2)),
    "a closure": (scaled(1), scaled(2)),
    "defaults": (lambda x, k=1: x, lambda x, k=2: x),
    "code of a lambda": (lambda x: x + 1, lambda x: x * 3),
    "a method's object": (Plain(1).__call__, Plain(2).__call__),
    "a partial's object": (functools.partial(Plain(1)), functools.partial(Plain(2))),
    "a class of the moment": (made(1.0), made(2.0)),
    "range": (range(3), range(5)),
    "slice": (slice(0, 3), slice(0, 5)),
    "complex": (1j, 2j),
    "deque": (collections.deque([1]), collections.deque([2])),
    "decimal": (decimal.Decimal(1), decimal.Decimal(2)),
    "bytes": (bytearray(b"a"), bytearray(b"b")),
    "pattern": (re.compile("a"), re.compile("b")),
    "device": (torch.device("cpu"), torch.device("meta")),
    "shape": (np.zeros((2, 3)), np.zeros((3, 2))),
    "fields": (np.zeros(2, dtype=[("a", "f4")]), np.zeros(2, dtype=[("b", "f4")])),
    "objects": (np.array(["a", None], dtype=object), np.array(["b", None], dtype=object)),
    "tuple and list": ((1, 2), [1, 2]),
    "mapping and pairs": ({"a": 1}, [['"a"', 1]]),
    "coordinates": (torch.eye(3).to_sparse(), torch.zeros(3, 3).to_sparse()),
    "rows": (rows(1.0), rows(2.0)),
    "a quantised layer": (quantised(1.0), quantised(-3.0)),
    "a quantised tensor": (levels(0.5), levels(0.25)),
}


@pytest.mark.parametrize("pair", PAIRS)
def test_what_a_model_holds_is_told_apart_by_its_content(pair: str) -> None:
    found = []
    for value in (*PAIRS[pair], PAIRS[pair][0]):
        model = torch.nn.Identity()
        model.cached_by_me = [value]  # no name keeps it from being told
        if callable(value):
            model.register_forward_hook(value)
        found.append(digest(_Look(lambda tensor: digests([tensor])[id(tensor)]).told(model)))
    assert found[0] == found[2] != found[1]


def test_what_cannot_be_told_apart_is_named_and_what_computes_nothing_is_not_asked(model: Any) -> None:
    import logging
    import threading
    import weakref

    inner = model[0].auto_model
    inner._held = [threading.Lock(), logging.getLogger("a"), weakref.ref(inner), logging, threading.Condition()]
    assert identity(model) == identity(model)
    assert stamp(model) == stamp(model)
    inner._held = (each for each in [1])
    with pytest.raises(InspectError, match="generator that cannot be told apart"):
        identity(model)
    assert stamp(model) != stamp(model), "it is read anew at each call"


USES: dict[str, Callable[[Any], Any]] = {
    "hidden states": lambda inner: inner(input_ids=torch.ones(1, 5, dtype=torch.long), output_hidden_states=True),
    "checkpointing": lambda inner: inner.activation_checkpointing_enable(),
    "checkpointing ended": lambda inner: (
        inner.activation_checkpointing_enable(),
        inner.activation_checkpointing_disable(),
    ),
    "gradients of inputs": lambda inner: inner.enable_input_require_grads(),
    "compilation": lambda inner: inner.compile(),
}


@pytest.mark.parametrize("use", USES)
def test_what_libraries_leave_behind_leaves_it(model: Any, use: str) -> None:
    before = identity(model)
    USES[use](model[0].auto_model)
    assert identity(model) == before


def test_a_part_of_a_tokenizer_in_python_is_refused_by_name(model: Any) -> None:
    from tokenizers import pre_tokenizers

    class Own:
        def pre_tokenize(self, text: Any) -> None:
            text.split(lambda number, part: [part])

    model.tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.PreTokenizer.custom(Own())
    with pytest.raises(InspectError, match="PreTokenizer is written in Python"):
        identity(model)
    assert encode(model, ["ba co"]).vectors.shape == (1, 24)
    extend(model, 256, "tile")


def test_weights_that_are_not_there_are_told() -> None:
    with torch.device("meta"):
        model = torch.nn.Linear(2, 2)
    from longspan.contents import tensors

    with pytest.raises(InspectError, match="meta"):
        digests(tensors(model).values())


@dataclass(frozen=True)
class Filed:
    """A rotation that a file holds."""

    file: str = ""

    @property
    def files(self) -> tuple[str, ...]:
        return (self.file,)

    def frequencies(self, geometry: Any, factor: float, length: int) -> Frequencies:
        map_ = torch.tensor(geometry.inv_freq, dtype=torch.float64)
        return Frequencies(map_ / float(Path(self.file).read_text()))


def test_files_of_a_plan_count_by_their_content(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a", "b", "c")]
    for file, value in zip(files, ("2.0", "2.0", "2.5"), strict=True):
        file.write_text(value)
    models = [extend(build("llama"), 64, Filed(str(file))) for file in files]
    first, second, third = map(identity, models)
    assert first == second != third
    seen, date = stamp(models[0]), files[0].stat().st_mtime_ns
    files[0].write_text("2.7")
    os.utime(files[0], ns=(date, date))
    assert identity(models[0]) != first
    assert stamp(models[0]) != seen
    files[1].unlink()
    with pytest.raises(PlanError, match="cannot be read"):
        identity(models[1])
