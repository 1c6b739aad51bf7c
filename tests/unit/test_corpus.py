"""A corpus for training: what is read of each form of file, how it is split, and what is refused or warned of."""

# ruff: noqa: RUF001  # Greek and Russian texts

from __future__ import annotations

import gzip
import json
import warnings
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longspan.errors import ConvertError
from longspan.training.corpus import FEW, Corpus, _corpus, pieces, read_corpus

ENGLISH = (
    "In the evening the old teacher came home and sat for a long time at the window, looking at the river. People"
    " went by on the road, and each of them thought of something else. The children played in the yard."
)
FINNISH = (
    "Illalla vanha opettaja palasi kotiin ja istui pitkään ikkunan ääressä katsellen jokea. Tietä pitkin kulki"
    " ihmisiä, ja jokainen heistä ajatteli omia asioitaan. Lapset leikkivät pihalla, koira makasi puun alla ja"
    " naapuritalossa joku lauloi hiljaa laulua kaukaisesta maasta."
)
CHINESE = "傍晚老教师回到家里在窗边坐了很久望着那条河路上有人走过每个人都在想自己的事情孩子们在院子里玩耍狗躺在树下"
OTHERS = {
    "russian": "Вечером старый учитель вернулся домой и долго сидел у окна, глядя на реку. По дороге шли люди. " * 4,
    "greek": "Το βράδυ ο γέρος δάσκαλος γύρισε στο σπίτι και κάθισε για πολλή ώρα δίπλα στο παράθυρο. " * 4,
    "chinese": CHINESE * 6,
    "korean": "저녁에 늙은 선생님은 집으로 돌아와 창가에 오래 앉아 강을 바라보았다. 길에는 사람들이 지나갔다. " * 8,
    "finnish": FINNISH,
    "mixed": ENGLISH + FINNISH * 6,
}
OWN = {
    "english": ENGLISH * 2,
    "code": Path(pytest.__file__).read_text(encoding="utf-8"),
    "numbers": "\n".join(f"{x / 7:.3f};{x / 11:.4f}" for x in range(400)),
    "emoji": (ENGLISH + " \U0001f602\U0001f602 \U0001f525 \U0001f644 ") * 3,
    "few letters": "Вечером старый учитель",
}


@pytest.fixture(scope="module")
def tokenizer(minilm_path: str):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(minilm_path)


