"""Factors on the attention logits: ``scale(position, length, geometry, target)``."""
