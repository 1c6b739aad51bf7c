"""Formulas derived again from the papers, and the numbers of transformers' own types."""
