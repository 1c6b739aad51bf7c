"""MMNeedle: find the picture of a caption among many that are stitched together."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from longspan.benchmarks.files import bad_line, text_of, write_lines
from longspan.benchmarks.haystack import generator, permutation
from longspan.benchmarks.rows import check_natural, rows_of
from longspan.benchmarks.tasks import Count, Question, Questions, usual_count
from longspan.benchmarks.text_metrics import first_line
from longspan.errors import BenchmarkError, require

CARD = {
    "title": "Multimodal Needle in a Haystack (MMNeedle)",
    "source": "arXiv:2406.11230",
    "year": 2024,
    "authors": "Wang et al.",
    "task": "tell which image, row and column holds the picture of a caption, or that none does",
    "metrics": ("exact_accuracy", "index_accuracy"),
    "scope": "low",
    "diffusion": "middle",
    "licence": "yours: any folder of pictures with captions; the paper's are COCO's",
    "claim": "GPT-4o is ahead of all others, yet tells a place where the picture is not there (abstract)",
    "caution": "needs a model that reads images; a caption that fits two pictures makes a right answer wrong",
    "aliases": ("multimodal_needle",),
}

_NONE = "-1"
_LAYOUT = "captions.jsonl: file (of a picture in the folder), caption"


@dataclass(frozen=True)
class MMNeedle:
    """MMNeedle with one needle (Wang et al. 2024, section 3), over any pictures with captions.

    Each question shows M images of N x N pictures and a caption. The right reply is "image, row, column", counted
    from 1, or -1 where the picture of the caption is not there.

    Attributes:
        folder: Folder with captions.jsonl and the pictures.
        images: M, images in each question: 1 or 10 in the paper.
        grid: N, pictures along each side of an image: 1, 2, 4 or 8 in the paper.
        pixels: Side of a picture [pixels].
        samples: Questions, at least 1.
        negatives: Share of questions whose picture is not there [0..1].
    """

    folder: str = ""
    images: int = 10
    grid: int = 2
    pixels: int = 256
    samples: int = 10
    negatives: float = 0.5
    natural: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the counts."""
        if min(self.images, self.grid, self.pixels, self.samples) < 1 or not 0 <= self.negatives <= 1:
            raise BenchmarkError(
                f"{self!r} makes no question.", "images, grid, pixels, samples of 1 or more, negatives of 0 to 1"
            )

    def examples(self, length: int | None, seed: int, count: Count = usual_count) -> Questions:
        """Build the set.

        Args:
            length: None: what an image costs in tokens is the model's.
            seed: Draws the pictures, their places and what is asked for.
            count: Not needed.

        Raises:
            BenchmarkError: The folder is missing or damaged, or has too few pictures.
        """
        check_natural("mmneedle", length)
        if not self.folder:
            raise BenchmarkError("mmneedle needs pictures with captions.", f'mmneedle(folder="...") with {_LAYOUT}')
        captions = _captions(Path(self.folder))
        cells = self.images * self.grid**2
        questions = {}
        for i in range(self.samples):
            rng = generator(f"mmneedle {i}", seed)
            order = permutation(len(captions), rng)
            wanted = captions[order[0]]
            shown = [captions[j] for j in order[1:] if captions[j][1] != wanted[1]][:cells]
            absent = int((i + 1) * self.negatives) > int(i * self.negatives)
            if len(shown) < cells:
                raise BenchmarkError(
                    f"mmneedle has {len(captions)} pictures here, {self.images} images of {self.grid} x {self.grid} "
                    f"need {cells + 1} of different captions.",
                    f"images={max(1, len(shown) // self.grid**2)}, a smaller grid, or more pictures",
                )
            gold, depth = _NONE, None
            if not absent:
                at = int(rng.random() * cells)
                shown[at] = wanted
                image, row, column = at // self.grid**2, at // self.grid % self.grid, at % self.grid
                gold, depth = f"{image + 1}, {row + 1}, {column + 1}", at / cells
            questions[f"q{i:04d}"] = Question(
                self._prompt(wanted[1]), (gold,), gold, 32, ("\n",), depth=depth, images=self._stitch(shown)
            )
        return Questions("mmneedle", None, questions)

    def score(self, example: Question, output: str) -> dict[str, float]:
        """Whether image, row and column are right, and whether the image is; -1 is right or wrong in both."""
        told, right = (re.findall(r"(?<!\d)-?\d+", text) for text in (first_line(output), example.answers[0]))
        return {"exact_accuracy": float(told == right), "index_accuracy": float(told[:1] == right[:1])}

    def _prompt(self, caption: str) -> str:
        return (
            f"You see {self.images} images, numbered from 1 in their order. Each is made of {self.grid} rows and "
            f"{self.grid} columns of pictures. One picture may fit this caption: {caption}\nTell the number of its "
            f"image, its row and its column, counted from 1 and with commas in between, such as 1, 1, 1, or "
            f"{_NONE} if no picture fits. Tell nothing else.\nAnswer:"
        )

    def _stitch(self, shown: list[tuple[Path, str]]) -> tuple[Any, ...]:
        stitched, side = [], self.grid * self.pixels
        for image in range(self.images):
            canvas = _image().new("RGB", (side, side))
            for cell in range(self.grid**2):
                picture = _picture(shown[image * self.grid**2 + cell][0], self.pixels)
                canvas.paste(picture, (cell % self.grid * self.pixels, cell // self.grid * self.pixels))
            canvas.__class__ = _stitched()
            stitched.append(canvas)
        return tuple(stitched)


def _image() -> Any:
    return require("PIL.Image", "mmneedle", "lm")


@cache
def _stitched() -> Any:
    """The class of the images: what it prints is its pixels, so that sets compare by what they show."""

    def printed(self: Any) -> str:
        return f"Image({self.size}, {hashlib.sha256(self.tobytes()).hexdigest()[:12]})"

    return type("Stitched", (_image().Image,), {"__repr__": printed})


def _picture(path: Path, pixels: int) -> Any:
    with _image().open(path) as picture:
        return picture.convert("RGB").resize((pixels, pixels), _image().Resampling.BILINEAR)


def _captions(folder: Path) -> list[tuple[Path, str]]:
    captions = []
    for path, line, row in rows_of(folder / "captions.jsonl", "file, caption"):
        picture = folder / text_of(row, "file", path, line)
        caption = " ".join(text_of(row, "caption", path, line).split())
        try:
            with _image().open(picture) as opened:
                opened.verify()
        except (OSError, SyntaxError, ValueError) as error:
            raise bad_line(path, line, f"{picture.name} is not a picture ({error})") from None
        captions.append((picture, caption))
    return captions


def twin(folder: Path) -> None:
    """Draw a small made-up set: shapes in colours."""
    folder.mkdir(parents=True, exist_ok=True)
    from PIL import ImageDraw

    colours = ("red", "green", "blue", "yellow", "purple", "orange", "brown", "black")
    rows = []
    for colour in colours:
        for shape in ("circle", "square", "triangle", "cross", "ring", "bar"):
            canvas = _image().new("RGB", (48, 48), "white")
            pen = ImageDraw.Draw(canvas)
            if shape == "circle":
                pen.ellipse((8, 8, 40, 40), fill=colour)
            elif shape == "square":
                pen.rectangle((8, 8, 40, 40), fill=colour)
            elif shape == "triangle":
                pen.polygon(((24, 6), (6, 42), (42, 42)), fill=colour)
            elif shape == "cross":
                pen.line((8, 8, 40, 40), fill=colour, width=6)
                pen.line((8, 40, 40, 8), fill=colour, width=6)
            elif shape == "ring":
                pen.ellipse((8, 8, 40, 40), outline=colour, width=6)
            else:
                pen.rectangle((4, 20, 44, 28), fill=colour)
            canvas.save(folder / f"{colour}_{shape}.png")
            rows.append({"file": f"{colour}_{shape}.png", "caption": f"a {colour} {shape} on white"})
    write_lines(folder / "captions.jsonl", rows)
