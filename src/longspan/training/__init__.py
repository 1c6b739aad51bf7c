"""Texts to learn from, and the training that reads them."""
