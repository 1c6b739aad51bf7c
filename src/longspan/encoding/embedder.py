"""A decoder as an embedding model: token states pooled, attention in one direction or both."""

from __future__ import annotations

from typing import Any, Literal, get_args

from longspan.errors import EncodeError, StorageError

DecoderPooling = Literal["lasttoken", "weightedmean", "mean"]


def embedder(
    model: str,
    *,
    pooling: DecoderPooling = "lasttoken",
    bidirectional: bool = False,
    device: str | None = None,
    dtype: str | None = None,
) -> Any:
    """Make a sentence-transformers model of a decoder.

    It is extended, encoded with, saved and loaded as any other. ``encode(..., frame="echo")`` and
    ``frame="one_word"`` put a decoder's words around the text.

    Args:
        model: A transformers checkpoint: a name or a folder.
        pooling: The last token's state; the mean weighted by position, ``w_i = i / sum(1..n)``
            (SGPT, Muennighoff 2022); or the plain mean.
        bidirectional: Let every token see those behind it, the first step of LLM2Vec (BehnamGhader et al.
            2024). Their second and third steps train; without them vectors are often worse.
        device: As torch spells it.
        dtype: As torch spells it.

    Returns:
        A SentenceTransformer.

    Raises:
        EncodeError: There is no such pooling, or the checkpoint was extended in one direction only.
        StorageError: The checkpoint cannot be read, lacks weights, or is no decoder.

    Example:
        >>> longspan.encode(embedder("stories260K"), ["Once upon a time"], frame="echo").vectors.shape
        (1, 64)
    """
    if pooling not in get_args(DecoderPooling):
        raise EncodeError(f"A decoder is not pooled by {pooling!r}.", f"use {', '.join(get_args(DecoderPooling))}")
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

    from longspan.sources import CAUSAL, family, locate
    from longspan.storage import weights
    from longspan.storage.load import reading, restored

    options: dict[str, Any] = {"ignore_mismatched_sizes": True}  # told with all the others, by name
    if dtype:
        options["dtype"] = dtype
    with reading(model, "give the folder or name of a decoder"):
        place = locate(model)
        if (kind := family(place, StorageError)) not in (CAUSAL, "SentenceTransformer"):
            raise StorageError(f"{model!r} is a {kind} and no decoder.", "longspan.load reads it")
        transformer = Transformer(
            place,
            model_kwargs=options,
            # Its text as it is: a chat template, which sentence-transformers would write it into, is for chats.
            modality_config={"text": {"method": "forward", "method_output_name": "last_hidden_state"}},
            module_output_name="token_embeddings",
        )
        weights.check(transformer.auto_model, place)
    config = transformer.auto_model.config
    if bidirectional and getattr(config, "longspan", None):
        raise EncodeError(
            f"{model!r} was extended as a decoder, and bidirectional=True makes an encoder of it.",
            "make the embedder of the original, then extend it",
        )
    if bidirectional:
        config.is_causal = False
    if transformer.tokenizer.pad_token is None:
        transformer.tokenizer.pad_token = transformer.tokenizer.eos_token
    pool = Pooling(transformer.get_embedding_dimension(), pooling_mode=pooling)
    return restored(SentenceTransformer(modules=[transformer, pool, Normalize()], device=device), model)
