"""Benchmarks: one file each, ``examples(length, seed)`` and ``score(example, output)``, by kind of answer."""
