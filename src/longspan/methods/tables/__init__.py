"""Tables for learned absolute positions: ``table(weight, rows)`` and ``position_ids(length, window, rows)``."""
