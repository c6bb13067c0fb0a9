"""Continuous ranked probability score of predicted quantiles, and of samples."""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Real

from estimators._core import checks
from estimators.quantile._monotone._sort import sort_levels
from estimators.quantile._scores._arguments import as_scored
from estimators.quantile._scores._pinball import pinball_loss


def crps_quantiles(
    y: Real[ArrayLike, "*batch"],
    predictions: Real[ArrayLike, "*batch levels"],
    levels: Sequence[float] | Real[ArrayLike, " levels"],
) -> Float[Array, "*batch"]:
    """Continuous ranked probability score from quantiles at any levels; less is better.

    The score is twice the integral of the pinball loss over levels from 0 to 1. Here it is
    the trapezoidal rule on the levels given, with the loss taken as 0 at levels 0 and 1:

        2 sum_k w_k loss_k,   w_k = (level_{k+1} - level_{k-1}) / 2,   level_0 = 0, level_{m+1} = 1

    Weights do not depend on the data, so the expectation is least at the true quantiles. The
    last ones are those of constant tails: a quantile function that stays at the outermost
    quantile, for an outcome between the two. At levels k/(m + 1) all weights are the same, and
    the result is m/(m + 1) of `weighted_interval_score`.

    Args:
        y: outcomes.
        predictions: predicted quantiles, in the unit of `y`; they may cross.
        levels: quantile levels, strictly increasing inside (0, 1).

    Returns:
        Scores in the unit of `y`; NaN where the outcome or one of its predictions is NaN.

    Raises:
        ValueError: as `pinball_loss`.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import quantile
        >>> y, predictions = jnp.array([3.0]), jnp.array([[1.0, 2.0, 5.0]])
        >>> print(quantile.crps_quantiles(y, predictions, jnp.array([0.25, 0.5, 0.75])))
        [0.75]

    Reference: eq. 6 of arXiv 2103.00083; Gneiting & Ranjan (2011), Comparing density forecasts
    using threshold- and quantile-weighted scoring rules.

    When it fails: it is too low with few levels. The mean over a normal law, predicted by its
    own quantiles, is 8 % below the closed form at the three quartiles, 1.5 % at 9 even levels
    and 0.02 % at 99. Of an outcome far below all predictions a share of the distance is
    missing that is the first level; far above, 1 minus the last.
    """
    return _from_quantiles(*as_scored(y, predictions, levels))


@jax.jit
def _from_quantiles(y, predictions, levels):
    edges = jnp.pad(levels, 1, constant_values=(0, 1))
    weights = (edges[2:] - edges[:-2]).reshape((1,) * y.ndim + (-1,))
    return jnp.sum(weights * pinball_loss(y, predictions, levels), -1)


def crps_samples(
    y: Real[ArrayLike, "*batch"],
    samples: Real[ArrayLike, "*batch samples"],
    *,
    weights: Real[ArrayLike, "..."] | None = None,
    fair: bool = False,
) -> Float[Array, "*batch"]:
    """Continuous ranked probability score of samples from the prediction; less is better.

        E|X - y| - E|X - X'| / 2

    The second term is the sum over gaps between sorted samples of W (1 - W) gap, W the weight
    up to the gap: it takes the work of a sort, holds no matrix of pairs, and cancels nothing.

    Args:
        y: outcomes.
        samples: draws from the predicted law, or an ensemble, in the unit of `y`.
        weights: `(samples,)` or of the shape of `samples`, not negative; they are divided by
            their sum. None means equal weights.
        fair: whether to estimate the score of the law that the samples are drawn from, by the
            mean over pairs of different samples; else it is the score of the samples' own
            distribution, which is higher.

    Returns:
        Scores in the unit of `y`; NaN where the outcome is NaN, or one of its samples is not
        finite.

    Raises:
        ValueError: if shapes do not belong together, if a weight is negative or all are 0,
            or for a fair score of a single sample. Inside `jax.jit` such weights give NaN.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import quantile
        >>> y, samples = jnp.array([3.0]), jnp.array([[5.0, 1.0]])
        >>> print(quantile.crps_samples(y, samples), quantile.crps_samples(y, samples, fair=True))
        [1.] [0.]

    Reference: Gneiting & Raftery (2007), Strictly proper scoring rules, prediction, and
    estimation, eq. 21; Ferro (2014), Fair scores for ensemble forecasts, for `fair`.

    When it fails: not fair, the score grows as samples get fewer, so ensembles of different
    size do not compare. Fair, it can be negative, and it is the score of a law, not that of
    the ensemble: it does not punish an ensemble for being small. With weights `fair` assumes
    independent samples whose weights do not depend on their values.
    """
    samples = checks.as_float("samples", samples)
    y = checks.as_float("y", y)
    if samples.ndim == 0 or samples.shape[-1] == 0 or y.shape != samples.shape[:-1]:
        raise ValueError(
            f"samples must have shape (*batch, samples) and y (*batch,); got shapes "
            f"{samples.shape} and {y.shape}"
        )
    count = samples.shape[-1]
    if fair and count < 2:
        raise ValueError("samples must be at least 2 in number for a fair score; got 1")
    dtype = jnp.result_type(y, samples)
    if weights is not None:
        weights = _as_weights(weights, samples.shape).astype(dtype)
        alone = checks.is_concrete(weights) and not checks.holds(
            lambda w: ((w > 0).sum(-1) > 1).all(), weights
        )
        if fair and alone:
            raise ValueError("weights must be positive for two samples at least for a fair score")
    return _from_samples(y.astype(dtype), samples.astype(dtype), weights, fair)


@functools.partial(jax.jit, static_argnames="fair")
def _from_samples(y, samples, weights, fair: bool):
    count = samples.shape[-1]
    distance = jnp.abs(samples - y[..., None])
    if weights is None:
        distance, ordered = jnp.mean(distance, -1), sort_levels(samples)
        below = jnp.arange(1, count, dtype=y.dtype).reshape((1,) * y.ndim + (-1,)) / count
        concentration = 1 / count
    else:
        weights = jnp.where(weights >= 0, weights, jnp.nan)
        weights = weights.reshape((1,) * (samples.ndim - weights.ndim) + weights.shape)
        shares = weights / jnp.sum(weights, -1, keepdims=True)
        shares = jnp.broadcast_to(shares, samples.shape)
        distance = jnp.sum(shares * distance, -1)
        # The derivative of sorting is the permutation that sorts, so it carries weights along.
        ordered, carried = jax.jvp(sort_levels, (samples,), (shares,))
        below = jnp.cumsum(carried, -1)[..., :-1]
        concentration = jnp.sum(shares**2, -1)
    spread = jnp.sum(below * (1 - below) * jnp.diff(ordered, axis=-1), -1)
    return distance - (spread / (1 - concentration) if fair else spread)


def _as_weights(weights, shape):
    array = checks.as_float("weights", weights)
    if array.shape not in (shape, shape[-1:]):
        raise ValueError(
            f"weights must have shape {shape[-1:]} or that of samples, {shape}; "
            f"got shape {array.shape}"
        )
    checks.finite("weights", array)
    if checks.is_concrete(array):
        values = np.asarray(array)
        if (values < 0).any():
            raise ValueError(f"weights must not be negative; the least is {values.min()}")
        if not (values.sum(-1) > 0).all():
            raise ValueError("weights must have a positive sum over samples; one is 0")
    return array
