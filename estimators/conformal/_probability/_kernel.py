"""The kernel estimate of the calibration error, which a gradient can go through."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int, Real

from estimators._core import checks, product
from estimators._core._blocks import map_blocks
from estimators.conformal._probability._deviation import (
    CalibrationError,
    Deviations,
    as_power,
    from_deviations,
)
from estimators.conformal._probability._inputs import as_confidences, as_probabilities
from estimators.conformal._venn._labels import as_labels

BLOCK = 64  # rows; each needs a number for every other row
KINDS = ("canonical", "top-label")


def kernel_calibration_error(
    probabilities: Real[ArrayLike, " n"] | Real[ArrayLike, "n classes"],
    labels: Int[ArrayLike, " n"] | Bool[ArrayLike, " n"],
    *,
    bandwidth: float | Real[ArrayLike, ""] | None = None,
    kind: str = "canonical",
    power: int = 1,
    debias: bool = True,
) -> CalibrationError:
    """How far probabilities are from the frequencies of labels, by a kernel on the simplex.

        c(f_j) = sum_{i != j} k(f_j; f_i) y_i / sum_{i != j} k(f_j; f_i)
        value = mean_j sum_classes abs(c(f_j) - f_j)**power

    with y_i the label as zeros and a one, and k the Dirichlet density with parameters
    `f_i / bandwidth + 1` (for two classes a beta density). "canonical" is the whole vector, the
    strongest notion of calibration; "top-label" only the largest entry and whether it is right.
    Vectors of two columns count both; `(n,)` probabilities count one.

    With `debias=False` this is the published estimate, a penalty for training: `value` is
    differentiable in the probabilities. With `debias=True` each row's own label is weighed by the
    others' deviation, as in `calibration_error`. O(n^2) time and O(n) memory, gradients too.

    Args:
        probabilities: `(n,)` of class 1, or `(n, classes)`, rows that sum to one; n at least 2.
        labels: `(n,)`, 0 to `classes - 1`.
        bandwidth: positive, in units of probability; None takes `dirichlet_bandwidth`.
        kind: see above.
        power: 1, or 2 for the mean square.
        debias: see above.

    Returns:
        The error, with a standard error and an `interval`.

    Raises:
        ValueError: for probabilities outside [0, 1] or rows that do not sum to one, labels out of
            range, a bandwidth that is not positive. Inside jit such values give NaN.

    Example:
        >>> import jax
        >>> from estimators import conformal
        >>> p = jax.random.uniform(jax.random.key(0), (2000,))
        >>> labels = jax.random.uniform(jax.random.key(1), (2000,)) < p**2
        >>> error = conformal.kernel_calibration_error(p, labels, bandwidth=0.01)
        >>> lower, upper = error.interval(0.95)
        >>> bool(lower < 1 / 6 < upper)  # the truth is 1/6
        True

    Reference: Popordanoska, Sayer & Blaschko 2022, A consistent and differentiable Lp canonical
    calibration error estimator. The debiased form is ours.

    When it fails: with many classes few rows are near one another, and "canonical" is mostly
    noise. In a small batch the plain form is far above 0 for a calibrated model, and its
    gradient then sharpens or flattens for no reason.
    """
    power = as_power(power)
    checks.one_of("kind", kind, KINDS)
    points = as_probabilities("probabilities", probabilities)
    if points.shape[0] < 2:
        raise ValueError(f"probabilities must have at least 2 rows; got shape {points.shape}")
    if points.ndim == 1 or kind == "top-label":
        confidence, outcome = as_confidences(probabilities, labels)
        predicted, outcome = confidence[:, None], outcome[:, None]
        points = jnp.stack([confidence, 1 - confidence], 1)
    else:
        n, classes = points.shape
        predicted, outcome = points, as_labels("labels", labels, n, classes, points.dtype)
    if bandwidth is None:
        bandwidth = _best_bandwidth(jax.lax.stop_gradient(points))
    bandwidth = as_bandwidth(bandwidth, points.dtype)
    return _error(points, predicted, outcome, bandwidth, power, debias)


def dirichlet_bandwidth(
    probabilities: Real[ArrayLike, " n"] | Real[ArrayLike, "n classes"],
) -> Float[Array, ""]:
    """The bandwidth under which each row is most likely given the others.

    It maximises the leave-one-out likelihood of the Dirichlet kernel density estimate over 15
    values from .001 to 1, evenly spaced in the logarithm. O(n^2) time and O(n) memory.

    Args:
        probabilities: `(n,)`, or `(n, classes)`; for the error of the top label, its column.

    Raises:
        ValueError: for probabilities outside [0, 1] or rows that do not sum to one.

    Example:
        >>> import jax
        >>> from estimators import conformal
        >>> p = jax.random.uniform(jax.random.key(0), (200,))
        >>> bool(0.001 <= conformal.dirichlet_bandwidth(p) <= 1)
        True

    When it fails: where rows are equal, the least value is the most likely one. The best density
    is not the best regression; where labels are few, a larger bandwidth has less noise.
    """
    points = as_probabilities("probabilities", probabilities)
    if points.shape[0] < 2:
        raise ValueError(f"probabilities must have at least 2 rows; got shape {points.shape}")
    return _best_bandwidth(jnp.stack([points, 1 - points], 1) if points.ndim == 1 else points)


def as_bandwidth(bandwidth, dtype) -> Float[Array, ""]:
    """Check a bandwidth; inside jit one that is not positive is NaN."""
    bandwidth = checks.as_number("bandwidth", bandwidth).astype(dtype)
    checks.positive("bandwidth", bandwidth)
    return jnp.where(jnp.isfinite(bandwidth) & (bandwidth > 0), bandwidth, jnp.nan)


@jax.jit
def _best_bandwidth(points):
    candidates = jnp.asarray([10 ** (-3 + i * 3 / 14) for i in range(15)], points.dtype)

    def likelihood(bandwidth):
        return jnp.mean(_regression(points, points[:, :1], points[:, :1], bandwidth)[2])

    likelihoods = jax.lax.map(likelihood, candidates)
    best = candidates[jnp.argmax(likelihoods)]
    return jnp.where(jnp.isnan(points).any(), jnp.nan, best)


@eqx.filter_jit
def _error(points, predicted, outcome, bandwidth, power: int, debias: bool):
    variance = predicted * (1 - predicted)
    expected, noise, _ = _regression(points, outcome, variance, bandwidth)
    near = Deviations(expected - predicted, noise, expected - predicted)
    return from_deviations(near, outcome - predicted, power, debias)


def _regression(points, outcomes, variances, bandwidth):
    """What the others say of each row: mean outcomes, their noise, and the log density."""
    n, classes = points.shape
    scaled = points / bandwidth
    log_norm = jax.lax.lgamma(jnp.sum(scaled, 1) + classes)
    log_norm -= jnp.sum(jax.lax.lgamma(scaled + 1), 1)
    # A density at the boundary of the simplex is that a rounding error within it.
    logs = jnp.log(jnp.maximum(points, jnp.finfo(points.dtype).eps))

    @jax.checkpoint  # else a gradient would keep all pairs
    def block(rows):
        logs, row = rows
        logits = product(logs, scaled.T) + log_norm[None]
        logits = jnp.where(row[:, None] == jnp.arange(n)[None], -jnp.inf, logits)
        weights = jax.nn.softmax(logits, 1)
        noise = jnp.sqrt(jax.lax.stop_gradient(product(weights**2, variances)))
        return (
            product(weights, outcomes),
            noise,
            jax.nn.logsumexp(logits, 1) - jnp.log(n - 1.0).astype(logits.dtype),
        )

    return map_blocks(block, (logs, jnp.arange(n)), BLOCK)
