"""The torch engine: rows side by side without padding where that is exact, padded rows elsewhere."""

from __future__ import annotations

import inspect
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from longspan.encoding.engines.rows import Rows, apart, lengths_of, pad, side_by_side
from longspan.encoding.engines.twin import pad_token, sharpen, special_ids, twin
from longspan.errors import EncodeError, LongspanError
from longspan.seams import anatomy, packing, trial

_CANNOT = (LongspanError, TypeError, ValueError, KeyError, IndexError, AttributeError, RuntimeError)
"""What a model that was not made for packing answers."""

_TOLERANCE = 1e-5
"""Largest difference of packed and padded states of a float32 model, relative to the largest state."""

_COARSE = 5e-2
"""The same for the half types, whose sums differ by their order."""

_SHORT, _SPECIAL = 3, 12
"""Rows of a probe that any model has room for, and special ids that it tries."""


class TorchEngine:
    """States from the model's own modules.

    Works on a twin: modules and configuration of its own, the model's parameters shared. So nothing on the
    model is ever switched, and threads may use it and the engine at once. Where rows are packed in float32
    on a CPU, linear layers have prepacked copies of their weights.

    Args:
        model: A SentenceTransformer or a transformers model.
        dtype: "float32", "bfloat16" or "float16", None for the model's own.
        layers: First layers to use, None for all.

    Raises:
        EncodeError: The model exchanges parts of itself as it reads.

    Attributes:
        packs: Whether rows run side by side, all linear layers over exactly the real tokens. Where they do not, and
            padding changes a row's states too, only rows of one length run together.
    """

    def __init__(self, model: Any, dtype: str | None = None, layers: int | None = None) -> None:
        inner = anatomy.transformer(model)
        own = next(inner.parameters())
        kind: torch.dtype = getattr(torch, dtype) if dtype else own.dtype
        self.name = f"torch {str(kind).removeprefix('torch.')}"
        self.device: torch.device = own.device
        self._pad = pad_token(model)
        self._twin = twin(inner, layers)
        taken = inspect.signature(type(self._twin).forward).parameters
        # GPT-2 takes the argument too, but would add the embeddings of words.
        self._typed = "token_type_ids" in taken and any(
            name.endswith("token_type_embeddings") for name, _ in self._twin.named_modules()
        )
        self._alone = depends_on_batch(self._twin.config)
        rows, before = _probe(model), trial.state_of(self._twin)
        self.packs = "position_ids" in taken and not self._alone and self._try_packing(inner, kind, rows)
        if not (self.packs or self._alone):
            self._alone = not self._pads(rows[:_SHORT])
        if changed := trial.exchanged(before):
            raise EncodeError(
                f"A {type(inner).__name__} exchanges parts of itself for good as it reads a short row "
                f"({', '.join(sorted(changed))}), so that vectors depend on what was read before.",
                "settle what it switches; for BigBird: model.set_attention_type('original_full')",
            )
        if kind != own.dtype:
            self._twin = twin(self._twin, share=False).to(kind)

    def states(self, rows: Rows) -> Tensor:
        """Last hidden states, float32 ``[rows, longest, width]``; zeros past a row's own end."""
        lengths = lengths_of(rows)
        places = sorted(range(len(rows)), key=lambda row: -lengths[row])
        ordered, counts = [rows[place] for place in places], [lengths[place] for place in places]
        with torch.inference_mode():
            if self.packs:
                flat = self._packed(self._twin, ordered, counts)
            elif self._alone:
                # Neighbours of another length would change what the model does to a row.
                groups = [list(group) for _, group in groupby(ordered, key=len)]
                flat = torch.cat([self._padded(self._twin, group) for group in groups])
            else:
                flat = self._padded(self._twin, ordered)
            return apart(flat, counts, places)

    def _packed(self, model: Any, rows: Rows, lengths: list[int]) -> Tensor:
        ids, positions = side_by_side(rows, self._padding)
        arguments = {"position_ids": positions, packing.KEYWORD: lengths}
        if self._typed:
            arguments["token_type_ids"] = torch.zeros_like(ids)  # its own end at its window
        return self._run(model, ids, arguments)[0]

    def _padded(self, model: Any, rows: Rows) -> Tensor:
        # [tokens, width], padding left out
        ids, mask = pad(rows, self._pad)
        if mask.all():
            return self._run(model, ids, {}).flatten(0, 1)
        return self._run(model, ids, {"attention_mask": mask})[mask.bool().to(self.device)]

    def _run(self, model: Any, ids: Tensor, arguments: dict[str, Any]) -> Tensor:
        moved = {
            name: given.to(self.device) if isinstance(given, Tensor) else given for name, given in arguments.items()
        }
        states: Tensor = model(input_ids=ids.to(self.device), **moved).last_hidden_state
        return states

    @property
    def _padding(self) -> int | None:
        # OPT adds its offset itself; only the RoBERTa family's is a row of the table that callers count.
        slot = anatomy.position_table(self._twin)
        return slot.module.padding_idx if slot else None

    def _try_packing(self, inner: Any, kind: torch.dtype, rows: Rows) -> bool:
        plan = getattr(getattr(inner.base_model, anatomy.APPLIED, None), "plan", None)
        if plan is not None and (plan.rewires_positions or plan.scale_home == "attention"):
            return False
        if "forward" in inner.base_model.__dict__ or inner.config._attn_implementation not in ("sdpa", "eager"):
            return False
        packed = twin(self._twin)
        try:
            packing.apply(packed)
            own = next(inner.parameters()).dtype
            sharpen(packed, prepack=own == kind == torch.float32 and self.device.type == "cpu")
            with torch.inference_mode():
                found = self._packed(packed, rows, [len(row) for row in rows])
                if not self._is_each_alone(found, rows):
                    return False
        except _CANNOT:
            return False
        self._twin = packed
        return True

    def _pads(self, rows: Rows) -> bool:
        """Whether padding leaves a row's states as they are."""
        try:
            with torch.inference_mode():
                return self._is_each_alone(self._padded(self._twin, rows), rows)
        except _CANNOT:
            return False

    def _is_each_alone(self, found: Tensor, rows: Rows) -> bool:
        """Whether states ``[tokens, width]`` are those of each row read alone."""
        expected = torch.cat([self._padded(self._twin, [row]) for row in rows])
        tolerance = _COARSE if expected.dtype in (torch.bfloat16, torch.float16) else _TOLERANCE
        expected, found = expected.float(), found.float()
        return bool((found - expected).abs().max() <= tolerance * float(expected.abs().max()))


