"""Engines: the same states whatever computes them, the model left alone, clear refusals."""

from __future__ import annotations

import importlib
import shutil
import threading

import pytest
import torch
from torch.nn.functional import cosine_similarity

import longspan
from longspan.encoding.engines import engine
from longspan.encoding.engines.torch_ import TorchEngine
from longspan.errors import EncodeError
from tests.laws.cases import fresh
from tests.models import build

LENGTHS = (7, 130, 31, 31, 64)


def rows(lengths=LENGTHS, vocabulary=30000):
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(1000, vocabulary, (length,), generator=generator).tolist() for length in lengths]


def reference(model, row):
    with torch.inference_mode():
        return model[0].auto_model(input_ids=torch.tensor([row])).last_hidden_state[0]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("exports")


@pytest.fixture(scope="module")
def made(minilm, cache):
    """One engine of each kind on the first two layers, on one export of each backend."""
    kinds = [("onnx", "float32"), ("onnx", "int8"), ("openvino", "float32"), ("openvino", "int8")]
    return {f"{backend} {dtype}": engine(minilm, backend, dtype, layers=2, cache=cache) for backend, dtype in kinds}


def pooled(states):
    """Means over real tokens, for padding holds zeros."""
    return torch.stack([s[s.abs().sum(-1) > 0].mean(0) for s in states])


def test_the_torch_engine_packs_minilm_and_gives_its_states(minilm) -> None:
    ours = engine(minilm)
    assert isinstance(ours, TorchEngine)
    assert ours.packs
    assert ours.name == "torch float32"
    states = ours.states(rows())
    assert states.shape == (5, 130, 384)
    for row, found in zip(rows(), states, strict=True):
        torch.testing.assert_close(found[: len(row)], reference(minilm, row), rtol=0, atol=1e-5)
        assert not found[len(row) :].any()


@pytest.mark.parametrize("kind", ["onnx float32", "openvino float32"])
def test_an_exported_engine_gives_the_same_states(minilm, made, kind) -> None:
    expected, found = engine(minilm, layers=2).states(rows()), made[kind].states(rows())
    assert made[kind].name == kind
    torch.testing.assert_close(found, expected, rtol=0, atol=5e-5)


@pytest.mark.parametrize("kind", ["onnx int8", "openvino int8"])
def test_eight_bits_keep_the_direction_of_vectors(minilm, made, kind) -> None:
    expected, found = pooled(engine(minilm, layers=2).states(rows())), pooled(made[kind].states(rows()))
    assert cosine_similarity(expected, found).min() > 0.97  # random words; real text is nearer


def test_bfloat16_states_come_back_in_float32(minilm) -> None:
    ours = engine(minilm, dtype="bfloat16")
    found = ours.states(rows())
    assert found.dtype == torch.float32
    assert ours.name == "torch bfloat16"
    assert cosine_similarity(pooled(engine(minilm).states(rows())), pooled(found)).min() > 0.999
    assert next(minilm.parameters()).dtype == torch.float32


def test_the_model_is_left_alone(minilm) -> None:
    inner = minilm[0].auto_model
    before = (inner.config._attn_implementation, inner.training, [type(m) for m in inner.modules()])
    engine(minilm).states(rows())
    engine(minilm, layers=2)
    assert before == (inner.config._attn_implementation, inner.training, [type(m) for m in inner.modules()])


