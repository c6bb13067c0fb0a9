"""Reliability diagrams: observed frequencies against probabilities, in bins."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int, Real

from estimators._core import Stored, checks
from estimators.conformal._probability._bins import as_bins, bin_of, bin_sums
from estimators.conformal._probability._inputs import as_confidences


class Reliability(Stored):
    """Points and bars of a reliability diagram; see `reliability`. NaN for an empty bin.

    Attributes:
        edges: `(bins + 1,)`, of the bins.
        predicted: `(bins,)`, mean probability.
        observed: `(bins,)`, frequency of what it speaks of.
        count: `(bins,)`, rows.
        lower: `(bins,)`, lower end of the frequencies that calibration allows.
        upper: `(bins,)`, upper end.
        coverage: of those, in each bin.
    """

    edges: Float[Array, " edges"]
    predicted: Float[Array, " bins"]
    observed: Float[Array, " bins"]
    count: Int[Array, " bins"]
    lower: Float[Array, " bins"]
    upper: Float[Array, " bins"]
    coverage: float = eqx.field(static=True)

    def plot(self, ax=None):
        """Draw the diagram with matplotlib, on `ax` or on new axes, and return the axes."""
        from estimators.conformal._probability._plot import plot_bins

        return plot_bins(self, ax)


def reliability(
    probabilities: Real[ArrayLike, " n"] | Real[ArrayLike, "n classes"],
    labels: Int[ArrayLike, " n"] | Bool[ArrayLike, " n"],
    *,
    bins: int = 10,
    binning: str = "mass",
    coverage: float = 0.9,
) -> Reliability:
    """The points of a reliability diagram, and where calibration would have them.

    In a bin with N rows of mean probability q the observed frequency of a calibrated forecast
    lies between the quantiles of the binomial law of N and q, over N, with at least `coverage`
    (consistency bars). Where probabilities differ within the bin their count varies less than
    the binomial law does, and the bars are on the safe side.

    Args:
        probabilities: `(n,)` of class 1, or `(n, classes)`, of which the top label is shown.
        labels: `(n,)`, 0 to `classes - 1`.
        bins: number of bins, not more than n.
        binning: "mass", equally many rows in each; "width", equal parts of [0, 1].
        coverage: of the bars of each bin, in (0, 1).

    Raises:
        ValueError: for probabilities outside [0, 1] or rows that do not sum to one, labels out of
            range, more bins than rows. Inside jit bad values give NaN.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> p, labels = jnp.array([0.25, 0.25, 0.75, 0.75]), jnp.array([0, 1, 1, 1])
        >>> diagram = conformal.reliability(p, labels, bins=2)
        >>> print(diagram.predicted, diagram.observed)
        [0.25 0.75] [0.5 1. ]

    Reference: Broecker & Smith 2007, Increasing the reliability of reliability diagrams.

    When it fails: the picture depends on the bins; `corp_reliability` needs none. With `bins`
    bars, one in ten of a calibrated forecast is missed at a coverage of .9; `calibration_test`
    looks at all of them together.
    """
    confidence, outcome = as_confidences(probabilities, labels)
    bins = as_bins(bins, binning, confidence.shape[0])
    checks.probability("coverage", coverage)
    return _reliability(confidence, outcome, bins, binning, coverage)


@eqx.filter_jit
def _reliability(confidence, outcome, bins: int, binning: str, coverage: float):
    bin = bin_of(confidence, bins, binning)
    count = bin_sums(jnp.ones_like(confidence), bin, bins)
    predicted, observed = (bin_sums(column, bin, bins) / count for column in (confidence, outcome))
    ends = jnp.linspace(0, 1, bins + 1, dtype=confidence.dtype)
    if binning == "mass":
        smallest = jax.ops.segment_min(confidence, bin, bins)
        ends = ends.at[1:-1].set(smallest[1:])
    steps = confidence.shape[0].bit_length()
    tail = (1 - coverage) / 2
    lower, upper = (
        binomial_quantile(count, predicted, level, steps) / count for level in (tail, 1 - tail)
    )
    number = count.astype(jnp.int32)
    return Reliability(ends, predicted, observed, number, lower, upper, coverage)


def binomial_quantile(
    trials: Float[Array, " bins"], probability: Float[Array, " bins"], level: float, steps: int
) -> Float[Array, " bins"]:
    """The smallest k with `P(X <= k) >= level`, for up to `2**steps - 1` trials; by bisection."""

    def reached(k):
        left = jnp.maximum(trials - k, 1)  # at k = trials, where all is reached
        below = jax.scipy.special.betainc(left, k + 1, jnp.clip(1 - probability, 0, 1))
        return (k >= trials) | (below >= level)

    def halve(_, bounds):
        low, high = bounds
        middle = jnp.floor((low + high) / 2)
        enough = reached(middle)
        return jnp.where(enough, low, middle + 1), jnp.where(enough, middle, high)

    found = jax.lax.fori_loop(0, steps, halve, (jnp.zeros_like(trials), trials))[1]
    return jnp.where(jnp.isnan(probability), jnp.nan, found)
