"""The law of text: no splitter, reader or pattern takes more than linear time, whatever stands in a text.

Every pattern of the package is tried as it is found in the source; a module that cuts texts names its functions here.
"""

from __future__ import annotations

import ast
import json
import random
import re
from collections.abc import Callable, Iterator
from functools import cache, partial
from itertools import permutations
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import longspan
from longspan import LongspanError, spec
from longspan.benchmarks import files, haystack, labelled, text_metrics, wikiqa
from longspan.benchmarks.generation import _replies, altered_numeric_qa, leval, loogle, m4le, mmneedle
from longspan.benchmarks.retrieval import _own, lengthened_pairs
from longspan.benchmarks.rows import rows_of
from longspan.benchmarks.tasks import Question, usual_count
from longspan.card import StrategyCard
from longspan.cli.evaluate import doublings
from longspan.encoding.files.rows import Columns
from longspan.encoding.files.shards import shards
from longspan.encoding.tokens import tokenise
from longspan.evaluation import language
from longspan.evaluation.bm25 import BM25
from longspan.reading import Text
from longspan.strategies.encoding._chunks import chunk
from longspan.training import corpus
from tests import hostile
from tests.pipelines import tiny_tokenizer

SOURCE = Path(longspan.__file__).parent
USES = ("sub", "subn", "split", "findall", "finditer", "search", "match", "fullmatch")
CUTS = (*USES, "rsplit", "splitlines", "partition", "rpartition", "find", "rfind")

Read = Callable[[str], object]


def chunked(chunks: Any) -> Read:
    def read(text: str) -> object:
        offsets = [found.span() for found in re.finditer(r"\S+", text)]
        return chunk(Text(text, len(offsets), offsets), len(offsets), chunks, None)

    return read


def written(folder: Path, name: str, read: Callable[[Path], object], **fields: Any) -> Read:
    """A reader of a file that holds the text; of JSON lines, in the field ``text`` beside others."""

    def whole(text: str) -> object:
        path = folder / name
        lined = json.dumps({"text": text, **fields}) + "\n" + json.dumps({"text": "b", **fields, "label": "c"}) + "\n"
        path.write_bytes((lined if name.endswith("jsonl") else text).encode())
        return read(path)

    return whole


def encoded_rows(path: Path) -> object:
    return [shard.rows() for shard in shards([str(path)], Columns())]


def scored(benchmark: Any, answer: str, **facts: Any) -> Read:
    return lambda text: benchmark.score(Question("", (answer,), answer, 8, facts=facts), text)


def readers(folder: Path) -> dict[str, Read]:
    """What reads or cuts a text of the user's, or a model's reply, by the module that does it."""
    tokenizer = tiny_tokenizer()
    return {
        "strategies/encoding/_chunks.py sentences": chunked("sentences"),
        "strategies/encoding/_chunks.py headings": chunked("headings"),
        "strategies/encoding/_chunks.py tokens": chunked("tokens"),
        "encoding/tokens.py text": lambda text: tokenise(tokenizer, [text], "", [None]),
        "encoding/tokens.py prompt": lambda text: tokenise(tokenizer, ["b"], text, [None]),
        "encoding/files/pieces.py jsonl": written(folder, "a.jsonl", encoded_rows),
        "encoding/files/pieces.py document": written(folder, "a.md", encoded_rows),
        "training/corpus.py pieces": lambda text: list(corpus.pieces(text, 64)),
        "training/corpus.py read": written(folder, "a.txt", lambda path: list(corpus._texts([path], "text"))),
        "benchmarks/files.py read_lines": written(folder, "b.jsonl", lambda path: list(files.read_lines(path))),
        "benchmarks/files.py rows_of": written(folder, "c.jsonl", lambda path: rows_of(path, "text")),
        "benchmarks/labelled.py read_items": written(
            folder, "d.jsonl", lambda path: labelled.read_items("classes", path), label="a"
        ),
        "benchmarks/haystack.py sentence_starts": lambda text: haystack.sentence_starts(haystack.pieces(text)),
        "benchmarks/wikiqa.py _around": lambda text: wikiqa._around(f"{text} it is 5. {text}", "5"),
        "benchmarks/retrieval/_own.py unmistakable": lambda text: _own.unmistakable({"a": text, "b": "It is."}, 1, 99),
        "benchmarks/retrieval/_own.py Haystack": lambda text: _own.Haystack({"a": f"It is. {text} So."}, ["a"]),
        "benchmarks/retrieval/lengthened_pairs.py _opening": lambda text: lengthened_pairs._opening("a", text, 9, 99),
        "benchmarks/tasks.py usual_count": usual_count,
        "benchmarks/text_metrics.py normalise": text_metrics.normalise,
        "benchmarks/text_metrics.py token_f1": lambda text: text_metrics.token_f1(text, (text, "a")),
        "benchmarks/text_metrics.py best_subspan_em": lambda text: text_metrics.best_subspan_em(text, ("a b",)),
        "benchmarks/text_metrics.py first_line": text_metrics.first_line,
        "benchmarks/text_metrics.py rouge": lambda text: text_metrics.rouge(text, ("a short answer",)),
        "benchmarks/generation/_replies.py first_integer": _replies.first_integer,
        "benchmarks/generation/_replies.py first_uuids": lambda text: _replies.first_uuids(text, 3),
        "benchmarks/generation/_replies.py string_match_all": lambda text: _replies.string_match_all(["ab"], text),
        "benchmarks/generation/altered_numeric_qa.py alter": lambda text: altered_numeric_qa.alter(
            (f"{text} 5", "which?", "5"), random.Random(0)
        ),
        **{f"benchmarks/generation/leval.py {task}": judged(task) for task in leval._CLOSED},
        "benchmarks/generation/loogle.py shortdep_cloze": scored(
            loogle.LooGLE(task="shortdep_cloze"), "a", masks={"<mask-0>": "a b"}
        ),
        "benchmarks/generation/loogle.py shortdep_qa": scored(loogle.LooGLE(task="shortdep_qa"), "a short answer"),
        "benchmarks/generation/m4le.py score": scored(m4le.M4LE(task="semantic_multiple"), "a"),
        "benchmarks/generation/mmneedle.py score": scored(mmneedle.MMNeedle(), "1, 2, 3"),
        "evaluation/bm25.py words": lambda text: BM25()._words([text, "a"]),
        "evaluation/language.py _until": lambda text: language._until(text, ("\n\n", "Q:")),
        "spec.py parse": refused(lambda text: spec.parse(f"late(chunks={text!r})", StrategyCard)),
        "spec.py name": refused(lambda text: spec.parse(text, StrategyCard)),
        "cli/evaluate.py doublings": refused(doublings),
    }


