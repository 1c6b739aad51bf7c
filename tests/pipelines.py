"""Tiny sentence-transformers pipelines with random weights, a tokenizer of their own, and texts in its words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.models import build

WINDOW = 64
_SYLLABLES = ("ba", "co", "di", "fu", "ge", "ha", "ki", "lo", "mu", "ne", "po")
WORDS = [first + second for first in _SYLLABLES for second in _SYLLABLES][:112]


def tiny_tokenizer(*, special: bool = True) -> Any:
    """One token a word of WORDS."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: i for i, word in enumerate(["[UNK]", "[PAD]", "[CLS]", "[SEP]", ".", *WORDS])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    if special:
        tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", None, [("[CLS]", 2), ("[SEP]", 3)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=WINDOW,
    )


def pipeline(
    folder: Path, pooling: str = "mean", *, architecture: str = "bert", dense: bool = False, special: bool = True
) -> Any:
    """A SentenceTransformer over a tiny network with random weights, normalised."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, Transformer

    extra = 2 if architecture == "roberta" else 0
    build(architecture, max_position_embeddings=WINDOW + extra).save_pretrained(folder)
    tiny_tokenizer(special=special).save_pretrained(folder)
    modules = [Transformer(str(folder), max_seq_length=WINDOW), Pooling(32, pooling_mode=pooling)]
    if dense:
        torch.manual_seed(1)
        modules.append(Dense(32, 24))
    return SentenceTransformer(modules=[*modules, Normalize()], device="cpu")


def write_texts(folder: Path) -> Path:
    """24 files of 20 random sentences."""
    draw = np.random.default_rng(0)
    folder.mkdir()
    for number in range(24):
        sentences = [" ".join(draw.choice(WORDS, draw.integers(4, 12))) for _ in range(20)]
        (folder / f"{number:02}.txt").write_text(". ".join(sentences) + ".\n")
    return folder
