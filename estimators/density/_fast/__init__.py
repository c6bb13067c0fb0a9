"""Sums over many points with a stated error, and points that arrive in a stream."""
