"""What reads from outside: for each reader how its input is mutated, and what shows that a result is right."""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from longspan import registry, spec
from longspan.card import MethodCard
from longspan.evaluation import score
from longspan.inspection import inspect
from longspan.planning import Plan, plan
from longspan.values import declared, fitted
from tests import models
from tests.fuzz.files import cache, job, jsonl, parquet, small
from tests.fuzz.mutations import VALUES, blurred, written
from tests.laws.cases import learned, rotary
from tests.scores import SCORES

Make = Callable[[random.Random], bytes]
Check = Callable[[bytes], None]


@dataclass(frozen=True)
class Target:
    """A reader.

    Attributes:
        name: What it reads.
        prepare: From a folder of its own, how a mutated input is made, and what reads it and checks the result.
    """

    name: str
    prepare: Callable[[Path], tuple[Make, Check]]


def _plans(folder: Path) -> tuple[Make, Check]:
    rope = ("yarn + log_n", "dca + ntk", "self_extend", "dynamic_yarn(step=8)", "gali + pi", "longrope(switch=true)")
    table = ("tile", "interpolate + su", "grouped + temperature(tau=0.8)")
    stored = [plan(rotary(8, window=64), text, 256).to_json() for text in rope]
    stored += [plan(learned(64), text, 256).to_json() for text in table]

    def check(data: bytes) -> None:
        try:
            read = json.loads(data)
        except (ValueError, RecursionError):  # the configuration it stands in cannot be read
            return
        made = Plan.from_json(read)
        made.describe()
        assert Plan.from_json(json.loads(json.dumps(made.to_json()))) == made

    return lambda draw: written(draw.choice(stored), draw), check


def _specs(folder: Path) -> tuple[Make, Check]:
    geometries = (rotary(8, window=64), rotary(8, window=64, role="encoder"), learned(64))
    plausible = (0, 1, 2, 8, 16, 63, 64, 100, 256, 0.1, 0.9, 1.0, 2.5, 32.0, 1e4, 1e6, True, False, None)
    plausible += ("length", "position", "su", "yarn", "none", "rotations", "silu", (1, 2, 2.5, 3), (1.0,) * 4)
    methods = {name: declared(registry.load(name, MethodCard)) for name in registry.methods()}

    def make(draw: random.Random) -> bytes:
        terms = []
        for name in draw.sample(sorted(methods), draw.choice((1, 1, 2, 3))):
            given = draw.sample(sorted(methods[name]), draw.randrange(len(methods[name]) + 1))
            fitting = [[value for value in plausible if _fits(value, methods[name][key])] for key in given]
            values = (draw.choice(each if draw.randrange(8) else VALUES) for each in fitting)
            terms.append(f"{name}({', '.join(f'{key}={value!r}' for key, value in zip(given, values, strict=True))})")
        text = " + ".join(terms).encode("utf-8", "surrogatepass")
        return blurred(text, draw) if draw.randrange(3) == 0 else text

    def check(data: bytes) -> None:
        text = data.decode("utf-8", "surrogatepass" if b"\xed\xa0\x80" in data else "replace")
        parts = spec.parse(text)
        assert spec.parse(spec.write(parts)) == parts
        made = plan(geometries[len(data) % 3], text, 256)
        made.describe()
        assert Plan.from_json(json.loads(json.dumps(made.to_json()))) == made

    return make, check


def _fits(value: Any, hint: Any) -> bool:
    try:
        fitted(value, hint)
    except ValueError:
        return False
    return True


def _configs(folder: Path) -> tuple[Make, Check]:
    from transformers import AutoConfig
    from transformers.utils.logging import set_verbosity_error

    set_verbosity_error()
    logging.disable(logging.WARNING)
    configs = [AutoConfig.for_model(name, **shape) for name, shape in models.ALL.items()]
    files = {
        "config.json": [json.loads(config.to_json_string(use_diff=False)) for config in configs],
        "sentence_bert_config.json": [{"max_seq_length": 16, "do_lower_case": False}],
        "1_Pooling/config.json": [{"word_embedding_dimension": 32, "pooling_mode_mean_tokens": True}],
    }
    carried = plan(learned(64), "tile", 256).to_json()
    (folder / "1_Pooling").mkdir()

    def make(draw: random.Random) -> bytes:
        name = draw.choice(("config.json", "config.json", "config.json", *files))
        shape = draw.choice(files[name])
        if name == "config.json" and draw.randrange(8) == 0:
            shape = {**shape, "longspan": carried}
        return name.encode() + b"\n" + written(shape, draw)

    def check(data: bytes) -> None:
        for name, plain in files.items():
            (folder / name).write_text(json.dumps(plain[0]))
        name, _, text = data.partition(b"\n")
        (folder / name.decode()).write_bytes(text)
        read = inspect(folder)
        read.describe()
        assert read.cache_bytes(read.window) >= 0

    return make, check


def _scores(folder: Path) -> tuple[Make, Check]:
    lines = [asdict(each) for each in SCORES]

    def make(draw: random.Random) -> bytes:
        texts = [json.dumps(each).encode() for each in draw.sample(lines, 3)]
        texts[draw.randrange(3)] = written(draw.choice(lines), draw)
        return b"\n".join(texts)

    def check(data: bytes) -> None:
        (folder / "scores.jsonl").write_bytes(data)
        score.markdown(score.read(folder / "scores.jsonl"))

    return make, check


TARGETS = (
    Target("plan", _plans),
    Target("spec", _specs),
    Target("config", _configs),
    Target("scores", _scores),
    Target("jsonl", jsonl),
    Target("parquet", parquet),
    Target("job", job),
    Target("small", small),
    Target("cache", cache),
)
