"""Measuring: the record of a measurement (score) and the page that shows many of them (report)."""
