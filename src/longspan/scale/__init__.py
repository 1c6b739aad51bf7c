"""Bulk work: files of any size encoded by one process, by several, or by Ray Data, to the same result."""
