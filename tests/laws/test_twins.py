"""A model is the caller's: whatever extends it while it encodes or is measured extends a twin."""

from __future__ import annotations

import ast
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import longspan
from longspan import Encoder, PlanError, SeamError, compare, encode, evaluate, extend, extended, plan_of
from longspan.encoding.engines.torch_ import TorchEngine
from longspan.evaluation.drift import short_drift
from longspan.evaluation.mteb_bridge import MtebEncoder
from longspan.identity import identity
from longspan.inspection import inspect
from longspan.planning import plan
from longspan.storage.load import load, tokenizer_of
from longspan.twin import extended_twin, twin
from tests.laws.cases import LONG
from tests.models import build, states, tokens
from tests.pipelines import WORDS, pipeline
from tests.tokenizers import Slow

METHODS = {
    "bert": "tile + temperature(tau=0.6)",
    "roberta": "grouped + log_n",
    "modernbert": "self_extend",
    "llama": "dynamic_ntk",
    "mistral": "dca + log_n",
    "bloom": "alibi_interpolation",
}
SHORT, LENGTHY = " ".join(WORDS[:9]), " ".join(WORDS * 2)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A tiny pipeline with a prompt, whose tokenizer cuts and pads."""
    made = pipeline(tmp_path_factory.mktemp("model"))
    made.prompts = {"query": "baba "}
    made.tokenizer.backend_tokenizer.enable_truncation(9)
    made.tokenizer.backend_tokenizer.enable_padding(length=7)
    return made


def facts(model: Any) -> dict[str, Any]:
    """All that a caller can see of a model: tensors, modules, settings and the tokenizer's state."""
    inner, tokenizer = getattr(model, "auto_model", model), getattr(model, "tokenizer", None)
    return {
        "tensors": {name: (tensor.data_ptr(), tensor._version) for name, tensor in model.state_dict().items()},
        "modules": {name: (id(module), module.training) for name, module in model.named_modules()},
        "fields": {name: sorted(vars(module)) for name, module in model.named_modules()},
        "hooks": [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()],
        "configs": [str(module.config) for module in model.modules() if hasattr(module, "config")],
        "gradients": [parameter.requires_grad for parameter in inner.parameters()],
        "plan": plan_of(model),
        "tokenizer": tokenizer and (id(tokenizer), tokenizer.backend_tokenizer.to_str(), tokenizer.model_max_length),
    }


VERBS: dict[str, Callable[[Any], Any]] = {
    "encode": lambda model: encode(model, [SHORT, LENGTHY], "chunk_mean(window=16)"),
    "encode extend(to)": lambda model: encode(model, [SHORT, LENGTHY], "extend(to=128, method='grouped')"),
    "encode on_overflow": lambda model: encode(model, [SHORT, LENGTHY], on_overflow="extend"),
    "evaluate": lambda model: [
        *evaluate(model, "passkey(documents=3)", [64, 128], to=128, methods=["tile", "grouped"], strategies=())
    ],
    "compare": lambda model: compare(model, 96, benchmarks="passkey(documents=3)", methods=["tile", "grouped"]),
    "drift": lambda model: [*short_drift(model, [SHORT], [8], to=128, methods=["interpolate + log_n"])],
    "mteb": lambda model: MtebEncoder(model, plan=plan(inspect(model), "tile", 128)).encode([{"text": [LENGTHY]}]),
}