def read(paths, tokenizer, **options) -> Corpus:
    """Read without the warnings, which have tests of their own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return read_corpus(paths, tokenizer, **options)


def told(paths, tokenizer, **options) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        read_corpus(paths, tokenizer, **options)
    return [str(warning.message) for warning in caught]


def expected(tokenizer, *texts: str) -> list[list[int]]:
    """Word by word, without special tokens: WordPiece does not reach over white space."""
    words = tokenizer.convert_tokens_to_ids
    return [words([piece for word in text.split() for piece in tokenizer.tokenize(word)]) for text in texts]


def documents(corpus: Corpus) -> list[list[int]]:
    return [corpus.document(index).tolist() for index in range(len(corpus))]


def lines(*texts: str, column: str = "text") -> bytes:
    return "".join(json.dumps({column: text}) + "\n" for text in texts).encode()


def made(sizes: list[int]) -> Corpus:
    return _corpus(np.arange(sum(sizes)), np.array(sizes))


def test_each_form_of_file(tmp_path: Path, tokenizer) -> None:
    (tmp_path / "a.jsonl").write_bytes(lines("one dog", "two cats"))
    (tmp_path / "b.ndjson").write_bytes(lines("three birds"))
    (tmp_path / "c.jsonl.gz").write_bytes(gzip.compress(lines("four fishes")))
    (tmp_path / "d.ndjson.gz").write_bytes(gzip.compress(lines("five snakes")))
    (tmp_path / "e.txt").write_text("six\nlions", encoding="utf-8")
    (tmp_path / "f.md").write_text("# seven\n\ntigers", encoding="utf-8")
    pq.write_table(pa.table({"text": ["eight bears", "nine wolves"], "n": [1, 2]}), tmp_path / "g.parquet")
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / "h.jsonl").write_bytes(lines("ten deer"))
    (tmp_path / "skipped.bin").write_bytes(b"\xff")
    texts = ["one dog", "two cats", "three birds", "four fishes", "five snakes", "six lions", "# seven tigers"]
    texts += ["eight bears", "nine wolves"]
    corpus = read([tmp_path], tokenizer)
    # Folders by their sorted paths: a.jsonl ... deeper/h.jsonl before e.txt, as longspan encode.
    assert documents(corpus) == expected(tokenizer, *texts[:5], "ten deer", *texts[5:])
    named = [tmp_path / name for name in ("g.parquet", "a.jsonl")]
    assert documents(read(named, tokenizer)) == expected(tokenizer, *texts[7:], *texts[:2])
    assert (corpus.tokens.dtype, corpus.starts.dtype) == (np.int32, np.int64)
    assert corpus.starts[0] == 0
    assert corpus.starts[-1] == len(corpus.tokens)


def test_another_column(tmp_path: Path, tokenizer) -> None:
    (tmp_path / "a.jsonl").write_bytes(lines("one dog", column="body"))
    pq.write_table(pa.table({"body": ["two cats"], "text": [1]}), tmp_path / "b.parquet")
    assert documents(read([tmp_path], tokenizer, column="body")) == expected(tokenizer, "one dog", "two cats")


def test_line_ends_marks_and_blank_texts_change_nothing(tmp_path: Path, tokenizer) -> None:
    plain, marked = tmp_path / "plain.jsonl", tmp_path / "marked.jsonl"
    plain.write_bytes(lines("one dog", "two cats"))
    data = lines("one dog") + b"\n" + lines("", " \n\t") + lines("two cats")
    marked.write_bytes(b"\xef\xbb\xbf" + data.replace(b"\n", b"\r\n"))
    assert read([marked], tokenizer).digest == read([plain], tokenizer).digest
    first, second = tmp_path / "a.txt", tmp_path / "b.txt"
    first.write_bytes(b"one dog\n\ntwo cats\n")
    second.write_bytes(b"\xef\xbb\xbfone dog\r\n\r\ntwo cats\r\n")
    assert read([first], tokenizer).digest == read([second], tokenizer).digest


@pytest.mark.parametrize("space", ["\n\n", "\r\n", "\n", " "], ids=["paragraph", "crlf", "line", "space"])
def test_a_long_document_has_the_tokens_of_its_words(tmp_path: Path, tokenizer, space: str, capfd) -> None:
    text = space.join(f"chapter {number} of a never-ending story" for number in range(3000))
    (tmp_path / "a.txt").write_bytes(text.encode())
    (tmp_path / "b.txt").write_bytes(b"the end")
    assert len(list(pieces(text))) > 5
    assert documents(read([tmp_path], tokenizer)) == expected(tokenizer, text, "the end")
    assert capfd.readouterr() == ("", "")  # no "sequence length is longer than", and no bar for what is quick


@given(st.text("a \n\r", max_size=200), st.integers(2, 20))
def test_pieces_join_to_the_text(text: str, size: int) -> None:
    found = list(pieces(text, size))
    assert "".join(found) == text
    assert all(0 < len(piece) <= size for piece in found)
    for piece, rest in pairwise(found):
        inside = piece + rest  # a break in the second half is used, the best kind of them
        if " " in inside[size // 2 : size] or "\n" in inside[size // 2 : size]:
            assert piece[-1] in " \n"


def test_a_paragraph_is_the_first_choice() -> None:
    assert next(pieces("aaaaa\n\nbb\nc dddddd", 14)) == "aaaaa\n\n" + "bb\n"
    assert next(pieces("aaaaaaaa\n\nbb\nc dddddd", 14)) == "aaaaaaaa\n\n"
    assert next(pieces("aaaaaaaabbcdddddd", 14)) == "aaaaaaaabbcddd"


sizes = st.lists(st.integers(1, 400), min_size=2, max_size=40)


@given(sizes, st.integers(1, 3000), st.integers(0, 5))
def test_a_split_takes_whole_documents(sizes: list[int], held_out: int, seed: int) -> None:
    corpus = made(sizes)
    rest, held = corpus.split(held_out, seed)
    whole = {tuple(document) for document in documents(corpus)}
    left, taken = ({tuple(document) for document in documents(part)} for part in (rest, held))
    assert left | taken == whole  # tokens are numbered, so no two documents are alike
    assert not left & taken
    assert left
    assert taken
    most = min(held_out, sum(sizes) // 10)
    assert len(held.tokens) <= most or (len(held) == 1 and len(held.tokens) == min(sizes))
    for part in (rest, held):
        assert np.all(np.diff(part.tokens) > 0)  # each in the corpus's order
    again = corpus.split(held_out, seed)
    assert (again[0].digest, again[1].digest) == (rest.digest, held.digest)


def test_a_split_holds_about_as_much_as_asked() -> None:
    corpus = made([20, 30, 40, 50] * 100)
    halves = [corpus.split(300, seed)[1] for seed in range(5)]
    assert all(270 <= len(held.tokens) <= 300 for held in halves)
    assert len({held.digest for held in halves}) > 1
    assert 1260 <= len(corpus.split(10**9, 0)[1].tokens) <= 1400


def test_the_digest_tells_tokens_and_borders_apart() -> None:
    base = made([2, 3, 4])
    assert made([2, 3, 4]).digest == base.digest
    others = [made([3, 2, 4]), made([2, 3, 5]), made([5, 4]), _corpus(np.arange(9)[::-1], np.array([2, 3, 4]))]
    assert len({base.digest, *(other.digest for other in others)}) == 5


def test_a_document_by_its_number() -> None:
    corpus = made([2, 3])
    assert corpus.document(1).tolist() == [2, 3, 4]
    for index in (-1, 2):
        with pytest.raises(IndexError):
            corpus.document(index)


def test_the_limit_cuts_the_last_document(tmp_path: Path, tokenizer) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(lines("one dog runs", "two cats sleep", "three birds"))
    texts = expected(tokenizer, "one dog runs", "two cats sleep", "three birds")
    assert documents(read([path], tokenizer, limit=4)) == [texts[0], texts[1][:1]]
    assert documents(read([path], tokenizer, limit=3)) == [texts[0]]
    assert (
        "only the first 4 tokens are read, 2 documents in the order of the files" in told([path], tokenizer, limit=4)[0]
    )
    assert documents(read([path], tokenizer, limit=8)) == texts
    assert not [line for line in told([path], tokenizer, limit=8) if "only the first" in line]


def test_nothing_is_read_far_behind_the_limit(tmp_path: Path, tokenizer) -> None:
    (tmp_path / "a.txt").write_text("word " * 300_000, encoding="utf-8")
    (tmp_path / "b.jsonl").write_bytes(b"broken")
    assert len(read([tmp_path], tokenizer, limit=1000).tokens) == 1000
    with pytest.raises(ConvertError, match="not JSON"):
        read([tmp_path], tokenizer)


def test_few_tokens_are_warned_of(tmp_path: Path, tokenizer) -> None:
    path = tmp_path / "a.txt"
    path.write_text("word " * 1234, encoding="utf-8")
    (line,) = told([path], tokenizer)
    assert line.startswith("1,234 tokens are few for a distillation: ")
    path.write_text("word " * FEW, encoding="utf-8")
    assert told([path], tokenizer) == []


@pytest.mark.parametrize("name", OTHERS)
def test_another_language_is_warned_of(tmp_path: Path, tokenizer, name: str) -> None:
    (tmp_path / "a.txt").write_text(OTHERS[name], encoding="utf-8")
    line = told([tmp_path], tokenizer)[-1]
    assert line.endswith("this tokenizer was made for another language")
    if name == "russian":
        assert "have 1.0 letters a token and 0.0% unknown tokens;" in line


@pytest.mark.parametrize("name", OWN)
def test_its_own_language_is_not(tmp_path: Path, tokenizer, name: str) -> None:
    (tmp_path / "a.txt").write_text(OWN[name], encoding="utf-8")
    assert not [line for line in told([tmp_path], tokenizer) if "language" in line]


def test_a_tokenizer_of_characters_fits_chinese_and_not_english(tmp_path: Path) -> None:
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {character: i for i, character in enumerate(sorted({"?", *CHINESE, *ENGLISH}))}
    model = Tokenizer(models.WordLevel(vocabulary, unk_token="?"))
    model.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    single = PreTrainedTokenizerFast(tokenizer_object=model, unk_token="?")
    path = tmp_path / "a.txt"
    path.write_text(CHINESE * 6, encoding="utf-8")
    assert not [line for line in told([path], single) if "language" in line]
    path.write_text(ENGLISH * 2, encoding="utf-8")
    assert [line for line in told([path], single) if "language" in line]


BROKEN = {
    "not JSON": (b'{"text": "a"}\n{"text": \n', r"a\.jsonl, line 2: this is not JSON"),
    "no field": (b'{"text": "a"}\n\n{"body": "b"}\n', r"a\.jsonl, line 3: there is no field 'text'"),
    "no string": (b'{"text": null}\n', r"a\.jsonl, line 1: 'text' is a null"),
    "bytes": (b'{"text": "\xff"}\n', r"a\.jsonl, line 1: byte 10 \(0xff\) is not UTF-8"),
    "empty": (b"", "The files hold no text"),
    "blank lines": (b"\n \r\n\n", "The files hold no text"),
    "blank texts": (lines("", " "), "The files hold no text"),
    "no tokens": (lines("\x01\x02", "\x03"), "The tokenizer finds no token in the 2 texts"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_rows_that_cannot_be_read(tmp_path: Path, tokenizer, name: str) -> None:
    data, fact = BROKEN[name]
    (tmp_path / "a.jsonl").write_bytes(data)
    with pytest.raises(ConvertError, match=fact) as caught:
        read([tmp_path / "a.jsonl"], tokenizer)
    assert caught.value.hint


def test_files_that_cannot_be_read(tmp_path: Path, tokenizer) -> None:
    (tmp_path / "a.csv").write_bytes(b"")
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "b.jsonl.gz").write_bytes(gzip.compress(lines("a" * 5000))[:-12])
    pq.write_table(pa.table({"body": ["a"]}), tmp_path / "c.parquet")
    (tmp_path / "none").mkdir()
    refused = [
        ([], "No list of files"),
        (str(tmp_path), "No list of files"),
        ([tmp_path / "gone.txt"], "There is no file"),
        ([tmp_path / "none"], "holds no file"),
        ([tmp_path / "a.csv"], "no kind that longspan reads"),
        ([tmp_path / "cut"], "damaged or cut short"),
        ([tmp_path / "c.parquet"], "no column 'text'|Field \"text\""),
    ]
    for paths, fact in refused:
        with pytest.raises(ConvertError, match=fact) as caught:
            read(paths, tokenizer)
        assert caught.value.hint


def test_numbers_that_leave_nothing(tmp_path: Path, tokenizer) -> None:
    with pytest.raises(ConvertError, match="limit of 0 tokens"):
        read_corpus([tmp_path], tokenizer, limit=0)
    with pytest.raises(ConvertError, match="0 tokens to hold out"):
        made([2, 3]).split(0, 0)
    with pytest.raises(ConvertError, match="1 document leaves none"):
        made([5]).split(1, 0)
