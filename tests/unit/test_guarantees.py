"""What is promised is held by tests that exist."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PAGE = (TESTS.parent / "docs" / "guarantees.md").read_text(encoding="utf-8")
ROWS = [line for line in PAGE.splitlines() if re.match(r"\| (?!promise)", line)]


@cache
def functions_of(file: str) -> set[str]:
    tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip()[:60])
def test_each_promise_is_held_by_tests_that_exist(row: str) -> None:
    named = re.findall(r"`([\w/.]*)::(\w+)`", row.split("|")[2])
    assert named
    file = ""
    for place, test in named:
        file = place or file
        assert test in functions_of(file), f"{file} has no {test}"