def judged(task: str) -> Read:
    right = {"codeU": "[1, 2]", "gsm100": "The answer is 14", "sci_fi": "True [fact: False]"}.get(task, "A")
    return lambda text: leval.judge(task, text, right)


def refused(read: Read) -> Read:
    def whole(text: str) -> object:
        try:
            return read(text)
        except LongspanError:
            return None

    return whole


OWN = {
    "benchmarks/generation/_draws.py": "its own words",
    "benchmarks/generation/_ruler.py": "the shipped prose",
    "benchmarks/generation/lost_in_the_middle.py": "white space made single",
    "benchmarks/harness.py": "names of tasks",
    "benchmarks/published.py": "the shipped table",
    "benchmarks/retrieval/fairytaleqa.py": "the shipped tales",
    "benchmarks/retrieval/inverse_cloze.py": "white space made single",
    "benchmarks/retrieval/passage_needle.py": "white space made single",
    "benchmarks/retrieval/passkey.py": "its own words",
    "benchmarks/vectors/probe.py": "the shipped tales",
    "cli/methods.py": "names of modules",
    "configs.py": "names of keys",
    "conversion/architectures.py": "names of modules",
    "conversion/card.py": "patterns alone",
    "conversion/convert.py": "a corpus in two",
    "drawing/picture.py": "names of modules",
    "encoding/bench.py": "names of engines",
    "encoding/files/seal.py": "names of files",
    "errors.py": "names of modules, errors of a library",
    "evaluation/cells.py": "specifications",
    "evaluation/figures.py": "drawings of matplotlib",
    "evaluation/grids.py": "specifications",
    "evaluation/mteb_bridge.py": "patterns alone",
    "evaluation/mteb_tasks.py": "patterns alone",
    "evaluation/report.py": "names of figures",
    "evaluation/run.py": "names of modules",
    "evaluation/score.py": "names of models",
    "evaluation/search.py": "a search of documents",
    "identity.py": "names of functions",
    "methods/frequencies/_weights.py": "names of weights",
    "scale/ray.py": "errors of a library",
    "scale/state.py": "names of files",
    "seams/anatomy.py": "names of modules",
    "sources.py": "names of classes",
    "storage/model_card.py": "patterns alone",
    "storage/plain.py": "names of modules",
    "storage/verify.py": "what a process told",
    "storage/weights.py": "names of weights",
}
"""Modules that cut nothing but what longspan or a library wrote, or by the patterns that are tried below alone."""

TRUSTED = {r'^.*?<svg [^>]*?viewBox="([^"]*)"[^>]*>': "reads what matplotlib wrote"}
"""Patterns that never see a text of the user's."""


