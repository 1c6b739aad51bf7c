"""Benchmarks whose answer is how likely each token is."""
