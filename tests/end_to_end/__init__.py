"""What a user does, on the real all-MiniLM-L6-v2."""
