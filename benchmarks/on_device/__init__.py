"""The pieces of `benchmarks/accelerator.py`: one file a piece of work, its peers, its table."""
