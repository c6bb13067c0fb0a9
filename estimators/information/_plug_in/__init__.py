"""Estimators that put an estimate of the density in its place: cells or kernels."""
