"""Ways to read a document longer than a window. Verb: ``read(text, room) -> windows, spans``."""
