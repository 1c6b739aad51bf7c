"""Passkey retrieval: whose pass key stands in which document?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from longspan.benchmarks.haystack import budget, check_counts, generator, hide, permutation, pieces
from longspan.benchmarks.metrics import score_ranking
from longspan.benchmarks.tasks import Retrieval

CARD = {
    "title": "Personalised Passkey Retrieval",
    "source": "arXiv:2404.12096",
    "year": 2024,
    "authors": "Zhu et al.",
    "task": "find the document that tells a given person's pass key, among equal filler",
    "metrics": ("acc_at_1", "ndcg_at_10"),
    "scope": "low",
    "diffusion": "low",
    "licence": "generated; own names, template and filler as printed in the paper",
    "claim": "mean Acc@1 over 256 to 32768: E5-Base (512) 38.0, E5-RoPE-Base (512) 38.5, "
    "the same with SelfExtend (4k) 73.5 (Table 2)",
    "caution": "one sentence to find in filler: shows that far tokens are read, not that long texts are "
    "understood; BM25 scores 100",
    "aliases": ("passkey_retrieval",),
}

_FILLER = "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again. "

_FIRST = """
Ada Agnes Albert Alice Amelia Andrew Anna Anton Arthur Astrid Barbara Beatrice Benedict Bernard Bruno Carla Caroline
Cecilia Charles Clara Conrad Cora Daniel David Diana Dorothy Edgar Edith Edward Eleanor Elias Elsa Emil Emma Ernest
Esther Eugene Eva Felix Fiona Flora Frances Fred Gabriel George Gerald Gloria Grace Greta Harold Harriet Hector Helen
Henry Hilda Howard Hugo Ian Ida Irene Isaac Isabel Ivan Jacob James Jane Jasper Joan Joseph Judith Julian Karen Karl
Laura Leo Lewis Lydia Mabel Marcus Martha Max Miriam Nathan Nina Nora Oliver Olga Oscar Patrick Paula Peter Rachel
Robert Rosa Samuel Simon Stella Thomas Ursula Victor
"""

_LAST = """
Abbott Acosta Aldridge Archer Ashworth Bailey Baxter Becker Bishop Blackwood Boyle Brennan Burke Calloway Carver
Castillo Chandler Clayton Cole Conway Crawford Dalton Dawson Decker Delgado Donovan Drake Dunham Eastwood Ellison
Emerson Farrell Fischer Fleming Foster Fowler Gallagher Garrison Gibbs Goodwin Graves Griffith Hadley Hammond Harper
Hastings Hawkins Holloway Hutchins Ingram Jarvis Jennings Kaplan Keller Kendrick Kirby Lambert Larkin Lindqvist Lowell
Maddox Marlowe Mercer Monroe Morales Nash Newell Norwood Oakley Osborne Paxton Pemberton Porter Prescott Quigley
Radcliffe Ramsey Reeves Rhodes Rollins Salazar Sawyer Shepherd Sinclair Stanton Sutton Talbot Thornton Tucker
Underwood Vance Vaughn Wagner Walsh Webster Whitaker Winslow Yates York Zimmerman
"""


@dataclass(frozen=True)
class Passkey:
    """LongEmbed's personalised passkey test (Zhu et al. 2024, section 3 and Figure 7).

    Each document hides "NAME's pass key is KEY. Remember it. KEY is the pass key for NAME." in
    repeated filler; the query is "what is the passkey for NAME?". A seed draws who is asked for,
    the keys and, for each length, the places; the names are the same at every length and seed.

    Attributes:
        documents: Documents at each length, at most 10,000.
        queries: How many of them are asked for; all of them where there are fewer.
        depths: 0 for uniformly random places (as published), k for k equally filled depths.
    """

    documents: int = 100
    queries: int = 50
    depths: int = 0

    def __post_init__(self) -> None:
        """Check the counts."""
        check_counts("passkey", self.documents, self.queries, self.depths, most=10_000)

    def examples(self, length: int | None, seed: int) -> Retrieval:
        """Build the set.

        Args:
            length: Nominal document length [tokens]; a token is taken as 0.75 word.
            seed: Same seed, same bytes.

        Raises:
            BenchmarkError: The length is missing or leaves no room for filler.

        Example:
            >>> Passkey().examples(256, seed=0).queries["q0000"]
            'what is the passkey for Harriet Jarvis?'
        """
        rng = generator("passkey", seed)
        order = permutation(self.documents, rng)
        needles = [_needle(_name(i), 10_000 + int(rng.random() * 90_000)) for i in order]
        unit = pieces(_FILLER)
        words = budget("passkey", length)
        filler = (unit * math.ceil(words / len(unit)))[:words]
        rng = generator("passkey", seed, length)
        return hide("passkey", length, needles, filler, self.queries, self.depths, rng)

    def score(self, example: Sequence[str], output: Sequence[str]) -> dict[str, float]:
        """Score a ranking of document ids (output) against the ids of the right ones (example)."""
        return score_ranking(example, output)


def _name(i: int) -> str:
    first, last = _FIRST.split(), _LAST.split()
    # Within a hundred no first and no last name occurs twice, so no two people share a word.
    return f"{first[i % 100]} {last[(31 * i + i // 100) % 100]}"


def _needle(name: str, key: int) -> tuple[str, str]:
    # "pass key" here, "passkey" and a lower-case "what" there: as published.
    fact = f"{name}'s pass key is {key}. Remember it. {key} is the pass key for {name}."
    return fact, f"what is the passkey for {name}?"
