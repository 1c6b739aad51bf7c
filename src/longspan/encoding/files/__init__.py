"""Files in, files out: rows of text by the shard, vectors by the part, parts merged to one result."""
