"""Any Python value as JSON by all that it holds: equal only where the values are; what cannot be told is refused."""

from __future__ import annotations

import copyreg
import enum
import functools
import hashlib
import json
import logging
import operator
import sys
import threading
import types
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from longspan.errors import InspectError

# What a computation may hold, and does not depend on.
_BESIDE: tuple[type, ...] = (
    *(logging.Logger, logging.Handler, RemovableHandle, Executor, threading.Thread, threading.Event),
    *(threading.Condition, threading.local, type(threading.Lock()), type(threading.RLock())),
    *(weakref.ReferenceType, weakref.WeakKeyDictionary, weakref.WeakValueDictionary, weakref.WeakSet),
)
_NAMED = (torch.dtype, torch.device, torch.layout, torch.memory_format, np.dtype)
_BUILTIN: tuple[type, ...] = (
    *(types.BuiltinFunctionType, types.MethodWrapperType, types.WrapperDescriptorType),
    *(types.MethodDescriptorType, types.ClassMethodDescriptorType),
)

_MADE = 1 << 9
"""Flag of a class that was made while the program ran, by a class statement or a call; others are written in C."""


class Teller:
    """Tells values; what is met twice is told once, by its digest."""

    def __init__(self, content: Callable[[Tensor], str]) -> None:
        self.content = content
        self.met: dict[int, tuple[Any, str]] = {}  # the object too, so that its id stays its own
        self._within: list[int] = []  # containers that are being told

    def told(self, value: Any) -> Any:
        """Any value as JSON.

        Raises:
            InspectError: It holds something that cannot be told apart.
        """
        kind = type(value)
        if value is None or kind in (bool, int, float, str):
            return value
        if isinstance(value, Tensor):
            return {"tensor": [str(value.dtype), list(value.shape), self.content(value)]}
        if isinstance(value, enum.Enum):
            return self.told(value.value)
        if isinstance(value, (list, tuple, Mapping, set, frozenset)) and not isinstance(value, _BESIDE):
            return self._container(value)
        if isinstance(value, (bool, int, float, str)):
            return {kind.__qualname__: str(value)}
        if isinstance(value, (bytes, bytearray, memoryview)):
            return {kind.__name__: hashlib.sha256(value).hexdigest()}
        if isinstance(value, (np.ndarray, np.generic)):
            return self._array(np.asarray(value))
        if isinstance(value, _NAMED) or kind.__name__ == "AddedToken":
            return {kind.__name__: repr(value)}
        if isinstance(value, types.ModuleType):
            return {"module": value.__name__}
        if isinstance(value, _BESIDE):
            return {"beside": kind.__qualname__}
        return {"of": self.once(value, lambda: self.any(value))}

    def once(self, value: Any, tell: Callable[[], Any]) -> str:
        """The digest of what is told of a value."""
        if id(value) not in self.met:
            self.met[id(value)] = value, "within itself"
            self.met[id(value)] = value, digest(tell())
        return self.met[id(value)][1]

    def named(self, values: Mapping[str, Any]) -> list[Any]:
        """Attributes in the order of their names."""
        return [(name, self.told(values[name])) for name in sorted(values)]

    def kind(self, kind: type) -> Any:
        """A class by its name; one that was made while the program ran by what it says, too."""
        name, home = kind.__qualname__, sys.modules.get(kind.__module__)
        if not kind.__flags__ & _MADE or kind.__module__.startswith("torch."):  # parametrised ones: parts say how
            return name
        try:
            if operator.attrgetter(name)(home) is kind:
                return name
        except AttributeError:
            pass
        return {"of": self.once(kind, lambda: [name, [self.kind(base) for base in kind.__bases__], self._says(kind)])}

    def any(self, value: Any) -> Any:
        """A function, a class or an object."""
        if isinstance(value, type):
            return ["class", self.kind(value)]
        if isinstance(value, types.FunctionType):
            return self._function(value)
        if isinstance(value, types.MethodType):
            return ["method", self.told(value.__func__), self.told(value.__self__)]
        if isinstance(value, functools.partial):
            return ["partial", self.told(value.func), self.told(value.args), self.told(value.keywords)]
        if isinstance(value, _BUILTIN):
            return ["builtin", str(getattr(value, "__qualname__", "")), self.told(getattr(value, "__self__", None))]
        if isinstance(value, property):
            return ["property", self.told(value.fget)]
        if isinstance(value, (staticmethod, classmethod)):
            return [type(value).__name__, self.told(value.__func__)]
        if isinstance(value, types.CodeType):
            return ["code", value.co_code.hex(), value.co_names, [self.told(each) for each in value.co_consts]]
        return self._object(value)

    def _container(self, value: Any) -> Any:
        if id(value) in self._within:
            return {"within": len(self._within) - self._within.index(id(value))}
        self._within.append(id(value))
        try:
            if isinstance(value, Mapping):
                return {"map": sorted([json.dumps(self.told(key)), self.told(each)] for key, each in value.items())}
            if isinstance(value, (set, frozenset)):
                return {"set": sorted(json.dumps(self.told(each)) for each in value)}
            told = [self.told(each) for each in value]
            return told if type(value) is list else {type(value).__qualname__: told}
        finally:
            self._within.pop()

    def _array(self, value: np.ndarray) -> Any:
        held = value.tolist() if value.dtype.hasobject else None
        content = self.told(held) if held is not None else hashlib.sha256(value.tobytes()).hexdigest()
        return {"array": [str(value.dtype), list(value.shape), content]}

    def _function(self, value: types.FunctionType) -> Any:
        cells = []
        for cell in value.__closure__ or ():
            try:
                cells.append(self.told(cell.cell_contents))
            except ValueError:  # noqa: PERF203 it is empty
                cells.append({"empty": 0})
        # A name says what the code is where it can be imported by it.
        code = self.told(value.__code__) if "<" in value.__qualname__ else None
        given = [self.told(value.__defaults__), self.told(value.__kwdefaults__)]
        return ["function", value.__qualname__, code, given, cells]

    def _says(self, kind: type) -> list[Any]:
        said = {name: each for name, each in vars(kind).items() if not name.startswith("__") or name == "__call__"}
        return self.named({name: each for name, each in said.items() if name not in ("_abc_impl", *_slots(kind))})

    def _object(self, value: Any) -> Any:
        kind = type(value)
        if isinstance(value, torch.ScriptObject):
            try:
                return ["script", str(value._type()), self.told(value.__getstate__())]
            except (RuntimeError, AttributeError, TypeError):
                raise _refusal(value) from None
        above = [each for each in kind.__mro__ if each is not object]
        slots = {name for each in above for name in _slots(each)}
        held = {name: getattr(value, name) for name in slots if hasattr(value, name)}
        held |= getattr(value, "__dict__", {})
        shown = hasattr(value, "__dict__") or any("__slots__" in vars(each) for each in above) or not above
        if not shown or not all(each.__flags__ & _MADE for each in above):  # a class in C holds what it does not show
            return ["object", self.kind(kind), self.named(held), self._reduced(value)]
        return ["object", self.kind(kind), self.named(held)]

    def _reduced(self, value: Any) -> Any:
        """What pickle keeps of an object that shows no attributes."""
        try:
            known = copyreg.dispatch_table.get(type(value))
            kept = known(value) if known else value.__reduce_ex__(4)
        except Exception:  # noqa: BLE001 - what a class of C raises is its own affair
            raise _refusal(value) from None
        if isinstance(kept, str):
            return kept
        return [self.told(list(part) if isinstance(part, Iterator) else part) for part in kept]


def digest(facts: Any) -> str:
    """SHA-256 of JSON."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode("utf-8", "backslashreplace")).hexdigest()


def _slots(kind: type) -> Iterable[str]:
    found = vars(kind).get("__slots__", ())
    names = (found,) if isinstance(found, str) else tuple(found)
    return [name for name in names if name not in ("__dict__", "__weakref__")]


def _refusal(value: Any) -> InspectError:
    return InspectError(
        f"The model holds a {type(value).__module__}.{type(value).__qualname__} that cannot be told apart from others.",
        "remove it from the model",
    )