def test_threads_share_an_engine_and_the_model(minilm) -> None:
    ours, found = engine(minilm), {}
    expected = [ours.states([row])[0] for row in rows()]

    def run(place):
        for _ in range(3):
            found[place] = ours.states([rows()[place]])[0]
            reference(minilm, rows()[place])

    threads = [threading.Thread(target=run, args=(place,)) for place in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for place in range(3):
        torch.testing.assert_close(found[place], expected[place], rtol=0, atol=5e-6)


def test_an_extended_model_packs_beyond_its_window(minilm) -> None:
    with longspan.extended(minilm, 1024, "tile"):
        ours = engine(minilm)
        assert ours.packs
        for row, found in zip(rows((700, 20)), ours.states(rows((700, 20))), strict=True):
            torch.testing.assert_close(found[: len(row)], reference(minilm, row), rtol=0, atol=1e-5)


@pytest.mark.parametrize("method", ["grouped", "interpolate + log_n"])
def test_plans_that_look_at_lengths_are_padded_and_not_exported(minilm, method) -> None:
    with longspan.extended(minilm, 1024, method):
        ours = engine(minilm)
        assert not ours.packs
        for row, found in zip(rows((600, 20)), ours.states(rows((600, 20))), strict=True):
            torch.testing.assert_close(found[: len(row)], reference(minilm, row), rtol=0, atol=1e-5)
        for backend in ("onnx", "openvino"):
            with pytest.raises(EncodeError, match="1024 tokens"):
                engine(minilm, backend)


@pytest.mark.parametrize("architecture", ["bert", "distilbert", "llama", "modernbert", "gpt2"])
def test_the_first_layers_alone(architecture) -> None:
    model, ids = build(architecture), torch.arange(5, 15)[None]
    with torch.no_grad():
        expected = model(input_ids=ids, output_hidden_states=True).hidden_states[1]
    found = engine(model, layers=1).states(ids.tolist())
    if architecture in ("bert", "distilbert"):  # the others have a norm behind their layers
        torch.testing.assert_close(found, expected)
    assert not torch.allclose(found, engine(model).states(ids.tolist()), atol=1e-3)
    with pytest.raises(EncodeError, match="layers, not 9"):
        engine(model, layers=9)
    with pytest.raises(EncodeError, match="layers, not 0"):
        engine(model, layers=0)


def test_an_export_is_kept_and_found_again(cache, made) -> None:
    kept = {path.name: path.stat().st_mtime_ns for path in cache.iterdir()}
    assert {name.rsplit(".")[-1] for name in kept} == {"onnx", "xml", "bin", "seal"}
    assert len(kept) == 7


def test_an_export_of_what_the_model_was_is_not_taken() -> None:
    from longspan.encoding.engines.export import fingerprint

    model = fresh("bert")
    before = fingerprint(model, None)
    assert before == fingerprint(fresh("bert"), None) != fingerprint(model, 1)
    model.embeddings.token_type_ids.add_(1)  # a buffer that no file of weights holds
    assert fingerprint(model, None) != before


def _flipped(data: bytes) -> bytes:
    return data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 0x40]) + data[len(data) // 2 + 1 :]


def _cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


@pytest.mark.parametrize(
    ("backend", "damages"),
    [
        ("onnx", [("onnx", _flipped), ("onnx", _cut), ("onnx", None), ("seal", _cut), ("seal", None)]),
        ("openvino", [("bin", _flipped)]),
    ],
)
def test_an_export_that_is_not_what_was_made_is_made_anew(tmp_path, backend, damages) -> None:
    model, ids = fresh("bert"), [[2, 5, 6, 7, 3]]
    expected = engine(model, backend, cache=tmp_path).states(ids)
    for suffix, damage in damages:
        (path,) = tmp_path.glob(f"*.{suffix}")
        whole = path.stat().st_mtime_ns
        path.unlink() if damage is None else path.write_bytes(damage(path.read_bytes()))
        torch.testing.assert_close(engine(model, backend, cache=tmp_path).states(ids), expected, rtol=0, atol=0)
        assert path.stat().st_mtime_ns != whole
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    engine(model, backend, cache=tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == kept


def test_eight_bits_are_never_made_of_a_damaged_export(tmp_path) -> None:
    model, ids = fresh("bert"), [[2, 5, 6, 7, 3]]
    expected = engine(model, "onnx", "int8", cache=tmp_path).states(ids)
    for path in tmp_path.glob("*.onnx"):
        path.write_bytes(_cut(path.read_bytes()))
    torch.testing.assert_close(engine(model, "onnx", "int8", cache=tmp_path).states(ids), expected, rtol=0, atol=0)


@pytest.mark.parametrize("backend", ["onnx", "openvino"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("ofstream failed")])
def test_a_full_disk_is_not_taken_for_what_cannot_be_exported(tmp_path, monkeypatch, backend, error) -> None:
    def full(*_, **__):
        raise error

    monkeypatch.setattr("torch.onnx.export", full)
    monkeypatch.setattr("openvino.save_model", full)
    if isinstance(error, RuntimeError):
        with pytest.raises(EncodeError, match=r"cannot be exported to .*: ofstream failed"):
            engine(fresh("bert"), backend, cache=tmp_path)
        monkeypatch.setattr("shutil.disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 0))
    with pytest.raises(EncodeError, match=r"could not be written: No space left on device.*\nhint: free some space"):
        engine(fresh("bert"), backend, cache=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_cache_that_cannot_be_written_is_told(tmp_path, monkeypatch) -> None:
    def refused(*_, **__):
        raise OSError(30, "Read-only file system")

    model = fresh("bert")
    engine(model, "onnx", cache=tmp_path)
    monkeypatch.setattr("tempfile.mkdtemp", refused)
    engine(model, "onnx", cache=tmp_path)
    with pytest.raises(EncodeError, match=r"could not be written: Read-only.*\nhint: .*name another folder"):
        engine(model, "onnx", "int8", cache=tmp_path)
    with pytest.raises(EncodeError, match="cannot be made: Read-only"):
        engine(model, "onnx")


def test_an_export_without_a_cache_goes_with_its_engine(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ours = engine(fresh("bert"), "onnx")
    assert list(tmp_path.iterdir())
    del ours
    assert not list(tmp_path.iterdir())


def test_an_unequal_export_is_refused(monkeypatch) -> None:
    from longspan.encoding.engines import export

    monkeypatch.setattr(export, "_LEAST", 1.1)
    with pytest.raises(EncodeError, match="cosine of"):
        engine(fresh("bert"), "onnx")


@pytest.mark.parametrize(
    ("backend", "dtype", "told"),
    [("tvm", None, "torch, onnx, openvino"), ("torch", "int8", "onnx or openvino"), ("onnx", "bfloat16", "torch")],
)
def test_unknown_combinations_are_told(minilm, backend, dtype, told) -> None:
    with pytest.raises(EncodeError, match=told):
        engine(minilm, backend, dtype)


def test_a_cache_without_an_export_is_told(minilm, tmp_path) -> None:
    with pytest.raises(EncodeError, match="nothing to keep"):
        engine(minilm, cache=tmp_path)


@pytest.mark.parametrize("backend", ["onnx", "openvino"])
def test_a_missing_package_is_told_with_what_installs_it(minilm, monkeypatch, backend) -> None:
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(EncodeError, match=rf"longspan\[{backend}\]"):
        engine(minilm, backend)


@pytest.mark.parametrize("given", [[], [[5], []]])
def test_rows_without_tokens_are_refused(minilm, given) -> None:
    with pytest.raises(EncodeError, match=r"[rR]ow"):
        engine(minilm).states(given)
