"""Estimators that count neighbours, and the exact counts that they stand on."""
