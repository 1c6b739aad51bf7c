"""Parts to one result: a Parquet file, or .npy and .jsonl; the same bytes for the same parts."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from longspan.encoding.files.parts import Counts, Part, sync_folder
from longspan.encoding.files.seal import OPEN, seal, sealed
from longspan.encoding.files.tables import arrow
from longspan.errors import EncodeError
from longspan.jsons import parse

_KEY = b"longspan"
_GROUP = 16_384  # vectors of a Parquet row group, at least


@dataclass(frozen=True)
class Target:
    """The result on disk.

    Attributes:
        out: The file that holds the vectors, .parquet or .npy.
    """

    out: Path

    def __post_init__(self) -> None:
        """Check the name, and that what it needs is installed."""
        if self.out.suffix not in (".parquet", ".npy"):
            raise EncodeError(f"{self.out} is neither .parquet nor .npy.", "name the result vectors.parquet")
        if self.out.suffix == ".parquet":
            arrow(f"Writing {self.out}")

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of the result, the one that tells that all are there last; without that of the errors."""
        if self.out.suffix == ".parquet":
            return (self.out,)
        return self.out, self.out.with_suffix(".jsonl"), self._beside(".json")

    @property
    def errors(self) -> Path:
        """JSON lines of the rows that could not be encoded; there only if there are any."""
        return self._beside(".errors.jsonl")

    @property
    def parts(self) -> Path:
        """Folder of what is done so far; gone at the end."""
        return self._beside(".parts")

    def about(self) -> dict[str, Any] | None:
        """What the result says of itself, None where it is not whole, or not of longspan."""
        try:
            if not all(path.exists() for path in self.files):
                return None
            if self.out.suffix == ".npy":
                told = parse(self.files[-1].read_bytes())
            else:
                pyarrow = arrow(f"Reading {self.out}")
                try:
                    told = parse(pyarrow.parquet.read_metadata(self.out).metadata[_KEY])
                except pyarrow.ArrowException:
                    return None
            return {**told, "counts": asdict(Counts.from_json(told["counts"]))}
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def whole(self) -> bool:
        """Whether all files of the result, that of the errors too, are byte for byte as they were written."""
        try:
            return sealed((self.errors, *self.files))
        except OSError:
            return False

    def merge(self, parts: Iterable[Part], about: dict[str, Any], dimension: int, vectors: int) -> None:
        """Write the result: all files under other names first, then renamed, the telling one last.

        Args:
            parts: In the order of the shards; one is held at a time.
            about: What the result shall say of itself; JSON.
            dimension: Columns of the vectors.
            vectors: How many there are in all.

        Raises:
            EncodeError: It cannot be written. What was there before is there still, or the parts are.
        """
        made = [self.parts / f"merged{number}" for number in range(len(self.files))]
        errors = self.parts / "merged-errors"
        about = {**about, "seal": OPEN}
        try:
            with errors.open("wb") as log:
                told = _telling(parts, log)
                if self.out.suffix == ".parquet":
                    _write_parquet(told, made[0], about, dimension)
                else:
                    _write_npy(told, made[0], made[1], dimension, vectors)
                    made[2].write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
            if not errors.stat().st_size:
                errors.unlink()
            seal((errors, *made))
            for path in (*made, errors):
                if path.exists():
                    _sync(path)
            # From here on the result may be half renamed; the mark says that this is no stranger's file.
            self.marked.touch()
            sync_folder(self.parts)
            if len(self.files) > 1:
                self.files[-1].unlink(missing_ok=True)
            if errors.exists():
                errors.replace(self.errors)
            else:
                self.errors.unlink(missing_ok=True)
            for path, final in zip(made, self.files, strict=True):
                path.replace(final)
            sync_folder(self.out.parent)
        except OSError as error:
            raise EncodeError(
                f"{self.out} could not be written: {error.strerror or error}.",
                "free some space, then run again: it goes on",
            ) from None

    @property
    def marked(self) -> Path:
        """The mark that the result's files are being renamed."""
        return self.parts / "merging"

    def _beside(self, end: str) -> Path:
        return self.out.with_name(self.out.name + end)


def _telling(parts: Iterable[Part], log: Any) -> Iterator[Part]:
    for part in parts:
        log.write(b"".join(json.dumps(error, ensure_ascii=False).encode() + b"\n" for error in part.errors))
        yield part


def _write_npy(parts: Iterable[Part], vectors: Path, lines: Path, dimension: int, count: int) -> None:
    with vectors.open("wb") as array, lines.open("w", encoding="utf-8", newline="\n") as text:
        shape = {"descr": "<f4", "fortran_order": False, "shape": (count, dimension)}
        np.lib.format.write_array_header_1_0(array, shape)
        for part in parts:
            array.write(part.vectors.tobytes())
            text.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in part.lines())


def _write_parquet(parts: Iterable[Part], path: Path, about: dict[str, Any], dimension: int) -> None:
    pyarrow = arrow(f"Writing {path}")
    schema = pyarrow.schema(
        [
            ("id", pyarrow.string()),
            ("row", pyarrow.int64()),
            ("chunk", pyarrow.int32()),
            ("start", pyarrow.int64()),
            ("end", pyarrow.int64()),
            ("tokens", pyarrow.int64()),
            ("read", pyarrow.int64()),
            ("windows", pyarrow.int32()),
            ("vector", pyarrow.list_(pyarrow.float32(), dimension)),
        ],
        metadata={_KEY: json.dumps(about)},
    )
    plain = [name for name in schema.names if name != "vector"]  # vectors neither repeat nor compress
    options = {"use_dictionary": plain, "write_statistics": plain, "compression": dict.fromkeys(plain, "zstd")}
    with pyarrow.parquet.ParquetWriter(path, schema, **options) as writer:
        for table in _grouped((_table(pyarrow, schema, part) for part in parts), pyarrow):
            writer.write_table(table, row_group_size=max(table.num_rows, 1))


def _table(pyarrow: Any, schema: Any, part: Part) -> Any:
    cells = [part.place[part.owner], part.chunk, part.start, part.end]
    cells += [values[part.owner] for values in (part.tokens, part.read, part.windows)]
    flat = pyarrow.array(part.vectors.reshape(-1))
    vectors = pyarrow.FixedSizeListArray.from_arrays(flat, part.vectors.shape[1])
    ids = pyarrow.array([part.ids[owner] for owner in part.owner.tolist()], pyarrow.string())
    return pyarrow.Table.from_arrays([ids, *map(pyarrow.array, cells), vectors], schema=schema)


def _grouped(tables: Iterable[Any], pyarrow: Any) -> Iterator[Any]:
    held: list[Any] = []
    for table in tables:
        held.append(table)
        if sum(each.num_rows for each in held) >= _GROUP:
            yield pyarrow.concat_tables(held)
            held = []
    if held:
        yield pyarrow.concat_tables(held)


def _sync(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())
