"""Estimators that take a law, or its copula, as Gaussian: correlations say all."""
