"""Recipes around a model that is left as it is; one folder = one family, one recipe = one file."""
