"""What a model is: one digest of all that its results depend on."""

from __future__ import annotations

import functools
import hashlib
import types
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from longspan.contents import digests, mark, tensors
from longspan.disk import digest_of
from longspan.errors import InspectError, PlanError
from longspan.inspection import inspect
from longspan.seams import anatomy
from longspan.telling import Teller, digest

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
    *("_prompt_length_mapping", "_declared_forward_params", "_load_adapter_kwargs", "_compiled_call_impl"),
    *("_is_torch_compile", "_output_capturing_hooks_installed", "_gradient_checkpointing_func", "_require_grads_hook"),
    *("_require_grads_hooks", "max_seq_len_cached", "_dora_cache", "_method_signature_cache"),
}
# Hooks that libraries add when a model is run or trained; they change no output.
_WATCHING = {"output_capturing_hook", "make_inputs_require_grads", "make_inputs_require_grad"}
_LIBRARIES = ("transformers.", "peft.")
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
    *("is_local", "_is_local", "padding_side", "_pad_token_type_id", "_cache_get_vocab"),
    *("_chat_template_suffix_cache",),
}
_NOTHING: frozenset[str] = frozenset()
_NOT_TOLD = _INTERNAL | _KEPT_BESIDE
_PARTS = ("normalizer", "pre_tokenizer", "post_processor", "decoder")


def identity(model: Any, *, tokenizer: Any = None, window: int | None = None) -> str:
    """SHA-256 of all that a model's results depend on.

    That is the content of weights and buffers, the configuration, the modules with their classes, settings and hooks,
    a pipeline's prompts and limits, the tokenizer, the plan a model is extended by, and the content of the files that
    the plan's methods read. Functions are told with what they enclose and what they were given, objects by all that
    they hold. Names and places are no part of it, nor is what changes by use or for training. It is the same in every
    process and for every copy.

    A pooler whose output a pipeline does not read plays no part: many checkpoints have none, and get a random one.

    Not seen: the code behind a class or function that can be imported by its name, and global variables; an edit of
    ``.data`` that leaves the sample of a tensor that was hashed before as it was (an edit of the tensor itself is
    seen); what a rotary module of type dynamic or longrope computed for its last input.

    Args:
        model: A SentenceTransformer or a transformers model.
        tokenizer: Of a transformers model, where it plays a part; a pipeline has its own.
        window: Trained length in tokens that is assumed, where it is not what the model says.

    Raises:
        InspectError: Weights are not in memory, or the model holds something that cannot be told apart.
        PlanError: A file of the plan's methods cannot be read.

    Cost: about a second a GB on one core; later calls hash only tensors that were changed, and take some 5 ms.
    """
    contents = digests(tensor for module in model.modules() for tensor in tensors(module).values())
    look = _Look(lambda tensor: contents.get(id(tensor)) or digests([tensor])[id(tensor)])
    facts = look.model(model)
    if tokenizer is not None:
        facts["tokenizer"] = look.tokenizer(tokenizer)
    if window is not None and window != _window(model):
        facts["window"] = window
    return digest(facts)


def stamp(model: Any) -> Any:
    """What differs in this process whenever ``identity`` does, without reading a tensor or a vocabulary as a whole.

    Other stamps mean nothing: compare identities. A model that holds what cannot be told has another one at each call.
    The vocabulary of a tokenizer counts by its size alone: it is never kept. Some 3 ms for a model of 100 tensors.

    Raises:
        PlanError: A file of the plan's methods cannot be read.
    """
    try:
        return digest(_Look(mark, whole=False).model(model))
    except InspectError:
        return object()


