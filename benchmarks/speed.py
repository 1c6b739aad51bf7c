"""Speed of longspan.encode beside its peers: `python benchmarks/speed.py --only uniform,mixed --out speed.json`.

Every library is a process of its own with the same threads and a passive OpenMP wait policy. All are alive at once and
get the same slices of texts in random order, so that drift of the machine hits all alike. What counts are the ratios
within a slice; cosines say whether a library gave the vectors of sentence-transformers. The script itself, and the
graphs that it gives to peers, need the extras of both backends; the extra `demo` carries the model. Peers that need
other versions of packages run in an environment of their own, with a torch for the CPU; infinity asks there for a NumPy
below 2, and works with the other peers' one:

    pip install -e ".[demo,onnx,openvino]"
    python -m venv peers
    peers/bin/pip install torch --index-url https://download.pytorch.org/whl/cpu
    peers/bin/pip install "sentence-transformers<6" "optimum-intel[openvino]" "optimum-onnx[onnxruntime]" onnx \
        ctranslate2 fastembed
    peers/bin/pip install --no-deps infinity-emb
    python benchmarks/speed.py --peer-python peers/bin/python
"""

from __future__ import annotations

import argparse
import base64
import datetime
import gzip
import json
import math
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from peers import PEERS

HERE = Path(__file__).parent
TALES = HERE.parent / "src/longspan/benchmarks/data/fairytaleqa.jsonl.gz"
MODEL = "sentence-transformers/all-MiniLM-L6-v2"
EXACT = 0.99999
OURS = tuple(name for name in PEERS if name.startswith("longspan"))
TORCH, THEIRS = "longspan torch float32", "sentence-transformers"
OPENVINO = ("openvino", "sentence-transformers openvino")
ALL = tuple(PEERS)
FEW = (TORCH, "longspan onnx float32", "longspan openvino float32", THEIRS, "openvino")
LONG = (TORCH, "longspan openvino float32", "longspan openvino int8", THEIRS, "openvino")


@dataclass
class Run:
    """What one library did on one workload.

    Attributes:
        wall: Seconds of each slice.
        cpu: CPU seconds of each slice, all threads.
        growth: Peak memory above that before the first slice, of each slice [KiB].
        cosine: Smallest cosine of a vector to that of sentence-transformers, None where that took no part.
        absent: Why it did not run.
    """

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    growth: list[int] = field(default_factory=list)
    cosine: float | None = None
    absent: str = ""


