"""Frequency maps for rotary positions: ``frequencies(geometry, factor, length)``."""
