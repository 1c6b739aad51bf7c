"""Benchmarks: one file each, with the verbs ``examples(length, seed)`` and ``score(example, output)``."""