def _probe(model: Any) -> list[list[int]]:
    """Rows to try a way of computing on.

    One has special tokens, two are short, one is longer than a band of attention, one beyond a short trained window.

    Args:
        model: A SentenceTransformer or a transformers model.
    """
    inner = anatomy.transformer(model)
    text, slot = anatomy.text_config(inner), anatomy.position_table(inner)
    plan = getattr(getattr(inner.base_model, anatomy.APPLIED, None), "plan", None)
    room = slot.module.num_embeddings - anatomy.pad_offset(slot.module) if slot else 1 << 20
    band = getattr(text, "sliding_window", None) or getattr(text, "local_attention", None) or 0
    lengths = [3, 17, 40, min(2 * band + 9, 1024) if isinstance(band, int) and band else 40]
    if plan is not None and plan.length > plan.geometry.window <= 1024:
        lengths.append(min(plan.geometry.window + 37, plan.length))
    generator, pad = torch.Generator().manual_seed(0), pad_token(model)

    def draw(length: int) -> list[int]:
        ids = torch.randint(text.vocab_size, (length,), generator=generator)
        found: list[int] = ids.where(ids != pad, (pad + 1) % text.vocab_size).tolist()
        return found

    # A text may hold any of them, and a model may tell positions or factors by them.
    mixed = [token for special in (pad, *special_ids(model)[:_SPECIAL]) for token in (special, *draw(1), special)]
    return [mixed[:room], *(draw(min(length, room)) for length in lengths)]


def depends_on_batch(config: Any) -> bool:
    """Whether transformers chooses the rotation of all rows by the longest one."""
    kinds = getattr(config.get_text_config(), "rope_parameters", None) or {}
    nested = [kind for kind in kinds.values() if isinstance(kind, dict)] or [kinds]
    return any(
        "dynamic" in str(kind.get("rope_type")) or kind.get("short_factor") != kind.get("long_factor")
        for kind in nested
    )
