"""Specification strings: ``yarn(beta_fast=16) + log_n`` to components and back."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, Union, get_args, get_origin, get_type_hints

from longspan import registry
from longspan.card import Card, MethodCard
from longspan.errors import LongspanError, SpecError

# A dash in a name; what is quoted, such as a path, is matched as a whole and kept.
_DASH = re.compile(r"""'[^']*'|"[^"]*"|(?<=[A-Za-z])-(?=[A-Za-z])""")
_CONSTANTS = {"true": True, "false": False, "none": None}


def parse(text: str, kind: type[Card] = MethodCard) -> tuple[Any, ...]:
    """Read components from their specification.

    Args:
        text: Names joined by ``+``, each with optional keyword arguments. Case and dashes
            in names are ignored: ``NTK-by-parts(beta_fast=16) + log_n``.
        kind: Which room the names are looked up in.

    Returns:
        One instance per name, in order.

    Raises:
        SpecError: The text does not parse, or a name, parameter or value is not known.

    Example:
        >>> parse("yarn(beta_fast=16) + tile")
        (YaRN(beta_fast=16.0, beta_slow=1.0, truncate=True), Tile())
    """
    try:
        tree = ast.parse(_DASH.sub(lambda found: "_" if found[0] == "-" else found[0], text.strip()), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise SpecError(f"{text!r} is not a specification: {error}.", "write name(parameter=value) + name") from None
    try:
        return tuple(_build(node, text, kind) for node in _terms(tree))
    except RecursionError:
        raise SpecError(f"{text[:40]!r}... nests too deeply.", "write name(parameter=value) + name") from None


def write(components: Sequence[Any]) -> str:
    """The specification of components; ``parse`` reads it back."""
    return " + ".join(repr(component) for component in components)


def short(components: Sequence[Any]) -> str:
    """The specification with only the parameters that differ from their defaults."""
    return " + ".join(_short(component) for component in components)


def _short(component: Any) -> str:
    module, values = type(component).__module__, {f.name: getattr(component, f.name) for f in fields(component)}
    name = module.rsplit(".", 1)[-1] if module.startswith("longspan.") else type(component).__name__
    changed = ", ".join(f"{f.name}={values[f.name]!r}" for f in fields(component) if values[f.name] != f.default)
    return f"{name}({changed})" if changed else name


def _terms(node: ast.expr) -> list[ast.expr]:
    terms: list[ast.expr] = []
    while isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        terms.append(node.right)
        node = node.left
    return [node, *reversed(terms)]


def _build(node: ast.expr, text: str, kind: type[Card]) -> Any:
    call = node if isinstance(node, ast.Call) else ast.Call(func=node, args=[], keywords=[])
    if not isinstance(call.func, ast.Name) or call.args or any(k.arg is None for k in call.keywords):
        raise SpecError(f"{text!r} is not a specification.", "write name(parameter=value) + name")
    component = registry.load(call.func.id, kind)
    hints = get_type_hints(component)
    values: dict[str, Any] = {}
    for keyword in call.keywords:
        name = str(keyword.arg)
        if name not in {field.name for field in fields(component)}:
            known = ", ".join(f"{f.name}={f.default!r}" for f in fields(component)) or "none"
            raise SpecError(f"{call.func.id} has no parameter {name!r}.", f"its parameters are: {known}")
        if name in values:
            raise SpecError(f"{call.func.id} is given {name!r} twice.", "keep one of the values")
        values[name] = _checked(f"{call.func.id}({name})", _value(keyword.value), hints[name])
    try:
        return component(**values)
    except LongspanError:
        raise
    except (TypeError, ValueError) as error:
        raise SpecError(f"{text!r} cannot be built: {error}.", "see `longspan methods NAME`") from None


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Name) and node.id.lower() in _CONSTANTS:
        return _CONSTANTS[node.id.lower()]
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError):
        raise SpecError(f"{ast.unparse(node)!r} is not a value.", "quote texts: by='position'") from None


def _checked(name: str, value: Any, hint: Any) -> Any:
    accepted = get_args(hint) if get_origin(hint) in (Union, type(int | str)) else (hint,)
    for option in accepted:
        plain_type = get_origin(option) or option
        if str(plain_type) == "typing.Literal":
            if value in get_args(option):
                return value
        elif plain_type is float:
            if _is_number(value):
                return float(value)
        elif plain_type is tuple and isinstance(value, (tuple, list)):
            return tuple(value)
        elif isinstance(value, plain_type) and not (plain_type is int and isinstance(value, bool)):
            return value
    wanted = " or ".join(word for option in accepted for word in _words(option))
    raise SpecError(f"{name} takes {wanted}, got {value!r}.", f"write {name.split('(')[0]}(...) with such a value")


def _is_number(value: Any) -> bool:
    # Not infinite either: its repr would not parse back.
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 10.0**300


def _words(option: Any) -> list[str]:
    if str(get_origin(option)) == "typing.Literal":
        return [repr(choice) for choice in get_args(option)]
    return ["none" if option is type(None) else str(getattr(option, "__name__", option))]
