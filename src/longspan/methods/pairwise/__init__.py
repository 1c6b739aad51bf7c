"""Pairwise methods: the distance between a query and a key is changed pair by pair."""
