"""Benchmarks: `python -m benchmarks` runs every comparison with a peer; scripts beside it."""
