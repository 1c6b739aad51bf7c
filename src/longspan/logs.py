"""Keeps the libraries underneath quiet."""

from __future__ import annotations

import logging


def quiet() -> None:
    """Keep libraries' progress bars and notices off the terminal; errors still come through."""
    import transformers

    transformers.utils.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    logging.getLogger("sentence_transformers").setLevel(logging.ERROR)
