"""Export of a model, extended or not, to ONNX, and the proof that what was exported is the model."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import importlib
import io
import json
import os
import shutil
import tempfile
import warnings
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from longspan import __version__
from longspan.disk import digest_of
from longspan.encoding.engines.torch_ import depends_on_batch
from longspan.encoding.engines.twin import pad_token, special_ids, twin
from longspan.errors import EncodeError, one_line
from longspan.identity import identity
from longspan.jsons import parse
from longspan.seams import anatomy

INPUTS, OUTPUT = ("input_ids", "attention_mask"), "last_hidden_state"
_LEAST = 0.99999
"""Smallest cosine of an exported token state and the model's."""

_LONGEST = 1024
"""Tokens of the longest input that is compared."""

_OPSET = 18

_LITTLE = 1 << 20
"""Free bytes of a disk that is full [bytes]."""


def need(package: str, backend: str) -> Any:
    """Import a package of a backend.

    Raises:
        EncodeError: It is not installed.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise EncodeError(
            f"The {backend} backend needs {package}, which is not installed.", f"pip install 'longspan[{backend}]'"
        ) from error


class Traceable(nn.Module):
    """Ids and mask ``[rows, tokens]`` to last hidden states ``[rows, tokens, width]``.

    Args:
        model: A twin, for it gets plain attention or the fused kind.
        attention: "eager" or "sdpa"; left as it is where the model has no choice.
    """

    def __init__(self, model: Any, attention: str) -> None:
        super().__init__()
        self.model = model
        with contextlib.suppress(ValueError, ImportError):
            model.set_attn_implementation(attention)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None) -> Tensor:
        """The transformer's states."""
        states: Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return states


def traceable(model: Any, layers: int | None, attention: str) -> Traceable:
    """What can be exported of a pipeline or transformers model: a float32 twin on the CPU.

    Raises:
        EncodeError: What the model does to an input depends on how long it is, which no trace follows.
    """
    inner = anatomy.transformer(model)
    plan = getattr(getattr(inner.base_model, anatomy.APPLIED, None), "plan", None)
    if "forward" in inner.base_model.__dict__ or depends_on_batch(inner.config):
        what = f"The plan for {plan.length} tokens" if plan else f"This {type(inner).__name__}"
        raise EncodeError(
            f"{what} has positions or factors that depend on each input's length, which an export cannot follow.",
            'use backend="torch", or a method without them, such as "tile" or "yarn"',
        )
    # In evaluation mode as a whole: the exporter hands the mode of the outermost module back to all.
    return Traceable(twin(inner, layers, share=False).float().cpu(), attention).eval()


def example() -> tuple[Tensor, Tensor]:
    """Ids and mask to trace with: two rows, one padded."""
    mask = torch.ones(2, 12, dtype=torch.long)
    mask[1, 7:] = 0
    return torch.arange(5, 17).repeat(2, 1), mask


@contextlib.contextmanager
def exporting(module: Traceable, backend: str) -> Iterator[None]:
    """Tell what an exporter does not follow in longspan's words, without the graph that it would print.

    Raises:
        EncodeError: The exporter failed.
        OSError: The system did not let it write, or read.
    """
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    except Exception as error:
        if isinstance(error, OSError) and error.errno:  # inspect raises one without a number where source is missing
            raise
        raise EncodeError(
            f"A {type(module.model).__name__} with these positions cannot be exported to {backend}: "
            f"{one_line(error)[:200]}",
            'use backend="torch"',
        ) from error


def to_onnx(module: Traceable, path: Path) -> None:
    """Write an ONNX file with dynamic rows and tokens."""
    axes = {name: {0: "rows", 1: "tokens"} for name in (*INPUTS, OUTPUT)}
    with exporting(module, "ONNX"), torch.no_grad(), warnings.catch_warnings():
        # The tracer warns of every shape that it reads, and that it is the older one; it is ten times as fast
        # as torch.export here, and ``prove`` tells when a trace was wrong.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            example(),
            str(path),
            input_names=list(INPUTS),
            output_names=[OUTPUT],
            dynamic_axes=axes,
            opset_version=_OPSET,
            dynamo=False,
        )