@pytest.mark.parametrize("room", ["encoding", "strategies", "evaluation", "training", "conversion"])
def test_what_encodes_or_measures_extends_twins_alone(room: str) -> None:
    in_place = {"extend", "extended", "restore", "reapply"}
    for path in (Path(longspan.__file__).parent / room).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module in ("longspan", "longspan.extension"):
                assert not in_place & {alias.name for alias in node.names}, path


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_leaves_model_and_tokenizer_alone_while_it_runs_and_after(
    model: Any, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, seen, compute = facts(model), [], TorchEngine.states

    def watched(self: TorchEngine, rows: Any) -> torch.Tensor:
        seen.append(facts(model) == before)
        return compute(self, rows)

    monkeypatch.setattr(TorchEngine, "states", watched)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        VERBS[verb](model)
    assert seen
    assert all(seen)
    assert facts(model) == before


def test_a_language_model_is_left_alone_while_it_is_measured(
    decoder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from longspan.evaluation import language

    made = load(decoder)
    tokenizer = tokenizer_of(decoder, made)
    tokenizer.backend_tokenizer.enable_truncation(5)
    (tmp_path / "text.txt").write_text("once there was a dog . " * 60)
    before, kept, seen, compute = facts(made), tokenizer.backend_tokenizer.to_str(), [], language._log_probabilities

    def watched(*given: Any) -> list[float]:
        seen.append(facts(made) == before)
        return compute(*given)

    monkeypatch.setattr(language, "_log_probabilities", watched)
    asked = f"perplexity(folder={str(tmp_path)!r}, passages=1, scored=8)"
    scores = [*evaluate(made, asked, [64], to=64, methods=["ntk", "self_extend"], tokenizer=tokenizer)]
    assert len({score.plan for score in scores}) == 3
    assert seen
    assert all(seen)
    assert (facts(made), tokenizer.backend_tokenizer.to_str()) == (before, kept)


@pytest.mark.parametrize("architecture", METHODS)
def test_an_extended_twin_gives_the_same_bits_as_the_model_extended(architecture: str) -> None:
    made, ids, spec = build(architecture), tokens(2, LONG), METHODS[architecture]
    before, plain = facts(made), states(made, tokens(2, 20))
    longer = extended_twin(made, LONG, spec)
    found = states(longer, ids)
    assert facts(made) == before
    assert torch.equal(states(made, tokens(2, 20)), plain)
    with extended(made, LONG, spec) as same:
        assert torch.equal(found, states(same, ids))
        assert torch.equal(found, states(twin(same), ids)), "the twin of an extended model is extended"


def test_a_twin_shares_every_weight_and_is_the_same_model(model: Any) -> None:
    made = twin(model)
    pairs = [
        *zip(model.parameters(), made.parameters(), strict=True),
        *zip(model.buffers(), made.buffers(), strict=True),
    ]
    assert all(one is other for one, other in pairs)
    assert not {id(module) for module in model.modules()} & {id(module) for module in made.modules()}
    assert identity(made) == identity(model)
    assert made.tokenizer is not model.tokenizer
    assert (made.max_seq_length, made.prompts) == (model.max_seq_length, model.prompts)


def _tied() -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM

    from tests.models import ALL

    return AutoModelForCausalLM.from_config(AutoConfig.for_model("llama", **ALL["llama"], tie_word_embeddings=True))


class _Adapted(torch.nn.Module):
    """A linear layer with a low-rank one beside it, as adapters have them."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.base_layer = layer
        self.low = torch.nn.Linear(layer.in_features, 2, bias=False)
        self.back = torch.nn.Linear(2, layer.out_features, bias=False)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """The sum of both."""
        return self.base_layer(states) + self.back(self.low(states))


def _adapted() -> Any:
    made = build("llama")
    for layer in made.layers:
        layer.self_attn.q_proj = _Adapted(layer.self_attn.q_proj)
    return made


def _hooked() -> Any:
    made = build("llama")
    made.layers[0].register_forward_hook(lambda module, args, output: output * 2)
    return made


UNUSUAL: dict[str, Callable[[], Any]] = {
    "tied": _tied,
    "adapter": _adapted,
    "bfloat16": lambda: build("llama").to(torch.bfloat16),
    "float16": lambda: build("llama").half(),
    "hooked": _hooked,
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_unusual_models_have_twins(name: str) -> None:
    def last(model: Any) -> torch.Tensor:
        with torch.no_grad():
            return model(input_ids=tokens(1, LONG))[0]

    torch.manual_seed(0)
    made = UNUSUAL[name]().eval()
    longer = extended_twin(made, LONG, "yarn")
    assert len([*longer.parameters()]) == len([*made.parameters()]), "tied weights stay tied"
    found = last(longer)
    with extended(made, LONG, "yarn"):
        assert torch.equal(found, last(made))


def test_a_twin_of_a_model_without_weights_has_none_either() -> None:
    with torch.device("meta"):
        made = build("bert")
    assert all(weight.is_meta for weight in twin(made).parameters())


def test_what_cannot_be_copied_is_told() -> None:
    made = build("bert")
    made.lock = threading.Lock()
    with pytest.raises(SeamError, match="BertModel cannot be copied"):
        twin(made)


def test_a_trainer_that_hangs_on_the_card_is_not_copied(model: Any) -> None:
    model.model_card_data.trainer = threading.Lock()  # stands for a trainer, its data and its threads
    try:
        assert twin(model).model_card_data.trainer is model.model_card_data.trainer
    finally:
        model.model_card_data.trainer = None


@pytest.mark.parametrize("options", [{"strategy": "extend(to=256)"}, {"on_overflow": "extend"}], ids=str)
def test_a_twin_and_its_engine_are_made_once(model: Any, options: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    monkeypatch.setattr("longspan.twin.twin", lambda model: made.append(twin(model)) or made[-1])
    encoder = Encoder(model, **options)
    first, second = encoder.encode([LENGTHY]), encoder.encode([LENGTHY])
    assert len(made) == 1
    assert np.array_equal(first.vectors, second.vectors)
    assert first.used == first.given
    extend(model, 512, "tile")
    try:
        with pytest.raises(PlanError, match="already extended"):
            encoder.encode([" ".join(WORDS * 6)])
    finally:
        from longspan import restore

        restore(model)


def test_a_slow_tokenizer_is_left_alone_too(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow()
    monkeypatch.setattr(model[0], "processor", slow)
    before = {name: repr(value) for name, value in vars(slow).items()}
    found = encode(model, ["ba co " * 40, "ba"], "extend(to=128)")
    assert found.used == found.given == [80, 1]
    assert {name: repr(value) for name, value in vars(slow).items()} == before


@pytest.fixture
def beside(model: Any) -> Iterator[list[bool]]:
    """Whether the model, asked over and over in another thread, gave the vectors that it gives alone."""
    wanted, right, done = model.encode([SHORT]), [], threading.Event()

    def ask() -> None:
        while not done.is_set():
            right.append(bool(np.array_equal(model.encode([SHORT], show_progress_bar=False), wanted)))

    thread = threading.Thread(target=ask)
    thread.start()
    yield right
    done.set()
    thread.join()


def test_threads_do_not_meet(model: Any, beside: list[bool]) -> None:
    encoders = [Encoder(model, "extend(to=256)"), Encoder(model, on_overflow="extend"), Encoder(model, "long_late")]
    wanted = [encoder.encode([LENGTHY]).vectors for encoder in encoders]
    for _ in range(5):
        for encoder, vectors in zip(encoders, wanted, strict=True):
            assert np.array_equal(encoder.encode([LENGTHY]).vectors, vectors)
    assert beside
    assert all(beside)
