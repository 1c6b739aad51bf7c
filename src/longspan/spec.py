"""Specification strings: ``yarn(beta_fast=16) + log_n`` to components and back."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from longspan import registry
from longspan.card import Card, MethodCard
from longspan.errors import LongspanError, SpecError
from longspan.values import declared, fitted

# A dash in a name; what is quoted, such as a path, is matched as a whole and kept.
_DASH = re.compile(r"""'[^']*'|"[^"]*"|(?<=[A-Za-z])-(?=[A-Za-z])""")
_CONSTANTS = {"true": True, "false": False, "none": None}
_LONGEST = 2**16
"""Characters of a specification: thousands of factors fit, and no parser is brought to its end."""


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
    if len(text) > _LONGEST:
        raise SpecError(f"A text of {len(text):,} characters is not a specification.", f"write at most {_LONGEST:,}")
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
    hints = declared(component)
    values: dict[str, Any] = {}
    for keyword in call.keywords:
        name = str(keyword.arg)
        if name not in hints:
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
    try:
        return fitted(value, hint)
    except ValueError as wanted:
        raise SpecError(
            f"{name} takes {wanted}, got {value!r}.", f"write {name.split('(')[0]}(...) with such a value"
        ) from None
