"""A kernel density on points that are read block by block, and need not fit in memory."""
