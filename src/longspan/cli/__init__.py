"""The command line: one short file per verb, no logic, nothing heavy imported before a verb runs."""

from longspan.cli.main import app

__all__ = ["app"]