class _Look(Teller):
    """One look at a model."""

    def __init__(self, content: Callable[[Tensor], str], *, whole: bool = True) -> None:
        super().__init__(content)
        self.whole = whole  # vocabularies, too

    def model(self, model: Any) -> dict[str, Any]:
        """What there is to a model."""
        if pooler := _unread(model):
            self.met[id(pooler)] = pooler, "unread"
        facts: dict[str, Any] = {"model": self.told(model)}
        if anatomy.is_pipeline(model):
            facts["max_seq_length"] = model.max_seq_length
        applied = getattr(anatomy.transformer(model).base_model, anatomy.APPLIED, None)
        if applied is not None:
            made = applied.plan
            facts["plan"] = [self.method(each) for each in made.methods], made.length, made.geometry.window
        return facts

    def module(self, module: nn.Module) -> list[Any]:
        """A module with all below it."""
        if "_orig_mod" in module._modules and type(module).__name__ == "OptimizedModule":  # torch.compile
            return self.module(module._orig_mod)  # type: ignore[arg-type]
        held = vars(module).copy()
        beside = _moving(module)
        if getattr(getattr(held.get("forward"), "func", None), "__module__", "") == "accelerate.hooks":
            beside |= {"forward", "_old_forward"}  # it moves inputs to where the weights are
        settings = {
            name: value
            for name, value in held.items()
            if name not in _NOT_TOLD and name not in beside and not name.startswith(anatomy.APPLIED)
        }
        return [
            self.kind(type(module)),
            self.named(settings),
            [[self.told(hook) for hook in held[kind].values() if not _watches(hook)] for kind in _HOOKS],
            [(name, self.told(one)) for name, one in tensors(module).items() if name not in beside],
            [(name, self.told(child)) for name, child in module._modules.items()],
        ]

    def method(self, method: Any) -> list[Any]:
        """A method by its parameters, its files by their content."""
        files = {str(path): digest_of(path, PlanError) for path in getattr(method, "files", ())}
        values = {name: files.get(str(value), value) for name, value in vars(method).items()}
        return [type(method).__qualname__, self.named(_lists(values)), sorted(files.values())]

    def config(self, config: Any) -> list[Any]:
        """A configuration without names, places and what only training or logging reads."""
        attention = str(getattr(config, "_attn_implementation", None))
        return [type(config).__qualname__, attention, self.told(_lists(_without(config.to_dict())))]

    def tokenizer(self, tokenizer: Any) -> list[Any]:
        """A tokenizer without where its last call cut and how it padded."""
        kept = {
            name: value
            for name, value in vars(tokenizer).items()
            if name not in _NOT_OF_A_TOKENIZER and not name.endswith("_file")
        }
        settings = self.named(_lists(kept))
        bare = type(tokenizer).__module__.split(".")[0] == "tokenizers"  # a StaticEmbedding's
        backend = tokenizer if bare else getattr(tokenizer, "backend_tokenizer", None)
        if backend is not None:
            words = self._part(backend.model) if self.whole else backend.get_vocab_size()
            parts = [words, *(self._part(getattr(backend, part)) for part in _PARTS)]
            added = backend.get_added_tokens_decoder()
            return [parts, self.told(added), backend.encode_special_tokens, settings]
        if not self.whole:
            return [type(tokenizer).__qualname__, len(tokenizer), settings]
        pieces = getattr(tokenizer, "sp_model", None)
        proto = digest(pieces.serialized_model_proto().hex()) if pieces is not None else ""
        return [type(tokenizer).__qualname__, proto, self.told(tokenizer.get_vocab()), settings]

    def any(self, value: Any) -> Any:
        """A module, a configuration, a tokenizer, or what Python itself knows."""
        if isinstance(value, nn.Module):
            return self.module(value)
        owner = getattr(value, "func", value) if isinstance(value, functools.partial) else value
        owner = owner.__self__ if isinstance(owner, types.MethodType) else owner
        named = owner if isinstance(owner, types.FunctionType) else type(owner)
        if named.__module__.startswith("longspan.seams"):
            return named.__qualname__  # the plan says the rest; what it keeps changes by use
        if not isinstance(value, type) and hasattr(value, "to_dict"):
            return self.config(value)
        if not isinstance(value, type) and hasattr(value, "get_vocab"):
            return self.tokenizer(value)
        return super().any(value)

    def _part(self, part: Any) -> Any:
        """A part of a fast tokenizer."""
        if part is None:
            return ""
        try:
            return hashlib.sha256(part.__getstate__()).hexdigest()
        except Exception:  # noqa: BLE001 - that is what the library raises where it has no state
            kind = type(part).__name__
            raise InspectError(
                f"The tokenizer's {kind} is written in Python and cannot be told apart from others.",
                "use one of the parts that the tokenizers library has",
            ) from None


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


def _lists(values: Any) -> Any:
    """Values with lists for tuples: a file has no tuples."""
    if type(values) is dict:
        return {name: _lists(value) for name, value in values.items()}
    return [_lists(value) for value in values] if type(values) in (list, tuple) else values


def _watches(hook: Any) -> bool:
    named = str(getattr(hook, "__qualname__", "")).rpartition(".")[2]
    return named in _WATCHING and str(getattr(hook, "__module__", "")).startswith(_LIBRARIES)