class Pattern(NamedTuple):
    """A regular expression of the package, and how it is used."""

    module: str
    pattern: str
    use: str
    flags: int

    def run(self, text: str) -> None:
        compiled = re.compile(self.pattern, self.flags)
        if self.use in ("sub", "subn"):
            compiled.sub("", text)
        elif self.use == "finditer":
            for _ in compiled.finditer(text):
                pass
        else:
            getattr(compiled, self.use)(text)


def trees() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(SOURCE.rglob("*.py")):
        yield path.relative_to(SOURCE).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def calls(tree: ast.Module) -> Iterator[tuple[str, str, ast.Call]]:
    """Owner, method and call of every method call."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            yield ast.unparse(node.func.value), node.func.attr, node


def flags_of(call: ast.Call) -> int:
    given = [word.value for word in call.keywords if word.arg == "flags"]
    if ast.unparse(call.func) == "re.compile":
        given += call.args[1:]
    return int(eval(ast.unparse(given[0]), {"re": re})) if given else 0


@cache
def patterns() -> tuple[Pattern, ...]:
    found = {}
    for module, tree in trees():
        named = {
            ast.unparse(node.targets[0]): node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Assign)
            and isinstance(node.value, ast.Call)
            and ast.unparse(node.value.func) == "re.compile"
        }
        used = [(named[owner], method) for owner, method, _ in calls(tree) if owner in named and method in USES]
        used += [(call, method) for owner, method, call in calls(tree) if owner == "re" and method in USES]
        unseen = [call for call in named.values() if call not in [seen for seen, _ in used]]
        for call, use in [*used, *((call, "finditer") for call in unseen)]:
            pattern = ast.literal_eval(call.args[0])  # a pattern is written out, or nobody can try it
            if pattern not in TRUSTED:
                one = Pattern(module, pattern, use, flags_of(call))
                found[one[1:]] = one
    return tuple(found.values())


def attacks(pattern: str) -> Iterator[Callable[[int], str]]:
    """Texts of the signs and words that a pattern looks for: each alone, and two in turn and one after the other."""
    words = re.findall(r"[A-Za-z]{2,}(?: [A-Za-z]+)*", re.sub(r"\\[A-Za-z]", " ", pattern))
    signs = [sign for sign in pattern if not sign.isalnum() and sign not in "\\^$|?*+"]
    units = list(dict.fromkeys([*words[:3], "a", "1", ".", " ", "\n", *signs]))[:7]
    for unit in units:
        yield partial(hostile.text, unit)
    for one, two in permutations(units, 2):
        yield partial(hostile.text, one + two)
        yield partial(hostile.text, two, before=one)


def test_every_pattern_of_the_package_takes_linear_time() -> None:
    slow = [one[:3] for one in patterns() if not all(hostile.linear(one.run, make) for make in attacks(one.pattern))]
    assert not slow
    assert len(patterns()) > 30


def test_every_reader_takes_linear_time(tmp_path: Path) -> None:
    tried = [(name, read, unit) for name, read in readers(tmp_path).items() for unit in hostile.UNITS]
    slow = [(name, unit) for name, read, unit in tried if not hostile.linear(read, partial(hostile.text, unit))]
    assert not slow


def test_every_module_that_cuts_texts_is_tried_or_says_what_it_cuts(tmp_path: Path) -> None:
    cutting = {
        module
        for module, tree in trees()
        if any(method in CUTS and owner not in ("torch", "np") for owner, method, _ in calls(tree))
    }
    tried = {name.split(" ")[0] for name in readers(tmp_path)}
    assert cutting - tried == set(OWN), "a module that cuts texts belongs into readers, or into OWN with what it cuts"
    assert not tried & set(OWN)


@pytest.mark.parametrize(
    ("pattern", "unit", "size"),
    [
        (r"(?:[.!?]+[\"']*(?=\s)|\n\s*\n)\s*", ".", 400),
        (r"[Tt]he answer is\D*?(-?\d[\d,]*)", "Tthe answer is", 1500),
        (r"\s+$", " ", 1000),
    ],
)
def test_the_law_knows_a_square(pattern: str, unit: str, size: int) -> None:
    one = Pattern("", pattern, "findall", 0)
    assert not hostile.linear(one.run, partial(hostile.text, unit), size)
    assert any(make(90).startswith(unit * 2) for make in attacks(pattern)), "and such a text is tried"


def test_the_law_knows_a_loop_that_copies_what_it_has() -> None:
    def gather(text: str) -> object:
        found: tuple[str, ...] = ()
        for sign in text:
            found = (*found, sign)
        return found

    assert not hostile.linear(gather, partial(hostile.text, "a"), 1000)


def test_a_reply_of_endless_digits_is_no_number() -> None:
    assert _replies.first_integer("9" * 5000) is None
    assert leval.judge("gsm100", f"The answer is {'9' * 5000}", "The answer is 14") == 0
    assert leval.judge("gsm100", "The answer is 3 - no, the answer is about 1,4", "The answer is 14") == 1