class Worker:
    """A library in its process."""

    def __init__(self, name: str, python: str, folder: Path, threads: int) -> None:
        own = {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE", "TOKENIZERS_PARALLELISM": "true"}
        own |= {"HF_HUB_OFFLINE": "1", "RAYON_NUM_THREADS": str(threads), "DO_NOT_TRACK": "1"}
        command = [python, str(HERE / "peers.py"), name, str(folder), "--threads", str(threads)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={**os.environ, **own}
        )
        self.name, self.rss = name, 0

    def answer(self) -> dict[str, Any]:
        """Wait for its next line."""
        line = self._process.stdout.readline() if self._process.stdout else b""
        return json.loads(line) if line else {"absent": "The process ended."}

    def encode(self, texts: Sequence[str]) -> dict[str, Any]:
        """Vectors, seconds and memory of texts."""
        if self._process.stdin:
            self._process.stdin.write(json.dumps({"texts": list(texts)}).encode() + b"\n")
            self._process.stdin.flush()
        return self.answer()

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()


class Documents:
    """Real documents one after another, handed out in pieces of so many tokens."""

    def __init__(self, source: Path | None, tokenizer: Any) -> None:
        lines = (
            gzip.decompress(TALES.read_bytes()).decode().split("\n")
            if source is None
            else (source / "corpus.jsonl" if source.is_dir() else source).read_text().split("\n")
        )
        # Eight million characters are more than all parts read.
        self.text = "\n\n".join(json.loads(line)["text"] for line in lines if line)[:8_000_000]
        self.tokenizer, self.place = tokenizer, 0

    def take(self, tokens: int) -> str:
        """The next piece; with special tokens it has ``tokens``, or one or two fewer."""
        if self.place + 12 * tokens > len(self.text):
            self.place = 0
        found = self.tokenizer(
            self.text[self.place : self.place + 12 * tokens],
            add_special_tokens=False,
            return_offsets_mapping=True,
            verbose=False,
        )
        last = min(tokens - 2, len(found["input_ids"]))
        while last > 1 and self.tokenizer.convert_ids_to_tokens(found["input_ids"][last]).startswith("##"):
            last -= 1  # not within a word, which would be other tokens
        start, self.place = self.place, self.place + found["offset_mapping"][last - 1][1]
        return self.text[start : self.place]


@dataclass(frozen=True)
class Part:
    """A workload.

    Attributes:
        window: Tokens of the checkpoint that all read.
        peers: Who takes part.
        slices: Workload's name and the tokens of its texts, slice by slice.
    """

    window: int
    peers: tuple[str, ...]
    slices: list[tuple[str, list[int]]]


def parts(scale: float, seed: int) -> dict[str, Part]:
    """The workloads, each with ``scale`` times its usual slices."""
    draw = random.Random(seed)

    def count(usual: int) -> int:
        return max(round(usual * scale), 1)

    def mixed(texts: int) -> list[int]:
        return [round(math.exp(draw.uniform(math.log(30), math.log(2000)))) for _ in range(texts)]

    def alone(name: str, tokens: int, usual: int) -> list[tuple[str, list[int]]]:
        return [(f"{name} {tokens}", [tokens])] * count(usual)

    return {
        "uniform": Part(512, ALL, [("uniform 8 x 512", [512] * 8)] * count(8)),
        "short": Part(512, ALL, [("short 64 x 100", [100] * 64)] * count(8)),
        "mixed": Part(
            2048,
            FEW,
            [("mixed 64 texts", mixed(64)) for _ in range(count(3))] + [("mixed 256 texts", mixed(256))],
        ),
        "long": Part(
            32768, LONG, alone("long", 4096, 4) + alone("long", 8192, 3) + alone("long", 32768, 1 if scale >= 1 else 0)
        ),
        "growth": Part(
            32768,
            (TORCH,),
            [("growth 512", [512] * 8)] * count(4)
            + [("growth 2048", [2048] * 2)] * count(4)
            + alone("growth", 8192, 2),  # 32,768 stands in "long"
        ),
    }


def checkpoint(window: int, parent: Path) -> Path:
    """A checkpoint of MiniLM that reads ``window`` tokens, with the graphs that peers need beside it."""
    from sentence_transformers import SentenceTransformer

    import longspan
    from longspan.sources import locate

    folder = parent / str(window)
    model = SentenceTransformer(locate(MODEL), device="cpu")
    if window > 512:
        longspan.save(longspan.extend(model, to=window, method="tile"), folder)
    else:
        model.max_seq_length = window
        model.save(str(folder), create_model_card=False)
    _for_older(folder, window)
    _export(SentenceTransformer(str(folder), device="cpu"), folder / "export")
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        (folder / "export" / name).write_bytes((folder / name).read_bytes())
    return folder


def _for_older(folder: Path, window: int) -> None:
    # The names of sentence-transformers before 6, which 6 reads too, and what transformers before 5 looks for.
    kinds = {"Transformer": "", "Pooling": "1_Pooling", "Normalize": "2_Normalize"}
    modules = [
        {"idx": place, "name": str(place), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for place, (kind, path) in enumerate(kinds.items())
    ]
    special = {"cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]", "unk_token": "[UNK]"}
    limits = json.loads((folder / "tokenizer_config.json").read_text()) | {
        "model_max_length": window,
        "max_length": window,
    }
    for name, content in {
        "modules.json": modules,
        "1_Pooling/config.json": {"word_embedding_dimension": 384, "pooling_mode_mean_tokens": True},
        "sentence_bert_config.json": {"max_seq_length": window, "do_lower_case": False},
        "special_tokens_map.json": special | {"mask_token": "[MASK]"},
        "tokenizer_config.json": limits | {"tokenizer_class": "BertTokenizer"},
    }.items():
        (folder / name).write_text(json.dumps(content))
    (folder / "2_Normalize").mkdir(exist_ok=True)


def _export(model: Any, out: Path) -> None:
    from longspan.encoding.engines import export

    out.mkdir()
    try:
        export.to_onnx(export.traceable(model, None, "eager"), out / "model.onnx")
        from onnxruntime.transformers import optimizer

        optimizer.optimize_model(
            str(out / "model.onnx"), model_type="bert", num_heads=12, hidden_size=384, opt_level=0
        ).save_model_to_file(str(out / "fused.onnx"))
    except ImportError as error:
        print(f"no ONNX peers: {error}", file=sys.stderr)
    try:
        import openvino
    except ImportError as error:
        print(f"no OpenVINO peers: {error}", file=sys.stderr)
        return
    made = openvino.convert_model(export.traceable(model, None, "sdpa"), example_input=export.example())
    openvino.save_model(made, str(out / "openvino.xml"), compress_to_fp16=False)


def gemm(dtype: torch.dtype, seconds: float = 0.3) -> tuple[float, float]:
    """Rate of matrix products in MiniLM's shapes [FLOP per second, and per CPU second]."""
    shapes = ((384, 384), (384, 384), (384, 1536), (1536, 384))
    pairs = [(torch.randn(1024, inner, dtype=dtype), torch.randn(inner, outer, dtype=dtype)) for inner, outer in shapes]
    work, start, spent = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - start < seconds:
        for left, right in pairs:
            torch.mm(left, right)
            work += 2 * left.shape[0] * left.shape[1] * right.shape[1]
    return work / (time.perf_counter() - start), work / (time.process_time() - spent)


def flop(tokens: int) -> float:
    """FLOP of MiniLM-L6 for each token of a text of so many tokens."""
    return 21.23e6 + 9216 * tokens


def measure(part: Part, folder: Path, documents: Documents, given: argparse.Namespace) -> dict[str, Any]:
    """Run a part: workload to what each library did."""
    draw, found, rates, halves = random.Random(given.seed), {}, [], []
    with ExitStack() as stack:
        workers = []
        versions: dict[str, dict[str, str]] = {}
        absent: dict[str, str] = {}
        for name in part.peers:
            python = given.peer_python if given.peer_python and name in given.apart else sys.executable
            worker = Worker(name, python, folder, given.threads)
            stack.callback(worker.close)
            first = worker.answer()
            if not first.get("absent"):
                # Twice: the first call builds what depends on shapes.
                first |= [worker.encode([documents.take(64), documents.take(32)]) for _ in range(2)][1]
            if first.get("absent"):
                absent[name] = first["absent"]
                print(f"  {name}: {first['absent']}", file=sys.stderr)
                worker.close()
                continue
            worker.rss, versions[name] = first["rss"], first["versions"]
            workers.append(worker)
        warm = ""
        for workload, lengths in part.slices:
            runs: dict[str, Run] = found.setdefault(
                workload, {name: Run() for name in part.peers if name not in absent}
            )
            texts = [documents.take(length) for length in lengths]
            if workload != warm and sum(lengths) < 8192:
                for worker in workers:
                    worker.encode(texts)
            warm = workload
            rates.append(gemm(torch.float32))
            halves.append(gemm(torch.bfloat16))
            draw.shuffle(workers)
            answers: dict[str, np.ndarray] = {}
            for worker in workers:
                run = runs[worker.name]
                if run.absent or (reason := _too_much(worker.name, lengths, found)):
                    run.absent = run.absent or reason
                    continue
                answer = worker.encode(texts)
                if answer.get("absent"):
                    run.absent = answer["absent"]
                    continue
                run.wall.append(answer["wall"])
                run.cpu.append(answer["cpu"])
                run.growth.append(answer["peak"] - worker.rss)
                answers[worker.name] = vectors(answer["vectors"], len(texts))
            for name, own in answers.items() if THEIRS in answers else ():
                before, cosine = runs[name].cosine, float((own * answers[THEIRS]).sum(1).min())
                runs[name].cosine = cosine if before is None else min(before, cosine)
            done = sum(len(run.wall) > 0 for run in runs.values())
            print(f"  {workload}: a slice of {sum(lengths)} tokens, {done} libraries", file=sys.stderr)
    sizes = {workload: [sum(lengths) for name, lengths in part.slices if name == workload] for workload in found}
    read = {workload: [n for name, lengths in part.slices if name == workload for n in lengths] for workload in found}
    work = {workload: sum(n * flop(n) for n in lengths) / sum(lengths) for workload, lengths in read.items()}
    return {
        "versions": versions,
        "absent": absent,
        "gemm_gflops": {
            "wall": median(rate for rate, _ in rates) / 1e9,
            "cpu": median(rate for _, rate in rates) / 1e9,
            "best": max(rate for rate, _ in rates) / 1e9,
            "cpu bfloat16": median(rate for _, rate in halves) / 1e9,
        },
        "workloads": {
            workload: {
                name: summary(run, runs, sizes[workload], work[workload], median(rate for _, rate in rates))
                for name, run in runs.items()
            }
            for workload, runs in found.items()
        },
    }


def _too_much(name: str, lengths: list[int], found: dict[str, dict[str, Run]]) -> str:
    """Why a library should not be given 32,768 tokens: attention as a square of 12 heads would not fit."""
    grown = [found[f"{kind} 8192"][name].growth for kind in ("long", "growth") if f"{kind} 8192" in found]
    if max(lengths) <= 8192 or not grown or not grown[0]:
        return ""
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1024
    square = min(grown[0]) * (max(lengths) / 8192) ** 2
    return "" if min(grown[0]) < 1 << 20 or square < free / 2 else f"might take {square / 1024**2:.0f} GiB"


def vectors(data: str, texts: int) -> np.ndarray:
    """Unit vectors of an answer, ``[texts, dimension]``."""
    found = np.frombuffer(base64.b64decode(data), np.float32).reshape(texts, -1)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def summary(run: Run, runs: dict[str, Run], sizes: list[int], work: float, rate: float) -> dict[str, Any]:
    """What is kept of a run: medians over the slices; ``work`` is FLOP per token, ``rate`` FLOP per CPU second."""
    if run.absent or not run.wall:
        return {"absent": run.absent or "did not run"}

    def ratio(other: str, what: str) -> float | None:
        theirs = runs[other] if other in runs else Run()
        pairs = list(zip(getattr(theirs, what), getattr(run, what), strict=False))
        return round(median(base / own for base, own in pairs), 3) if pairs else None

    per_cpu = median(size / spent for size, spent in zip(sizes, run.cpu, strict=False))
    return {
        "slices": len(run.wall),
        "tokens_per_second": round(median(size / taken for size, taken in zip(sizes, run.wall, strict=False)), 1),
        "tokens_per_cpu_second": round(per_cpu, 1),
        "ratio": {name: ratio(name, "wall") for name in (THEIRS, TORCH, *OPENVINO)},
        "cpu_ratio": {name: ratio(name, "cpu") for name in (THEIRS, TORCH, *OPENVINO)},
        "of_gemm": round(per_cpu * work / rate, 3),
        "growth_mib": round(median(run.growth) / 1024, 1),
        "cosine": None if run.cosine is None else round(run.cosine, 7),
        "wall": [round(one, 4) for one in run.wall],
        "cpu": [round(one, 4) for one in run.cpu],
    }


def targets(done: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What was promised, and whether it holds."""
    loads = {name: one for part in done.values() for name, one in part["workloads"].items()}

    def target(workload: str, names: Sequence[str], other: str, least: float) -> Iterator[dict[str, Any]]:
        runs = loads[workload]
        known = [(value, name) for name in names if (value := runs.get(name, {}).get("ratio", {}).get(other))]
        if known:
            value, name = max(known)
            cpu = runs[name]["cpu_ratio"][other]
            yield {
                "target": f"{workload}: {name} / {other}",
                "least": least,
                "found": value,
                "by_cpu": cpu,
                "holds": value >= least,
            }

    exact = [name for name in OURS if name.endswith("float32")]
    for workload in loads:
        kind = workload.split()[0]
        if kind == "uniform":
            for peer in OPENVINO:
                yield from target(workload, exact, peer, 0.98)
            for name in exact:
                yield from target(workload, [name], THEIRS, 0.98)
            for dtype in ("bfloat16", "int8"):
                yield from target(workload, [name for name in OURS if name.endswith(dtype)], TORCH, 1.7)
        if kind in ("mixed", "long"):
            yield from target(workload, exact, THEIRS, 1.6 if kind == "mixed" else 1.2)
    for name in OURS:
        near, far = (loads.get(f"long {tokens}", {}).get(name, {}).get("growth_mib") for tokens in (4096, 8192))
        furthest = loads.get("long 32768", {}).get(name, {}).get("growth_mib")
        if near and far:
            # Between 4,096 and the furthest, for each doubling; a square would be 4.
            doubling = (furthest / near) ** (1 / 3) if furthest else far / near
            yield {
                "target": f"memory of {name}: growth of the peak at a doubling",
                "most": 2.3,
                "found": round(doubling, 2),
                "holds": doubling <= 2.3,
            }


def show(done: dict[str, Any]) -> None:
    """Print the tables and the targets."""
    for name, part in done.items():
        rate = part["gemm_gflops"]
        print(
            f"\n{name}: GEMM {rate['wall']:.0f} GFLOP/s in float32, {rate['cpu']:.0f} per CPU second "
            f"(bfloat16 {rate['cpu bfloat16']:.0f})"
        )
        for workload, runs in part["workloads"].items():
            print(f"\n| {workload} | tok/s | tok/CPU-s | / s-t | CPU / s-t | / openvino | of GEMM | +MiB | cosine |")
            print("|---|---|---|---|---|---|---|---|---|")
            ran = [(name, run) for name, run in runs.items() if "absent" not in run]
            for name, run in sorted(ran, key=lambda pair: -pair[1]["tokens_per_second"]):
                cosine = run["cosine"]
                same = "-" if cosine is None else f"{cosine:.7f}" if cosine >= EXACT else f"**{cosine:.5f}**"
                ratios = (run["ratio"][THEIRS], run["cpu_ratio"][THEIRS], run["ratio"]["openvino"])
                cells = [f"{one:.2f}" if one is not None else "-" for one in ratios]
                print(
                    f"| {name} | {run['tokens_per_second']:.0f} | {run['tokens_per_cpu_second']:.0f} | "
                    f"{' | '.join(cells)} | {run['of_gemm']:.0%} | {run['growth_mib']:.0f} | {same} |"
                )
            for name, run in runs.items():
                if "absent" in run:
                    print(f"| {name} | {run['absent']} |")
        for name, why in part["absent"].items():
            print(f"absent: {name}: {why}")
    print()
    for one in targets(done):
        limit = f">= {one['least']}" if "least" in one else f"<= {one['most']}"
        cpu = f"; by CPU time {one['by_cpu']:.2f}" if "by_cpu" in one else ""
        print(f"{'pass' if one['holds'] else 'FAIL'}  {one['target']}: {one['found']:.2f} ({limit}{cpu})")


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="uniform,short,mixed,long,growth", help="parts, with commas")
    parser.add_argument("--documents", type=Path, help="corpus.jsonl or its folder; the shipped tales when missing")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--slices", type=float, default=1.0, help="times the usual number of slices")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--peer-python", help="interpreter of the peers in --apart")
    parser.add_argument(
        "--apart",
        default="sentence-transformers openvino,sentence-transformers onnx,ctranslate2,fastembed,infinity",
        help="peers that run there, with commas",
    )
    parser.add_argument("--out", type=Path, help="JSON; parts that are there already and not run now are kept")
    given = parser.parse_args()
    given.apart = given.apart.split(",")
    torch.set_num_threads(given.threads)
    todo, known = given.only.split(","), parts(given.slices, given.seed)
    if unknown := set(todo) - known.keys():
        parser.error(f"there is no part {', '.join(sorted(unknown))}; use {', '.join(known)}")

    from transformers import AutoTokenizer

    from longspan.sources import locate

    documents = Documents(given.documents, AutoTokenizer.from_pretrained(locate(MODEL)))
    done: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as parent:
        folders: dict[int, Path] = {}
        for name in todo:
            print(name, file=sys.stderr)
            window = known[name].window
            folder = folders.setdefault(window, Path(parent) / str(window))
            if not folder.exists():
                checkpoint(window, Path(parent))
            done[name] = {
                "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
                "cpu": _processor(),
                "threads": given.threads,
                "documents": given.documents.name if given.documents else "fairytaleqa (shipped)",
                **measure(known[name], folder, documents, given),
            }
            if given.out:
                kept = json.loads(given.out.read_text())["parts"] if given.out.exists() else {}
                whole = {**kept, **done}
                made = {"parts": whole, "targets": list(targets(whole))}
                given.out.write_text(json.dumps(made, indent=1) + "\n")
    show(done)


if __name__ == "__main__":
    main()
