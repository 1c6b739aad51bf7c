"""Benchmarks whose answer is a ranking of documents."""
