"""The comparisons, one file a family."""

FAMILIES = ("density", "information", "score", "quantile", "conformal")
