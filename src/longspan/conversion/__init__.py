"""Turning an encoder with a table of learned positions into one with rotary positions."""
