"""Bad input: a typed error with numbers and a hint, and nothing half-written."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

import longspan
from longspan.storage import folder

MODEL = "sentence-transformers/all-MiniLM-L6-v2"


@pytest.fixture(scope="module")
def longer() -> object:
    return longspan.extend(longspan.load(MODEL), to=640, method="tile")


def test_an_existing_folder_is_refused(longer: object, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(longspan.StorageError, match="exists already"):
        longspan.save(longer, tmp_path / "mine")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_full_disk_is_told_before_writing(longer: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")(100, 93, 7)
    monkeypatch.setattr(folder.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(longspan.StorageError, match=r"needs \d\d,\d\d\d,\d\d\d bytes, and 7 are free"):
        longspan.save(longer, tmp_path / "longer")
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_halfway_leaves_nothing(tmp_path: Path) -> None:
    # A real write error: no file of this process may grow past one megabyte.
    script = (
        "import resource, signal, sys, longspan\n"
        f"model = longspan.extend(longspan.load({MODEL!r}), to=640, method='tile')\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))\n"
        "try:\n    longspan.save(model, sys.argv[1])\n"
        "except longspan.StorageError as error:\n    print(error)\n"
        "assert not hasattr(model[0].auto_model.config, 'longspan')\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "longer")], capture_output=True, text=True, check=False
    )
    assert re.search("could not be written.*hint:", run.stdout, flags=re.DOTALL), run.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_failed_extension_leaves_the_model_unchanged() -> None:
    model = longspan.load(MODEL)
    before, config = longspan.encode(model, ["a text"]).vectors, model[0].auto_model.config.to_dict()
    for method in ("yarn", "tile + grouped", "nonsense", "temperature", "tile(rows='many')"):
        with pytest.raises(longspan.LongspanError, match="hint: "):
            longspan.extend(model, to=1024, method=method)
    with pytest.raises(longspan.PlanError, match="256"):
        longspan.extend(model, to=256, method="tile")
    assert np.array_equal(longspan.encode(model, ["a text"]).vectors, before)
    assert model[0].auto_model.config.to_dict() == config
    assert model.max_seq_length == 256


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", b"{ not json"),
        ("config.json", b'{"model_type": "spaceship"}'),
        ("model.safetensors", b"\x00" * 100),
        ("tokenizer.json", b"{}"),
        ("config.json", None),
        ("model.safetensors", None),
    ],
)
def test_a_damaged_folder_is_a_storage_error(
    minilm_path: str, name: str, content: bytes | None, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(minilm_path, tmp_path / "model"))
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(longspan.StorageError, match="cannot be loaded"):
        longspan.load(folder)


def test_a_damaged_plan_is_told(longer: object, tmp_path: Path) -> None:
    folder = Path(longspan.save(longer, tmp_path / "longer"))
    config = json.loads((folder / "config.json").read_text())
    config["longspan"] = {"methods": "tile"}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(longspan.LongspanError, match="stored plan"):
        longspan.load(folder)
    with pytest.raises(longspan.LongspanError, match="stored plan"):
        longspan.verify(folder)


def test_saving_or_verifying_an_unextended_model_is_refused(minilm_path: str, tmp_path: Path) -> None:
    with pytest.raises(longspan.StorageError, match="not extended"):
        longspan.save(longspan.load(MODEL), tmp_path / "same")
    with pytest.raises(longspan.StorageError, match="holds no plan"):
        longspan.verify(minilm_path)
    with pytest.raises(longspan.StorageError, match="cannot be read"):
        longspan.verify(tmp_path / "nowhere")
