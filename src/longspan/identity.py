"""What a model is: one digest of all that its results depend on."""

from __future__ import annotations

import enum
import functools
import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from longspan.contents import digests, tensors, version
from longspan.disk import digest_of, state_of
from longspan.errors import InspectError, PlanError
from longspan.inspection import inspect
from longspan.seams import anatomy

CONVERTED_FROM = "converted_from"
"""Key of a converted model's configuration: the identity of the model that it was made of."""

_INTERNAL = {*vars(nn.Module()), "_forward_hooks", "_forward_pre_hooks"}
_HOOKS = ("_forward_hooks", "_forward_pre_hooks")

# What libraries keep on modules for loading, saving, moving and training; no output depends on it.
_KEPT_BESIDE = {
    *("name_or_path", "_is_hf_initialized", "gradient_checkpointing", "loss_type", "warnings_issued", "hf_device_map"),
    *("_hf_hook", "_no_split_modules", "_skip_keys_device_placement", "all_tied_weights_keys", "_tied_weights_keys"),
    *("_keys_to_ignore_on_load_unexpected", "_keys_to_ignore_on_load_missing", "_keys_to_ignore_on_save"),
    *("_keep_in_fp32_modules", "_keep_in_fp32_modules_strict", "_weight_conversions", "_use_kernels", "kernel_config"),
    *("_tp_plan", "_ep_plan", "_pp_plan", "_fsdp_plan", "_tp_size", "_similarity_fn_name", "_similarity"),
    *("_similarity_pairwise", "trust_remote_code", "model_card_data", "_model_card_vars", "_model_card_text"),
    *("module_kwargs", "_model_config", "_device_map", "_modules_placed", "_accelerate_placement_hook"),
    *("is_hpu_graph_enabled", "config_keys"),
    *("_prompt_length_mapping", "_declared_forward_params", "_load_adapter_kwargs"),
}
_NOT_OF_A_CONFIG = {
    *("_name_or_path", "transformers_version", "longspan", CONVERTED_FROM, "architectures", "dtype", "torch_dtype"),
    *("_commit_hash", "use_cache", "return_dict", "output_attentions", "output_hidden_states", "problem_type"),
    *("id2label", "label2id", "gradient_checkpointing", "_from_model_config", "_attn_implementation_autoset"),
    *("base_model_name_or_path", "revision", "inference_mode"),
}
_NOT_OF_A_TOKENIZER = {
    *("_tokenizer", "_vocab", "_merges", "init_inputs", "init_kwargs", "name_or_path", "_processor_class", "verbose"),
    *("_in_target_context_manager", "chat_template", "response_template", "response_schema", "chat_control_tokens"),
    *("deprecation_warnings", "backend", "files_loaded", "model_max_length", "model_input_names", "sp_model"),
    *("is_local", "_is_local", "padding_side", "_pad_token_type_id"),
}
_PLAIN = {bool, int, float, str}
_NOTHING: frozenset[str] = frozenset()
_PARTS = ("model", "normalizer", "pre_tokenizer", "post_processor", "decoder")


def identity(model: Any, *, tokenizer: Any = None, window: int | None = None) -> str:
    """SHA-256 of all that a model's results depend on.

    That is the content of weights and buffers, the configuration, the modules with their classes, settings and hooks
    by name, a pipeline's prompts and limits, the tokenizer, the plan a model is extended by, and the content of the
    files that the plan's methods read. Names and places are no part of it, nor is what changes by use. It is the same
    in every process and for every copy.

    A pooler whose output a pipeline does not read plays no part: many checkpoints have none, and get a random one.

    Not seen: the code behind a class or function of the same name; an edit of ``.data`` that leaves the sample of a
    tensor that was hashed before as it was (an edit of the tensor itself is seen); what a rotary module of type
    dynamic or longrope computed for its last input.

    Args:
        model: A SentenceTransformer or a transformers model.
        tokenizer: Of a transformers model, where it plays a part; a pipeline has its own.
        window: Trained length in tokens that is assumed, where it is not what the model says.

    Raises:
        InspectError: Weights are not in memory.
        PlanError: A file of the plan's methods cannot be read.

    Cost: about a second a GB on one core; later calls hash only tensors that were changed.
    """
    look = _Look(digests(tensor for module in model.modules() for tensor in tensors(module).values()))
    if pooler := _unread(model):
        look.met[id(pooler)] = pooler, "unread"
    facts: dict[str, Any] = {"model": look.module(model)}
    if anatomy.is_pipeline(model):
        facts["max_seq_length"] = model.max_seq_length
    if tokenizer is not None:
        facts["tokenizer"] = look.tokenizer(tokenizer)
    if window is not None and window != _window(model):
        facts["window"] = window
    applied = getattr(anatomy.transformer(model).base_model, anatomy.APPLIED, None)
    if applied is not None:
        made = applied.plan
        facts["plan"] = [look.method(each) for each in made.methods], made.length, made.geometry.window
    return _digest(facts)


