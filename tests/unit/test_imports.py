"""What a plain import costs: nothing heavy, and every promised name is there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import longspan

HEAVY = ("torch", "transformers", "sentence_transformers", "numpy")


@pytest.mark.parametrize(
    "code",
    [
        "import longspan",
        "from longspan import registry; registry.methods(); registry.benchmarks()",
        "from longspan import registry; registry.strategies()",
        "import longspan; dir(longspan); longspan.__all__; longspan.__version__",
        "from longspan.errors import LongspanError",
        "from longspan import Geometry",
    ],
)
def test_nothing_heavy_is_imported_by(code: str) -> None:
    check = f"{code}\nimport sys\nprint([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


def test_all_is_sorted() -> None:
    assert longspan.__all__ == sorted(longspan.__all__)


@pytest.mark.parametrize("name", longspan.__all__)
def test_every_promised_name_is_there_and_documented(name: str) -> None:
    assert getattr(longspan, name).__doc__
    assert name in dir(longspan)


def test_a_name_that_was_not_promised_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nosuch'"):
        _ = longspan.nosuch


def test_no_promised_name_is_a_module_that_would_replace_it() -> None:
    package = Path(longspan.__file__).parent
    modules = {path.stem for path in package.glob("*.py")} | {path.name for path in package.iterdir() if path.is_dir()}
    assert not modules & set(longspan.__all__)
