"""Checkpoints: save what stock tools load, verify that they do, load what they cannot hold."""