def stamp(model: Any) -> tuple[Any, ...]:
    """What differs in this process once a model was changed; cheap enough for every call.

    Equal stamps mean that no tensor was written to or replaced and no plain setting of a module, a configuration or
    the tokenizer is another one; other stamps mean nothing: compare identities. Edits of ``.data`` are not seen.
    """
    found: list[Any] = [getattr(anatomy.transformer(model).base_model, anatomy.APPLIED, None)]
    configs: dict[int, Any] = {}
    for module in model.modules():
        held, moving = vars(module), _moving(module)
        found += (type(module), *(len(held[kind]) for kind in _HOOKS))
        for name, value in held.items():
            if type(value) in _PLAIN:
                if name not in _INTERNAL and "cache" not in name:
                    found.append(value)
            elif name == "config":
                configs[id(value)] = value
        for kind in ("_parameters", "_buffers"):
            for name, tensor in held[kind].items():
                if tensor is not None and name not in moving:
                    found += (tensor.data_ptr(), version(tensor))
    if anatomy.is_pipeline(model):
        found += [model.max_seq_length, str(model.prompts), len(model.tokenizer)]
        configs[id(model.tokenizer)] = model.tokenizer
    for config in configs.values():
        found += [value for value in vars(config).values() if type(value) in _PLAIN]
    found += [(path, state_of(path)) for path in (found[0].plan.files if found[0] else ())]
    return tuple(found)


