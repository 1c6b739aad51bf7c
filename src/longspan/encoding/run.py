"""encode: texts of any length to vectors, with an account of what each vector has read."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from tqdm import tqdm

from longspan import __version__, spec
from longspan.disk import digest_of
from longspan.encoding import batches, engines, pipeline, tokens
from longspan.encoding.encoded import Encoded, collect, interleave, named, overflow, remedy, room_for
from longspan.encoding.forward import vectors
from longspan.encoding.pooling import Head
from longspan.encoding.refusals import OnError, OnOverflow, check_call, check_options
from longspan.encoding.strategy import as_strategy, check_spans, methods_of, reading_longer, window_of
from longspan.encoding.tokens import FrameKind, Tokenised
from longspan.errors import EncodeError
from longspan.extension import automatic, plan_of
from longspan.families import files_of
from longspan.identity import identity, stamp
from longspan.planning import Plan
from longspan.reading import Reading, Span, Strategy, Text, check_reading
from longspan.seams import anatomy
from longspan.storage.load import lost_parts
from longspan.texts import listed, spans_of
from longspan.twin import extended_twin

Spans = Iterable[Iterable[Span] | None]


def encode(
    model: Any,
    texts: Iterable[str],
    strategy: str | Strategy | None = None,
    *,
    spans: Spans | None = None,
    on_error: OnError = "raise",
    progress: str = "",
    **options: Any,
) -> Encoded:
    """Encode texts of any length with a sentence-transformers model, extended or not.

    Args:
        model: A SentenceTransformer; it is read, and never changed.
        texts: Of any length, read by position whatever holds them: a list, a Series, an array, an iterator. One
            that shows nothing, or that has no token in the vocabulary, is a BlankTextError: it has no vector.
        strategy: How a text longer than a window is read: a specification such as ``"chunk_mean(window=256)"``,
            an object with the same verb, or None for one window.
        spans: For chunks by spans: those of each text [characters], by position, None for a text without.
        on_error: "raise" ends with an error that names the places of the texts that cannot be encoded; "keep" gives
            those no vector, and the reason of each in ``errors``.
        progress: Title of a progress bar on stderr, "" for none.
        **options: Those of ``Encoder``.

    Raises:
        EncodeError: The model or an option does not fit, what was given is no list of texts, or, where ``on_error`` is
            "raise", a text does not.

    Example:
        >>> encode(model, [document], "chunk_mean(window=512)").vectors.shape
        (1, 384)
    """
    encoder = Encoder(model, strategy, **options)
    check_spans(encoder.strategy, spans)
    return encoder._run(texts, spans, on_error, progress)


class Encoder:
    """A model and a way to read, for many calls; a model that was changed in between is read anew.

    Args:
        model: A SentenceTransformer.
        strategy: As for ``encode``.
        prompt: Put in front of every window, such as "query: "; the model's default prompt when None.
        frame: For decoders: "echo" reads a window twice and pools the second reading (Springer et al. 2024),
            "one_word" asks for the text in one word (PromptEOL, Jiang et al. 2023).
        backend: torch, onnx or openvino.
        dtype: float32, bfloat16 or int8; None for the model's own.
        layers: Layers of the transformer that are run, all when None (2D Matryoshka, Li et al. 2024).
        dims: First dimensions of a vector that are kept, all when None.
        batch_tokens: What a batch may cost [tokens]; a costlier window is a batch of its own, and a batch that
            does not fit the memory is halved.
        on_overflow: What to do when texts are longer than the strategy reads: raise an error, warn, cut them and
            only account for it, read them in chunks, or read them by a twin of the model that is extended.

    Raises:
        EncodeError: The model does not pool token states, or an option does not fit.
    """

    def __init__(
        self,
        model: Any,
        strategy: str | Strategy | None = None,
        *,
        prompt: str | None = None,
        frame: FrameKind | None = None,
        backend: str = "torch",
        dtype: str | None = None,
        layers: int | None = None,
        dims: int | None = None,
        batch_tokens: int | None = None,
        on_overflow: OnOverflow = "warn",
    ) -> None:
        pipeline.check_transformer(model)
        numbers = check_options(on_overflow, batch_tokens=batch_tokens, layers=layers, dims=dims)
        if lost := lost_parts(model):
            warnings.warn(f"stock tools loaded this model without {lost}; longspan.load restores all", stacklevel=3)
        self.model = model
        self.strategy = as_strategy(strategy)
        if str(getattr(self.strategy, "method", "")).lower() == "auto":  # what that means may change; the vectors not
            chosen, _ = automatic(model, self.strategy.to or 0)  # type: ignore[attr-defined]
            self.strategy = replace(self.strategy, method=chosen)  # type: ignore[type-var]
        self.on_overflow = on_overflow
        self._how: dict[str, Any] = {"backend": backend, "dtype": dtype, "layers": numbers.get("layers")}
        self._what: dict[str, Any] = {"prompt": prompt, "frame": frame, "dims": numbers.get("dims")}
        self._budget = numbers.get("batch_tokens")
        self._take()

    def _take(self) -> None:
        """Read the pipeline as it is now."""
        model, prompt, dims = self.model, self._what["prompt"], self._what["dims"]
        self._stamp = stamp(model)
        self.head = Head(model)
        if self.strategy.makes == "spans":
            self.head.check_spans()
        # A model's own cut comes behind the normalisation, as sentence-transformers has it; dims come before it.
        self._cut: int | None = model.truncate_dim
        width = len(range(self.head.dimension)[: self._cut])
        if dims is not None and not 1 <= dims <= width:
            raise EncodeError(f"A vector of {width} dimensions has no first {dims}.", f"use 1 to {width}")
        self.dimension: int = dims or width
        self.prompt: str = (model.prompts.get(model.default_prompt_name) or "") if prompt is None else prompt
        self.frame = self._frame()
        self.batch_tokens = self._budget or batches.budget(self.head.device, self.head.width)
        self._engine: engines.Engine | None = None
        self._made: Plan | None = None  # what the engine was made for
        self._twin: tuple[Plan | None, Any] | None = None  # of the model as it was extended then
        self._rest: tuple[tuple[Plan | None, int], Encoder] | None = None  # the last one, and what it was made for

    def _frame(self) -> tokens.Frame:
        return tokens.frame(self.model.tokenizer, self._what["frame"], prompt=self.prompt, mode=self.head.mode)

    def refresh(self) -> None:
        """Read the model anew where it was trained, edited, extended or moved since."""
        if stamp(self.model) != self._stamp:
            self._take()
        self.frame = self._frame()  # a vocabulary counts by its size alone in a stamp

    def encode(
        self, texts: Iterable[Any], spans: Spans | None = None, on_error: OnError = "raise", progress: str = ""
    ) -> Encoded:
        """Encode texts; arguments and errors are those of the function ``encode``."""
        check_spans(self.strategy, spans)
        return self._run(texts, spans, on_error, progress)

    def describe(self) -> dict[str, Any]:
        """What the vectors depend on, as JSON: names of the model, which say nothing, and its identity, which does.

        Raises:
            InspectError: The model holds something that cannot be told apart, or weights that are not in memory.
        """
        self.refresh()
        config, made = anatomy.transformer(self.model).config, plan_of(self.model)
        return {
            "model": str(config._name_or_path),
            "revision": str(getattr(config, "_commit_hash", None) or ""),
            "identity": identity(self.model),
            "files": [digest_of(path, EncodeError) for path in files_of(methods_of(self.model, self.strategy))],
            "plan": f"{spec.short(made.methods)} -> {made.length}" if made else "",
            "strategy": spec.short([self.strategy]),
            "on_overflow": self.on_overflow,
            **self._how,
            **self._what,
            "device": self.head.device.type,
            "versions": {"longspan": __version__, **engines.versions(self._how["backend"], self._how["dtype"])},
        }

    @property
    def engine(self) -> str:
        """How token states are computed, with the layers, dimensions and frame where they are not the usual ones."""
        cuts = {"layers": self._how["layers"], "dims": self._what["dims"]}
        name = f"{self._how['backend']} {self._how['dtype'] or self.head.dtype}"
        framed = [self._what["frame"]] if self._what["frame"] else []
        return ", ".join([name, *(f"{count} {what}" for what, count in cuts.items() if count), *framed])

    @property
    def window(self) -> int:
        """Tokens that a window holds, special ones included."""
        return window_of(self._reader(), self.strategy)

    def _run(self, texts: Iterable[Any], spans: Spans | None, on_error: OnError, progress: str) -> Encoded:
        check_call(on_error, progress)
        self.refresh()
        given = listed(texts)
        known = spans_of(spans, len(given))
        tokenised, errors = tokens.told_apart(self.model.tokenizer, given, self.prompt, known)
        readings = self._read(tokenised, errors)
        if errors and on_error == "raise":
            raise named(errors, len(given))
        long = [place for place, reading in readings.items() if reading.used < tokenised[place].text.tokens]
        longest = max((len(tokenised[place].ids) for place in long), default=0)
        if long and self.on_overflow in ("error", "warn"):
            self._tell(tokenised, readings, longest)
        again = long if self.on_overflow in ("chunk", "extend") else []
        for place in again:
            del readings[place]
        encoded = self._encoded(len(given), tokenised, readings, errors, progress)
        if again:
            other = self._other(longest)
            rest = other._run([given[place] for place in again], [known[place] for place in again], "keep", progress)
            encoded = interleave(encoded, rest, again)
        if encoded.errors and on_error == "raise":  # of vectors that are no numbers
            raise named(encoded.errors, len(given))
        return encoded

    def _reader(self) -> Any:
        """The model, or the twin of it that is extended as the strategy asks."""
        to, made = getattr(self.strategy, "to", None), plan_of(self.model)
        if not to:
            return self.model
        kept = self._twin
        if kept is None or kept[0] is not made:
            self._twin = kept = made, extended_twin(self.model, to, getattr(self.strategy, "method", None) or None)
        return kept[1]

    def _other(self, longest: int) -> Encoder:
        """The encoder of texts that are too long for this one; kept for the next ones of that length."""
        to = 0 if self.on_overflow == "chunk" else room_for(self._whole(longest))
        wanted, kept = (plan_of(self.model), to), self._rest
        if kept is None or kept[0][0] is not wanted[0] or kept[0][1] != to:
            model, strategy = reading_longer(self.model, self.strategy, to)
            options = {**self._how, **self._what, "batch_tokens": self.batch_tokens, "on_overflow": "truncate"}
            self._rest = kept = wanted, Encoder(model, strategy, **options)
        return kept[1]

    def _whole(self, tokens: int) -> int:
        """Tokens of the window that reads a text of so many, with its prompt, whole."""
        return len(self.frame.wrap([0] * tokens, []).ids)

    def _read(self, tokenised: dict[int, Tokenised], errors: dict[int, EncodeError]) -> dict[int, Reading]:
        window, rows, readings = self.window, anatomy.word_rows(anatomy.transformer(self.model)), {}
        self.strategy.read(Text("a", 1, ((0, 1),), ((0, 1),)), self.frame.room(window, 0))  # no text's own fault
        for place, one in tokenised.items():
            try:
                tokens.check_tokens(one, self.frame, rows)
                readings[place] = check_reading(self.strategy.read(one.text, self.frame.room(window, len(one.prompt))))
            except EncodeError as error:  # noqa: PERF203 one text's error is not another's
                errors[place] = error
        return readings

    def _tell(self, tokenised: dict[int, Tokenised], readings: dict[int, Reading], longest: int) -> None:
        given = [tokenised[place].text.tokens for place in readings]
        lost = overflow(given, [reading.used for reading in readings.values()])
        made = plan_of(self.model)  # what is extended already is extended anew from its original
        name = made.geometry.source if made else str(anatomy.transformer(self.model).config._name_or_path)
        told = remedy(name or "MODEL", self._whole(longest))
        if self.on_overflow == "error":
            raise EncodeError(lost, f"on_overflow='chunk' reads them whole; or {told}")
        warnings.warn(f"{lost[:-1]}; {told}", stacklevel=4)

    def _encoded(
        self,
        count: int,
        tokenised: dict[int, Tokenised],
        readings: dict[int, Reading],
        errors: dict[int, EncodeError],
        progress: str,
    ) -> Encoded:
        if self._engine is None or self._made is not plan_of(self.model):
            self._engine, self._made = engines.engine(self._reader(), **self._how), plan_of(self.model)
        total = sum(window.end - window.start for reading in readings.values() for window in reading.windows)
        with tqdm(total=total, desc=progress, unit="tok", unit_scale=True, disable=not progress) as bar:
            found = vectors(
                self._engine,
                self.head,
                self.frame,
                self.strategy,
                [tokenised[place] for place in readings],
                list(readings.values()),
                self.batch_tokens,
                self._what["dims"],
                bar.update,
            )
        if self._what["dims"] is None:
            found = [one[:, : self._cut] for one in found]
        return collect(count, tokenised, readings, found, errors, self.dimension)
