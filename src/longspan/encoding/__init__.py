"""Long documents to vectors: windows, token-budget batches, overflow accounting."""
