"""Seams: the only code that writes to a model. Every ``apply`` returns its undo."""
