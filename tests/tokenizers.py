"""Tiny tokenizers of every kind: model, unknown token, letters, spaces, and what is put around a text."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedTokenizer

PIECES = ["b", "c", "ba", "co", "##ba", "##co", "▁", "▁ba", "▁co", "Ġ", "Ġba", "Ġco", "B"]
MODELS = ("BPE", "WordPiece", "Unigram", "WordLevel")
SPLITS = ("words", "metaspace", "bytes")
AROUND = {
    "none": (None, (), ()),
    "before": ("<s> $A", (1,), ()),
    "after": ("$A </s>", (), (2,)),
    "both": ("<s> $A </s>", (1,), (2,)),
    "two before": ("<s> <t> $A", (1, 3), ()),
    "two behind": ("<s> $A </s> </s>", (1,), (2, 2)),
    "roberta": (None, (1,), (2,)),
    "bytes, then both": ("<s> $A </s>", (1,), (2,)),
}
_SPECIAL = ["<unk>", "<s>", "</s>", "<t>"]
UNKNOWN = "<unk>"


def fast(model: str, *, unknown: bool, lower: bool, split: str, around: str) -> Any:
    """A fast tokenizer without the letter a, and without an unknown token where asked."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {piece: number for number, piece in enumerate([*_SPECIAL, *PIECES])}
    given = {"unk_token": UNKNOWN} if unknown else {}
    if model == "Unigram":
        scores = [(piece, -float(number)) for piece, number in vocabulary.items()]
        tokenizer = Tokenizer(models.Unigram(scores, unk_id=0) if unknown else models.Unigram(scores))
    elif model == "BPE":
        tokenizer = Tokenizer(models.BPE(vocabulary, [], **given))
    elif model == "WordPiece":
        tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=UNKNOWN if unknown else "<none>"))
    else:
        tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN if unknown else "<none>"))
    if lower:
        tokenizer.normalizer = normalizers.Lowercase()
    splits = {
        "words": pre_tokenizers.WhitespaceSplit(),
        "metaspace": pre_tokenizers.Metaspace(prepend_scheme="always"),
        "bytes": pre_tokenizers.ByteLevel(add_prefix_space=True),
    }
    tokenizer.pre_tokenizer = splits[split]
    template = AROUND[around][0]
    rule: Any = None
    if template:
        rule = processors.TemplateProcessing(template, None, [("<s>", 1), ("</s>", 2), ("<t>", 3)])
    if around == "roberta":
        rule = processors.RobertaProcessing(("</s>", 2), ("<s>", 1))
    if around == "bytes, then both":
        rule = processors.Sequence([processors.ByteLevel(), rule])
    if rule is not None:
        tokenizer.post_processor = rule
    tokens = {"bos_token": "<s>", "eos_token": "</s>", **given}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=16, **tokens)


class Slow(PreTrainedTokenizer):
    """A tokenizer in Python, without offsets; it puts what it is told around a text."""

    def __init__(self, before: tuple[int, ...] = (1,), behind: tuple[int, ...] = (2,), **given: Any) -> None:
        self.before, self.behind = list(before), list(behind)
        self.ids = {piece: number for number, piece in enumerate([*_SPECIAL, *PIECES])}
        super().__init__(unk_token=UNKNOWN, pad_token=UNKNOWN, model_max_length=16, **given)

    @property
    def vocab_size(self) -> int:
        """How many tokens."""
        return len(self.ids)

    def get_vocab(self) -> dict[str, int]:
        """Token to id."""
        return dict(self.ids)

    def _tokenize(self, text: str, **kwargs: Any) -> list[str]:
        return text.split()

    def _convert_token_to_id(self, token: str) -> int:
        return self.ids.get(token, 0)

    def _convert_id_to_token(self, index: int) -> str:
        return next(token for token, number in self.ids.items() if number == index)

    def build_inputs_with_special_tokens(self, token_ids_0: Any, token_ids_1: Any = None) -> list[int]:
        """The text between what stands around it."""
        return [*self.before, *token_ids_0, *self.behind]
