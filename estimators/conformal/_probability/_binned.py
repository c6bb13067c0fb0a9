"""The binned calibration error, with the bias of its noise taken off."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import ArrayLike, Bool, Int, Real

from estimators.conformal._probability._bins import as_bins, bin_of, bin_sums
from estimators.conformal._probability._deviation import (
    CalibrationError,
    Deviations,
    as_power,
    from_deviations,
)
from estimators.conformal._probability._inputs import as_confidences


def calibration_error(
    probabilities: Real[ArrayLike, " n"] | Real[ArrayLike, "n classes"],
    labels: Int[ArrayLike, " n"] | Bool[ArrayLike, " n"],
    *,
    bins: int = 15,
    binning: str = "mass",
    power: int = 1,
    debias: bool = True,
) -> CalibrationError:
    """How far probabilities are from the frequencies of what they speak of, in bins.

        sum_b n_b/n abs(mean outcome in bin b - mean probability in bin b)**power

    With more than two classes that of the top label: its probability, and whether it is right.
    Without `debias` it is the familiar expected calibration error at power 1. That one is positive
    also for probabilities that are calibrated, by about `0.3 sqrt(bins / n)`: the noise of each
    bin's mean counts as error. With `debias` each row is held against the others in its bin,

        mean_i s(d_i) (outcome_i - probability_i),    s(d) = d, or 2 Phi(2 d / noise) - 1

    at powers 2 and 1, with d_i the mean deviation of the others and Phi the normal law. At power
    2 this is unbiased for any law; at power 1 it is where probabilities are calibrated, and low
    elsewhere where the sign of d_i is not sure. It can be negative. The plain one is too high,
    and at power 1 the interval reaches from below the one to above the other.

    Args:
        probabilities: `(n,)` of class 1, or `(n, classes)`, rows that sum to one.
        labels: `(n,)`, 0 to `classes - 1`.
        bins: number of bins, not more than n.
        binning: "mass", equally many rows in each; "width", equal parts of [0, 1].
        power: 1, or 2 for the mean square, whose unit is a squared probability.
        debias: see above; a row that is alone in its bin then counts as 0.

    Returns:
        The error, with a standard error and an `interval`.

    Raises:
        ValueError: for probabilities outside [0, 1] or rows that do not sum to one, labels out of
            range, more bins than rows. Inside jit such values give NaN.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> p, labels = jnp.array([0.1, 0.1, 0.6, 0.6]), jnp.array([0, 0, 1, 1])
        >>> error = conformal.calibration_error(p, labels, bins=2, debias=False)
        >>> print(f"{error.value:.2f}")
        0.25

    Reference: Kumar, Liang & Ma 2019, Verified uncertainty calibration, section 4; Broecker 2012,
    Estimating reliability and resolution of probability forecasts. Their corrected square is
    that of power 2, with the spread of probabilities within a bin allowed for. The form for
    power 1 is of the same making and is ours.

    When it fails: what differs within a bin cancels, so few bins find too little. Of the top
    label a model can be calibrated, and of the others not.
    """
    power = as_power(power)
    confidence, outcome = as_confidences(probabilities, labels)
    bins = as_bins(bins, binning, confidence.shape[0])
    return _binned(confidence, outcome, bins, binning, power, debias)


@eqx.filter_jit
def _binned(confidence, outcome, bins: int, binning: str, power: int, debias: bool):
    residual = outcome - confidence
    bin = bin_of(confidence, bins, binning)
    count = bin_sums(jnp.ones_like(residual), bin, bins)[bin]
    total = bin_sums(residual, bin, bins)[bin]
    others = (total - residual) / jnp.maximum(count - 1, 1)
    others = jnp.where(count > 1, others, 0 * residual)
    noise = jnp.sqrt(bin_sums(confidence * (1 - confidence), bin, bins))[bin] / count
    near = Deviations(others[:, None], noise[:, None], (total / count)[:, None])
    return from_deviations(near, residual[:, None], power, debias)