class _Look:
    """One look at a model: what is met twice is told once, by its digest."""

    def __init__(self, contents: dict[int, str]) -> None:
        self.contents = contents
        self.met: dict[int, tuple[Any, str]] = {}  # the object too, so that its id stays its own

    def module(self, module: nn.Module) -> str:
        """A module with all below it."""
        moving = _moving(module)
        settings = {
            name: value
            for name, value in vars(module).copy().items()
            if name not in _INTERNAL | _KEPT_BESIDE | moving
            and "cache" not in name
            and not name.startswith(anatomy.APPLIED)
        }
        return self._once(
            module,
            lambda: [
                type(module).__qualname__,
                self.settings(settings),
                [_name(hook) for kind in _HOOKS for hook in vars(module)[kind].values()],
                [(name, self.told(one)) for name, one in tensors(module).items() if name not in moving],
                [(name, self.told(child)) for name, child in module._modules.items()],
            ],
        )

    def settings(self, values: Mapping[str, Any]) -> list[Any]:
        """Attributes in the order of their names."""
        return [(name, self.told(values[name])) for name in sorted(values)]

    def method(self, method: Any) -> list[Any]:
        """A method by its parameters, its files by their content."""
        files = {str(path): digest_of(path, PlanError) for path in getattr(method, "files", ())}
        values = {name: files.get(str(value), value) for name, value in vars(method).items()}
        return [type(method).__qualname__, self.settings(values), sorted(files.values())]

    def config(self, config: Any) -> list[Any]:
        """A configuration without names, places and what only training or logging reads."""
        attention = str(getattr(config, "_attn_implementation", None))
        return [type(config).__qualname__, attention, self.told(_without(config.to_dict()))]

    def tokenizer(self, tokenizer: Any) -> list[Any]:
        """A tokenizer without where its last call cut and how it padded."""
        kept = {
            name: value
            for name, value in vars(tokenizer).items()
            if name not in _NOT_OF_A_TOKENIZER and "cache" not in name and not name.endswith("_file")
        }
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is not None:
            parts = [_state(getattr(backend, part)) for part in _PARTS]
            added = backend.get_added_tokens_decoder()
            return [parts, self.told(added), backend.encode_special_tokens, self.settings(kept)]
        pieces = getattr(tokenizer, "sp_model", None)
        proto = _digest(pieces.serialized_model_proto().hex()) if pieces is not None else ""
        return [type(tokenizer).__qualname__, proto, self.told(tokenizer.get_vocab()), self.settings(kept)]

    def told(self, value: Any) -> Any:
        """Any value as JSON."""
        if value is None or (isinstance(value, (bool, int, float, str)) and not isinstance(value, enum.Enum)):
            return value
        if isinstance(value, Tensor):
            content = self.contents.get(id(value)) or digests([value])[id(value)]
            return [str(value.dtype), list(value.shape), content]
        if isinstance(value, Mapping):
            return sorted([json.dumps(self.told(key)), self.told(each)] for key, each in value.items())
        if isinstance(value, (list, tuple)):
            return [self.told(each) for each in value]
        if isinstance(value, (set, frozenset)):
            return sorted(json.dumps(self.told(each)) for each in value)
        if isinstance(value, (bytes, np.ndarray, np.generic)):
            return [str(getattr(value, "dtype", "")), hashlib.sha256(np.asarray(value).tobytes()).hexdigest()]
        if isinstance(value, (torch.dtype, enum.Enum)) or type(value).__name__ == "AddedToken":
            return str(value) if not isinstance(value, enum.Enum) else self.told(value.value)
        if isinstance(value, functools.partial):
            return [_name(value.func), self.told(value.args), self.told(value.keywords)]
        if isinstance(value, nn.Module):
            return self.module(value)
        if callable(value) and not hasattr(value, "get_vocab"):
            return _name(value)
        return self._once(value, lambda: self._object(value))

    def _object(self, value: Any) -> list[Any]:
        if hasattr(value, "to_dict"):
            return self.config(value)
        if hasattr(value, "get_vocab"):
            return self.tokenizer(value)
        return [type(value).__qualname__, self.settings(dict(getattr(value, "__dict__", {})))]

    def _once(self, value: Any, tell: Callable[[], Any]) -> str:
        if id(value) not in self.met:
            self.met[id(value)] = value, "within itself"
            self.met[id(value)] = value, _digest(tell())
        return self.met[id(value)][1]


def _moving(module: nn.Module) -> frozenset[str]:
    """Names of what a rotary module computes from its last input: transformers' types dynamic and longrope."""
    kinds = vars(module).get("rope_type")
    if kinds is None:
        return _NOTHING
    named = kinds.items() if isinstance(kinds, dict) else [("", kinds)]
    prefixes = [f"{name}_" if name else "" for name, kind in named if "dynamic" in str(kind) or kind == "longrope"]
    return frozenset(f"{prefix}{name}" for prefix in prefixes for name in ("inv_freq", "long_inv_freq"))


def _unread(model: Any) -> nn.Module | None:
    """The pooler of a pipeline's transformer, where the pipeline reads token states alone."""
    if not anatomy.is_pipeline(model):
        return None
    read = {str(one.get("method_output_name")) for one in getattr(model[0], "modality_config", {}).values()}
    found = getattr(anatomy.transformer(model), "pooler", None)
    return found if read == {"last_hidden_state"} and isinstance(found, nn.Module) else None


def _window(model: Any) -> int | None:
    try:
        return inspect(model).window
    except InspectError:
        return None


def _without(values: Any) -> Any:
    if isinstance(values, dict):
        return {name: _without(value) for name, value in values.items() if name not in _NOT_OF_A_CONFIG}
    return values


def _name(function: Any) -> str:
    return str(getattr(function, "__qualname__", None) or type(function).__qualname__)


def _state(part: Any) -> str:
    return hashlib.sha256(part.__getstate__()).hexdigest() if part is not None else ""


def _digest(facts: Any) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode("utf-8", "backslashreplace")).hexdigest()
