"""Fold numbers of rows, checked."""

import numpy as np

from estimators._core import _checks as checks


def as_folds(fold, n: int) -> np.ndarray:
    """Check the fold number of each of n rows: at least two different whole numbers."""
    if not checks.is_concrete(fold):
        raise ValueError("fold must be known numbers, as their count is a shape; it is traced")
    numbers = np.asarray(fold)
    if numbers.shape != (n,) or numbers.dtype.kind not in "iu":
        raise ValueError(
            f"fold must be {n} whole numbers, one a row; got shape {numbers.shape}, dtype "
            f"{numbers.dtype}"
        )
    if len(np.unique(numbers)) < 2:
        raise ValueError(f"fold must hold at least two numbers; got {numbers[0]} only")
    return numbers


def as_numbered_folds(fold, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Check fold numbers that are 0 to K - 1; they, and the size of each fold."""
    numbers = as_folds(fold, n)
    names, sizes = np.unique(numbers, return_counts=True)
    if (names != np.arange(len(names))).any():
        raise ValueError(f"fold must hold 0 to K - 1, K at least 2; got {names.tolist()!s:.60}")
    return numbers.astype(np.int32), sizes
