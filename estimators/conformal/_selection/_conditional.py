"""P-values that hold given the calibration rows: bounds on all calibration ranks at once."""

import numpy as np


def conditional_levels(n: int, confidence: float, method: str) -> np.ndarray:
    """What stands in for the p-values 1/(n + 1), 2/(n + 1), .., 1.

    Given the calibration scores, a new one has p <= k/(n + 1) with the probability U_(k), the
    k-th smallest of n uniform variables that stand for these scores. With bounds b_k that are
    above all U_(k) at once with probability `confidence`, b_k in place of k/(n + 1) is a
    p-value given the calibration rows, for all k, with that probability.

    Returns:
        `(n + 1,)`, increasing, in float64; the last is 1.
    """
    bounds = {"simes": _simes, "dkwm": _dkwm}[method](n, 1 - confidence)
    return np.append(np.minimum(bounds, 1), 1)


def _dkwm(n, miss):
    """Dvoretzky-Kiefer-Wolfowitz, one-sided with Massart's constant: x - F_n(x) below U_(k)."""
    return np.arange(n) / n + np.sqrt(np.log(1 / miss) / (2 * n))


def _simes(n, miss):
    """The generalised Simes inequality, by the n/2 largest; tighter for small p-values."""
    from scipy import special

    k = max(n // 2, 1)
    rank = np.arange(n, 0, -1)
    # log of the product of (rank - j) / (n - j) over j = 0 .. k - 1, which is 0 below rank k
    falling = special.gammaln(rank + 1) - special.gammaln(np.maximum(rank - k, 0) + 1)
    product = falling - special.gammaln(n + 1) + special.gammaln(n - k + 1)
    return np.where(rank < k, 1, 1 - np.exp((np.log(miss) + product) / k))
