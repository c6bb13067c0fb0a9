"""Tests and intervals that ask nothing of an estimator but its value; tables of pairs."""
