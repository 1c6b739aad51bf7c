"""Slopes: how steeply the linear bias of ALiBi falls with distance."""
