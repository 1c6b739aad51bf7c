"""Benchmarks whose answer is the vectors of texts."""
