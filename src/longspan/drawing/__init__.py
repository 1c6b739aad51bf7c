"""Pictures of what a plan makes of positions."""
