"""A tokenizer of one's own: what is switched on it, another thread's never sees."""

from __future__ import annotations

import copy
from typing import Any

from longspan.errors import EncodeError, is_failure, one_line


def own(tokenizer: Any) -> Any:
    """A tokenizer that gives the same tokens and neither cuts nor pads; made anew for each use, it is always current.

    A fast tokenizer keeps in itself where it cuts and how it pads, for all who use it. The copy has a backend of its
    own around the same vocabulary, so that it costs neither memory nor time (0.1 ms, whatever the vocabulary).

    Args:
        tokenizer: A transformers tokenizer, fast or slow; it stays as it is.

    Returns:
        A tokenizer of the same class.
    """
    made = copy.copy(tokenizer)  # a slow one keeps nothing of a call, and fields that are set are set on the copy
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        made._tokenizer = _backend(backend)
    return made


def tokens_of(tokenizer: Any, texts: Any, **options: Any) -> Any:
    """What a tokenizer makes of a text or several.

    Args:
        tokenizer: A transformers tokenizer.
        texts: As it takes them.
        **options: Its own.

    Raises:
        EncodeError: It cannot read a text, as one without an unknown token cannot read unknown words.
    """
    try:
        return tokenizer(texts, **options)
    except BaseException as error:  # tokenizers raises no kind of its own, and may panic
        if not is_failure(error):
            raise
        raise EncodeError(
            f"The tokenizer cannot read it: {one_line(error)}",
            "use a vocabulary with an unknown token"
            if isinstance(error, Exception)
            else "leave it out, or take another normaliser or fewer added tokens",
        ) from error


def around(tokenizer: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The special tokens that a tokenizer puts before and behind a text.

    Read from the rule that puts them there, so that no text has to be found that has tokens in the vocabulary.

    Args:
        tokenizer: A transformers tokenizer, fast or slow.

    Raises:
        EncodeError: It has no such rule, or one that names tokens which it does not have.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        rule, text = backend.post_processor, _one_token()
        found = _processed(rule, text) if rule is not None else text
        place = found.special_tokens_mask.index(0)
        ids = found.ids
    elif hasattr(tokenizer, "build_inputs_with_special_tokens"):
        token = max(tokenizer.build_inputs_with_special_tokens([]), default=0) + 1  # none of them
        ids = tokenizer.build_inputs_with_special_tokens([token])
        place = ids.index(token)
    else:
        raise EncodeError(
            f"A {type(tokenizer).__name__} does not tell what it puts around a text.", "use a tokenizer of transformers"
        )
    return tuple(ids[:place]), tuple(ids[place + 1 :])


def _backend(backend: Any) -> Any:
    from tokenizers import Tokenizer

    made = Tokenizer(backend.model)
    for part in ("normalizer", "pre_tokenizer", "post_processor", "decoder"):
        if (kept := getattr(backend, part)) is not None:
            setattr(made, part, kept)
    added = backend.get_added_tokens_decoder()
    made.add_tokens([added[token] for token in sorted(added)])
    made.encode_special_tokens = backend.encode_special_tokens
    return made


def _processed(rule: Any, text: Any) -> Any:
    try:
        return rule.process(text, None, True)
    except BaseException as error:
        if isinstance(error, Exception) or type(error).__name__ == "PanicException":  # Rust's, no Exception
            raise EncodeError(
                f"The tokenizer's own rule fails: {error}", "give its post-processor tokens that it has"
            ) from None
        raise


def _one_token() -> Any:
    """The encoding of a text of one token, by no vocabulary in particular."""
    from tokenizers import Tokenizer, models

    return Tokenizer(models.WordLevel({"a": 0}, unk_token="a")).encode("a", add_special_tokens=False)  # noqa: S106
