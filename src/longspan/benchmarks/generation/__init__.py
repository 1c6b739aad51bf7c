"""Benchmarks whose answer is a text."""
