"""Laws of slopes: the method's numbers, and what the seam owes every model with ALiBi."""

from __future__ import annotations

import copy
import math
import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, BertConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from longspan.errors import PlanError, SeamError
from longspan.methods.slopes.alibi_interpolation import AlibiInterpolation
from longspan.seams import slopes as seam
from tests import models
from tests.laws import cases
from tests.laws.cases import LONG, WINDOW, fresh
from tests.models import states, tokens
from tests.written import written

HEADS = 4
PAD = 1
CLOSE = {"rtol": 1e-5, "atol": 1e-5}
RATIO = torch.full((HEADS,), WINDOW / LONG, dtype=torch.float64)

every_decoder = pytest.mark.parametrize("architecture", models.ALIBI)


class Attention(nn.Module):
    """Bidirectional attention with a bias that is added to the logits."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.mixed = heads, nn.Linear(width, 3 * width)

    def forward(self, hidden, bias, mask):
        query, key, value = self.mixed(hidden).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        logits = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1]) + bias.to(hidden) + mask
        return (logits.softmax(-1) @ value).transpose(1, 2).flatten(2)


class Layers(nn.Module):
    """Keeps a symmetric bias in the way remote-code encoders do, as a buffer or as a plain attribute."""

    def __init__(self, config) -> None:
        super().__init__()
        self.slopes, self.as_buffer = torch.tensor(config.slopes), config.as_buffer
        self.layer = nn.ModuleList([Attention(config.hidden_size, len(config.slopes)) for _ in range(2)])
        self._current_alibi_size = WINDOW
        if self.as_buffer:
            self.register_buffer("alibi", torch.zeros(1), persistent=False)
        self.rebuild_alibi_tensor(size=WINDOW)

    def rebuild_alibi_tensor(self, size: int, device=None):
        place = torch.arange(size, device=device)
        self.alibi = (self.slopes[:, None, None] * -(place[:, None] - place).abs()).unsqueeze(0)
        self._current_alibi_size = size
        return self.alibi

    def forward(self, hidden, attention_mask):
        count = hidden.shape[1]
        if self._current_alibi_size < count:
            self.rebuild_alibi_tensor(size=count, device=hidden.device)
        mask = (1.0 - attention_mask[:, None, None].to(hidden)) * torch.finfo(hidden.dtype).min
        for layer in self.layer:
            hidden = hidden + layer(hidden, self.alibi[:, :, :count, :count], mask)
        return hidden


class TinyEncoder(PreTrainedModel):
    """An encoder whose only positions are the slopes."""

    config_class = BertConfig

    def __init__(self, config) -> None:
        super().__init__(config)
        self.words, self.encoder = nn.Embedding(config.vocab_size, config.hidden_size), Layers(config)
        self.post_init()

    def forward(self, input_ids, attention_mask=None):
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        return BaseModelOutput(last_hidden_state=self.encoder(self.words(input_ids), mask))


def encoder(as_buffer: bool = True, divisor: float = 1.0) -> TinyEncoder:
    """An encoder with the same weights at every call, its slopes divided."""
    torch.manual_seed(0)
    published = (2.0**-2, 2.0**-4, 2.0**-6, 2.0**-8)
    config = BertConfig(vocab_size=120, hidden_size=32, num_hidden_layers=2, num_attention_heads=HEADS)
    config.slopes, config.as_buffer = [slope / divisor for slope in published], as_buffer
    config.max_position_embeddings = WINDOW
    model = TinyEncoder(config).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model


def by_length(length: int) -> torch.Tensor:
    """The ratio of an input of so many real tokens."""
    return torch.full((HEADS,), 1 / max(1.0, length / WINDOW), dtype=torch.float64)


EXTENDED = {
    **{name: (partial(fresh, name), {}) for name in models.ALIBI},
    "buffer": (partial(encoder, True), {}),
    "attribute": (partial(encoder, False), {}),
    "buffer by length": (partial(encoder, True), {"by_length": by_length}),
    "attribute by length": (partial(encoder, False), {"by_length": by_length}),
}
every_model = pytest.mark.parametrize(("build", "given"), EXTENDED.values(), ids=EXTENDED)


def _extended(build, given, ratio: torch.Tensor = RATIO):
    model = build()
    written(seam.apply, model, ratio, LONG, **given)
    return model


@pytest.mark.parametrize("heads", [*range(1, 18), 71, 112, 129])
def test_slopes_are_positive_one_for_each_head_and_divided_by_the_factor(heads: int) -> None:
    geometry = replace(cases.learned(heads=heads), encoding="alibi")
    trained = AlibiInterpolation().slopes(geometry, 1.0)
    assert trained.dtype == torch.float64
    assert trained.shape == (heads,)
    assert bool((trained > 0).all())
    assert len(set(trained.tolist())) == heads
    assert torch.equal(AlibiInterpolation().slopes(geometry, 8.0), trained / 8)
    assert torch.equal(AlibiInterpolation(by_length=True).slopes(geometry, 8.0), trained / 8)


def test_by_length_is_refused_on_a_decoder() -> None:
    with pytest.raises(PlanError, match="cached states"):
        AlibiInterpolation(by_length=True).slopes(replace(cases.rotary(), encoding="alibi"), 2.0)


@every_decoder
def test_the_seam_too_refuses_a_decoder_by_length(architecture: str) -> None:
    with pytest.raises(SeamError, match="decoder"):
        written(seam.apply, fresh(architecture), RATIO, LONG, by_length=by_length)


@pytest.mark.parametrize("architecture", ["bert", "llama", "t5"])
def test_a_model_without_a_bias_is_refused(architecture: str) -> None:
    with pytest.raises(SeamError, match="no ALiBi bias"):
        written(seam.apply, fresh(architecture), RATIO, LONG)


@every_model
def test_it_reads_the_target_and_changes_something_there(build, given) -> None:
    out = states(_extended(build, given), tokens(2, LONG))
    longer = build()
    if hasattr(longer.config, "max_seq_len"):
        longer.config.max_seq_len = LONG
    assert bool(out.isfinite().all())
    assert float((out - states(longer, tokens(2, LONG))).abs().max()) > 1e-3


@every_model
def test_a_ratio_of_1_changes_nothing(build, given) -> None:
    ones = {"by_length": lambda length: torch.ones(HEADS)} if given else {}
    model = _extended(build, ones, torch.ones(HEADS))
    assert torch.equal(states(model, tokens(2, WINDOW)), states(build(), tokens(2, WINDOW)))


@pytest.mark.parametrize("as_buffer", [True, False])
def test_by_length_leaves_inputs_within_the_window_as_they_are(as_buffer: bool) -> None:
    model = _extended(partial(encoder, as_buffer), {"by_length": by_length})
    for length in (1, 7, WINDOW):
        assert torch.equal(states(model, tokens(2, length)), states(encoder(as_buffer), tokens(2, length)))


@every_model
def test_undo_restores_outputs_keys_and_configuration(build, given) -> None:
    model, plain = build(), build()
    undo = written(seam.apply, model, RATIO, LONG, **given)
    assert model.state_dict().keys() == plain.state_dict().keys()
    states(model, tokens(2, _beyond(model)))
    undo()
    assert torch.equal(states(model, tokens(2, WINDOW)), states(plain, tokens(2, WINDOW)))
    assert model.state_dict().keys() == plain.state_dict().keys()
    assert model.config.to_dict() == plain.config.to_dict()
    for ours, theirs in zip(model.modules(), plain.modules(), strict=True):
        assert ours.__dict__.keys() == theirs.__dict__.keys()
        assert len(ours._forward_pre_hooks) == len(theirs._forward_pre_hooks)
        assert getattr(ours, "_current_alibi_size", 0) == getattr(theirs, "_current_alibi_size", 0)


def _beyond(model) -> int:
    """More tokens than asked for, where the model takes them; an encoder regrows its bias."""
    return getattr(model.config, "max_seq_len", LONG + 9)


def _pickled(model):
    return pickle.loads(pickle.dumps(model))


@pytest.mark.parametrize("duplicate", [copy.deepcopy, _pickled])
@every_model
def test_a_copy_is_extended_and_on_its_own(build, given, duplicate) -> None:
    model = build()
    undo = written(seam.apply, model, RATIO, LONG, **given)
    wanted, twin = states(model, tokens(2, LONG)), duplicate(model)
    undo()
    assert torch.equal(states(twin, tokens(2, LONG)), wanted)
    states(twin, tokens(1, _beyond(twin)))
    assert torch.equal(states(twin, tokens(2, LONG)), wanted)
    assert torch.equal(states(model, tokens(2, WINDOW)), states(build(), tokens(2, WINDOW)))


@every_model
def test_two_models_live_beside_each_other(build, given) -> None:
    half = {"by_length": lambda length: by_length(length) / 2} if given else {}
    wanted = [states(_extended(build, own, RATIO * share), tokens(2, LONG)) for own, share in ((given, 1), (half, 0.5))]
    first, second = _extended(build, given), _extended(build, half, RATIO / 2)
    for _ in range(2):
        assert torch.equal(states(first, tokens(2, LONG)), wanted[0])
        assert torch.equal(states(second, tokens(2, LONG)), wanted[1])
    assert not torch.equal(*wanted)


@every_model
def test_two_threads_may_run_one_model(build, given) -> None:
    model = _extended(build, given)
    inputs = [tokens(2, length) for length in (LONG, WINDOW, 60, 90)] * 3
    wanted = [states(model, ids) for ids in inputs]
    with ThreadPoolExecutor(4) as pool:
        for got, alone in zip(pool.map(partial(states, model), inputs), wanted, strict=True):
            torch.testing.assert_close(got, alone, **CLOSE)


@pytest.mark.parametrize("side", ["left", "right"])
@every_model
def test_a_row_gives_what_it_gives_alone(build, given, side: str) -> None:
    model, lengths = _extended(build, given), (LONG, 60, 9)
    ids = torch.full((len(lengths), LONG), PAD)
    mask = torch.zeros_like(ids)
    places = [slice(LONG - length, LONG) if side == "left" else slice(0, length) for length in lengths]
    for row, (length, place) in enumerate(zip(lengths, places, strict=True)):
        ids[row, place], mask[row, place] = tokens(1, length)[0], 1
    together = states(model, ids, mask)
    for row, (length, place) in enumerate(zip(lengths, places, strict=True)):
        torch.testing.assert_close(together[row, place], states(model, tokens(1, length))[0], **CLOSE)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@every_model
def test_half_precision_stays_finite(build, given, dtype: torch.dtype) -> None:
    model = build().to(dtype)
    written(seam.apply, model, RATIO / 100, LONG, **given)
    mask = torch.ones(2, LONG, dtype=torch.long)
    mask[1, :50] = 0
    assert bool(states(model, tokens(2, LONG), mask)[mask.bool()].isfinite().all())


@every_decoder
def test_a_strong_ratio_in_half_precision_lets_no_masked_key_through(architecture: str) -> None:
    model = fresh(architecture).to(torch.float16)
    written(seam.apply, model, torch.full((HEADS,), 1e-6), LONG)
    ids, changed = tokens(1, LONG), tokens(1, LONG).clone()
    changed[0, -1] = 7
    assert torch.equal(states(model, ids)[:, :-1], states(model, changed)[:, :-1])


@every_decoder
@pytest.mark.parametrize("prefill", [1, WINDOW - 2, WINDOW + 4])
def test_prefill_and_decode_equal_one_full_forward(architecture: str, prefill: int) -> None:
    model, ids = _extended(partial(fresh, architecture), {}), tokens(2, LONG)
    cache, parts = None, []
    for start, end in [(0, prefill), *((place, place + 1) for place in range(prefill, LONG))]:
        with torch.no_grad():
            out = model(input_ids=ids[:, start:end], past_key_values=cache, use_cache=True)
        cache = out.past_key_values
        parts.append(out.last_hidden_state)
    torch.testing.assert_close(torch.cat(parts, dim=1), states(model, ids), **CLOSE)


def _causal(architecture: str):
    torch.manual_seed(0)
    config = AutoConfig.for_model(architecture, **models.ALL[architecture])
    config.bos_token_id = config.eos_token_id = config.pad_token_id = None
    model = AutoModelForCausalLM.from_config(config).eval()
    for parameter in model.parameters():
        if parameter.dim() > 1:
            nn.init.normal_(parameter, std=0.3)
    return model


@every_decoder
def test_generate_runs_past_the_window_with_left_padding(architecture: str) -> None:
    model, ids = _causal(architecture), tokens(1, WINDOW - 4)
    written(seam.apply, model, RATIO, LONG)
    padded = torch.cat([ids, torch.cat([torch.full((1, 9), PAD), ids[:, 9:]], dim=1)])
    mask = torch.ones_like(padded)
    mask[1, :9] = 0
    given = {"max_new_tokens": 20, "do_sample": False, "pad_token_id": PAD}
    together = model.generate(padded, attention_mask=mask, **given)
    alone = model.generate(ids[:, 9:], attention_mask=torch.ones_like(ids[:, 9:]), **given)
    assert together.shape[1] == WINDOW + 16
    assert torch.equal(together[1, 9:], alone[0])
    with torch.no_grad():
        greedy = model(together[:1, :-1]).logits.argmax(-1)
    assert torch.equal(greedy[0, WINDOW - 5 :], together[0, WINDOW - 4 :])


@every_decoder
def test_gradient_checkpointing_trains_with_the_same_bias(architecture: str) -> None:
    gradients = []
    for checkpointed in (False, True):
        model = _causal(architecture).train()
        if checkpointed:
            model.activation_checkpointing_enable()
        written(seam.apply, model, RATIO, LONG)
        torch.manual_seed(0)
        model(tokens(2, LONG), labels=tokens(2, LONG), use_cache=False).loss.backward()
        gradients.append([p.grad for p in model.parameters() if p.grad is not None])
    assert len(gradients[0]) > 5
    for plain, again in zip(*gradients, strict=True):
        torch.testing.assert_close(again, plain, **CLOSE)


def test_an_encoder_whose_bias_is_no_distance_is_refused() -> None:
    model = encoder()
    model.encoder.alibi = model.encoder.alibi.tril()
    with pytest.raises(SeamError, match="positive slope"):
        written(seam.apply, model, RATIO, LONG)


def test_an_encoder_whose_own_forward_was_replaced_is_refused_by_length() -> None:
    model = encoder()
    model.encoder.forward = partial(Layers.forward, model.encoder)
    with pytest.raises(SeamError, match="not its class's own"):
        written(seam.apply, model, RATIO, LONG, by_length=by_length)
    assert "forward" not in model.__dict__
    assert torch.equal(states(model, tokens(2, WINDOW)), states(encoder(), tokens(2, WINDOW)))