def prove(module: Traceable, model: Any, states: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Compare exported states with the model's for each row alone, token by token, on both sides of the window.

    Args:
        module: What was exported.
        model: The model it comes from.
        states: The exported states of ids and mask.

    Raises:
        EncodeError: They are not the same.
    """
    vocabulary = anatomy.text_config(module.model).vocab_size
    generator, pad, special = torch.Generator().manual_seed(0), pad_token(model), torch.tensor(special_ids(model))
    for length in lengths_to_compare(module.model):
        ids = torch.randint(vocabulary, (2, length), generator=generator)
        held = special[: length // 4]  # a text may hold any of them
        ids[0, 1 : 2 * len(held) : 2], ids[1, : len(held)] = held, held
        mask = torch.ones_like(ids)
        mask[1, length // 2 + 1 :] = 0
        ids = ids.where(mask.bool(), pad)
        with torch.inference_mode():
            expected = torch.cat([module(own[None, seen], None)[0] for own, seen in zip(ids, mask.bool(), strict=True)])
            found = states(ids, mask)[mask.bool()]
        cosine = float(torch.cosine_similarity(expected, found, dim=-1).min())
        if not cosine >= _LEAST:
            raise EncodeError(
                f"At {length} tokens the exported model's states have a cosine of {cosine:.5f} to the model's.",
                'use backend="torch"',
            )


def lengths_to_compare(model: Any) -> list[int]:
    """16 tokens, the trained window and its neighbours, and the target, as far as the model and time go."""
    plan = getattr(getattr(model.base_model, anatomy.APPLIED, None), "plan", None)
    slot, text = anatomy.position_table(model), anatomy.text_config(model)
    room = getattr(text, "max_position_embeddings", None) or _LONGEST
    if slot:
        room = slot.module.num_embeddings - anatomy.pad_offset(slot.module)
    if plan:
        room = min(room, plan.length)
    window = plan.geometry.window if plan else room
    wanted = {16, window - 1, window, window + 1, room, _LONGEST}
    return sorted(length for length in wanted if 1 < length <= min(room, _LONGEST))


def kept(path: Path) -> bool:
    """Whether an export is there with all its files, each byte for byte as it was made."""
    try:
        told = parse(_seal(path).read_bytes())
        files = {name: path.parent / name for name in told} if isinstance(told, dict) else {}
        return path.name in files and all(digest_of(file, EncodeError) == told[name] for name, file in files.items())
    except (OSError, ValueError, EncodeError):
        return False


@contextlib.contextmanager
def placed(path: Path) -> Iterator[Path]:
    """A temporary name in the same folder that becomes ``path``, with a seal beside it, when the block ends well.

    Raises:
        EncodeError: It cannot be written.
    """
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".export-") as folder:
            made = Path(folder) / path.name
            try:
                yield made
            except Exception as error:
                if shutil.disk_usage(folder).free < _LITTLE:  # compiled exporters tell of it in words of their own
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
                raise
            files = sorted(Path(folder).iterdir())
            told = {file.name: digest_of(file, EncodeError) for file in files}
            _seal(made).write_text(json.dumps(told), encoding="utf-8")
            # The seal last: what is replaced in between is of no use to anybody.
            for file in (*files, _seal(made)):
                os.replace(file, path.parent / file.name)
    except OSError as error:
        raise EncodeError(
            f"The export {path} could not be written: {error.strerror or error}.",
            "free some space, or name another folder that can be written as cache",
        ) from error


def _seal(path: Path) -> Path:
    return path.with_name(f"{path.name}.seal")


def home(cache: str | Path | None, owner: object) -> Path:
    """The folder for exported files: the cache, or one that goes with its owner.

    Raises:
        EncodeError: It cannot be made.
    """
    try:
        if cache is None:
            folder = tempfile.mkdtemp(prefix="longspan-")
            weakref.finalize(owner, shutil.rmtree, folder, ignore_errors=True)
            return Path(folder)
        Path(cache).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        where = cache or "A folder for exports"
        raise EncodeError(f"{where} cannot be made: {error.strerror or error}.", "name another folder") from None
    return Path(cache)


def fingerprint(model: Any, layers: int | None) -> str:
    """Sixteen characters that change with what the model is, the layers and the exporter."""
    told = f"{__version__} {torch.__version__} {_OPSET} {layers} {identity(model)}"
    return hashlib.blake2b(told.encode(), digest_size=8).hexdigest()
