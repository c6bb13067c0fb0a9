"""A test of calibration whose p-value is exact: labels drawn anew from the probabilities."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int, Key, Real

from estimators._core import Stored, checks
from estimators.conformal._probability._bins import as_bins, bin_of, bin_sums
from estimators.conformal._probability._inputs import as_confidences


class CalibrationTest(Stored):
    """A statistic and its p-value; see `calibration_test`, `pit_calibration_test`.

    Attributes:
        statistic: the calibration error that was tested.
        p_value: the probability of one as large where calibration holds.
    """

    statistic: Float[Array, ""]
    p_value: Float[Array, ""]


def calibration_test(
    probabilities: Real[ArrayLike, " n"] | Real[ArrayLike, "n classes"],
    labels: Int[ArrayLike, " n"] | Bool[ArrayLike, " n"],
    *,
    key: Key[Array, ""],
    bins: int = 15,
    binning: str = "mass",
    draws: int = 999,
) -> CalibrationTest:
    """Test that outcomes have the probabilities that they were given.

    The statistic is `calibration_error` at power 2, not debiased. Where probabilities are right,
    outcomes drawn from them have the same law as those observed, so that

        p = (1 + number of draws whose statistic is as large) / (1 + draws)

    has `P(p <= a) <= a` for every a, n and number of draws, whatever the probabilities.

    Args:
        probabilities: `(n,)` of class 1, or `(n, classes)`, of which the top label is tested.
        labels: `(n,)`, 0 to `classes - 1`.
        key: draws the outcomes.
        bins: as for `calibration_error`.
        binning: as there.
        draws: number of draws; no p-value is below `1 / (1 + draws)`.

    Raises:
        ValueError: as `calibration_error`; inside jit bad values give NaN.

    Example:
        >>> import jax
        >>> from estimators import conformal
        >>> p = jax.random.uniform(jax.random.key(0), (500,))
        >>> labels = jax.random.uniform(jax.random.key(1), (500,)) < p**2
        >>> test = conformal.calibration_test(p, labels, key=jax.random.key(2))
        >>> print(f"{test.p_value:.3f}")
        0.001

    Reference: Broecker & Smith 2007, Increasing the reliability of reliability diagrams
    (consistency resampling); Vaicenavicius et al. 2019, Evaluating model calibration in
    classification, section 5.

    When it fails: rows must be independent given their probabilities. What differs within a bin
    is not seen, and with very many rows a deviation is found that does not matter; look at the
    error's interval too.
    """
    confidence, outcome = as_confidences(probabilities, labels)
    bins = as_bins(bins, binning, confidence.shape[0])
    draws = checks.integer("draws", draws, at_least=1)
    return _test(confidence, outcome, checks.as_key(key), bins, binning, draws)


@functools.partial(jax.jit, static_argnames=("bins", "binning", "draws"))
def _test(confidence, outcome, key, bins: int, binning: str, draws: int):
    bin = bin_of(confidence, bins, binning)
    size = jnp.maximum(bin_sums(jnp.ones_like(confidence), bin, bins), 1)

    def statistic(outcome):
        return jnp.sum(bin_sums(outcome - confidence, bin, bins) ** 2 / size) / bin.shape[0]

    def drawn(key):
        # In 32 bits, so that a key draws the same outcomes in either precision.
        uniform = jax.random.uniform(key, confidence.shape, jnp.float32)
        return statistic((uniform < confidence).astype(confidence.dtype))

    return monte_carlo(statistic(outcome), drawn, key, draws)


def monte_carlo(statistic, drawn, key, draws: int) -> CalibrationTest:
    """The rank of a statistic among draws of it, ties against it."""
    others = jax.lax.map(drawn, jax.random.split(key, draws))
    # Two equal sums may differ by their rounding.
    slack = 64 * jnp.finfo(statistic.dtype).eps * jnp.abs(statistic)
    p_value = (1 + jnp.sum(others >= statistic - slack)) / (1 + draws)
    p_value = jnp.where(jnp.isnan(statistic), jnp.nan, p_value)
    return CalibrationTest(statistic, p_value.astype(statistic.dtype))
