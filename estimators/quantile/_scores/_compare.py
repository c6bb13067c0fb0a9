"""A mean score with its error, and whether two of them differ."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from estimators._core import Stored, checks, normal_interval


class Score(Stored):
    """A mean over rows.

    Attributes:
        value: the mean.
        standard_error: how far it strays from the mean over all rows that could have been.
    """

    value: Float[Array, "*scores"]
    standard_error: Float[Array, "*scores"]

    def interval(
        self, coverage: float | Float[Array, ""] = 0.9
    ) -> tuple[Float[Array, "*scores"], Float[Array, "*scores"]]:
        """Normal interval `value -+ z * standard_error`.

        Raises:
            ValueError: if `coverage` is not strictly between 0 and 1.
        """
        return normal_interval(self.value, self.standard_error, coverage)


class Comparison(Stored):
    """Whether two series of losses have the same mean; see `compare`.

    Attributes:
        difference: mean of the first minus mean of the second; negative where the first is
            better.
        standard_error: of the difference.
        statistic: difference over standard error.
        p_value: probability of a statistic at least as far from 0, were the means the same.
    """

    difference: Float[Array, "*scores"]
    standard_error: Float[Array, "*scores"]
    statistic: Float[Array, "*scores"]
    p_value: Float[Array, "*scores"]


def mean_score(losses: Real[ArrayLike, "n *scores"], *, lags: int = 0) -> Score:
    """Mean loss and its standard error, over the first axis.

    With `lags` the error allows for losses that are correlated in time (Newey & West 1987):

        variance = (g_0 + 2 sum_{j <= lags} (1 - j / (lags + 1)) g_j) / (n c)
        c = (n - 1 - 2 lags + lags (lags + 1) / n) / n

    with g_j the autocovariance at lag j. c makes up for the mean being estimated (Harvey,
    Leybourne & Newbold 1997); without lags this is the usual error, with divisor n - 1.

    Args:
        losses: one loss a row; rows in the order of time where `lags` is above 0.
        lags: number of lags that are correlated, from 0 to n - 2. Of forecasts h steps ahead
            the errors are correlated up to lag h - 1.

    Returns:
        A `Score` in the unit of the losses.

    Raises:
        ValueError: for fewer than two rows, lags out of range, or losses that are not finite;
            inside `jax.jit` the latter give NaN.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import quantile
        >>> score = quantile.mean_score(jnp.array([1.0, 2.0, 3.0]))
        >>> print(f"{score.value:.2f} {score.standard_error:.2f}")
        2.00 0.58

    When it fails: rows that depend on each other, by group or beyond `lags`, make the error
    too small. With n not far above `lags` it is itself poorly known.
    """
    losses = _as_losses("losses", losses)
    return Score(*_mean_and_error(losses, _as_lags(lags, losses.shape[0])))


def compare(
    losses: Real[ArrayLike, "n *scores"],
    other_losses: Real[ArrayLike, "n *scores"],
    *,
    lags: int = 0,
) -> Comparison:
    """Test whether two predictors have the same mean loss on the same rows.

    The mean of the paired differences over its standard error, as in `mean_score`, against
    Student's law with n - 1 degrees of freedom: the test of Diebold & Mariano (1995) with the
    correction for small samples of Harvey, Leybourne & Newbold (1997). The weights of the lags
    are those of Newey & West, so that no variance is negative. Without lags it is the paired
    t test.

    Args:
        losses: one loss a row.
        other_losses: losses of the other predictor on the same rows.
        lags: see `mean_score`.

    Returns:
        A `Comparison`. Losses that are all the same give a statistic of 0 and a p-value of 1;
        differences that are constant, but not 0, a statistic that is infinite.

    Raises:
        ValueError: as `mean_score`, or if the shapes differ.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import quantile
        >>> found = quantile.compare(jnp.array([1.0, 2.0, 3.0]), jnp.array([2.0, 2.0, 4.0]))
        >>> print(f"{found.difference:.2f} {found.statistic:.2f} {found.p_value:.2f}")
        -0.67 -2.00 0.18

    Reference: Diebold & Mariano (1995), Comparing predictive accuracy; Harvey, Leybourne &
    Newbold (1997), Testing the equality of prediction mean squared errors.

    When it fails: as `mean_score`. It is about the predictions as they are: a model that was
    fitted again on other data may compare differently. Of many comparisons some p-values are
    small by chance.
    """
    losses, others = _as_losses("losses", losses), _as_losses("other_losses", other_losses)
    if losses.shape != others.shape:
        raise ValueError(
            f"losses and other_losses must have one shape; got {losses.shape} and {others.shape}"
        )
    n = losses.shape[0]
    return _compare(losses - others, _as_lags(lags, n))


def _as_losses(name, losses):
    array = checks.as_float(name, losses)
    if array.ndim == 0 or array.shape[0] < 2:
        raise ValueError(f"{name} must have shape (n, ...) with n >= 2; got shape {array.shape}")
    return checks.finite(name, array)


def _as_lags(lags, n):
    checks.integer("lags", lags, at_least=0)
    if lags > n - 2:
        raise ValueError(f"lags must be at most n - 2 = {n - 2}; got {lags}")
    return int(lags)


@functools.partial(jax.jit, static_argnums=1)
def _mean_and_error(losses, lags: int):
    n = losses.shape[0]
    # Relative to the first row a constant loss has a spread of exactly 0.
    shifted = losses - losses[:1]
    mean = jnp.mean(shifted, 0)
    centred = shifted - mean[None]
    row = jnp.arange(n).reshape((-1,) + (1,) * (losses.ndim - 1))

    def add(lag, total):
        products = jnp.where(row >= lag, centred * jnp.roll(centred, lag, 0), 0)
        return total + 2 * (1 - lag / (lags + 1)) * jnp.mean(products, 0)

    variance = jax.lax.fori_loop(1, lags + 1, add, jnp.mean(centred**2, 0))
    correction = (n - 1 - 2 * lags + lags * (lags + 1) / n) / n
    return losses[0] + mean, jnp.sqrt(jnp.maximum(variance, 0) / (n * correction))


@functools.partial(jax.jit, static_argnums=1)
def _compare(differences, lags: int):
    difference, error = _mean_and_error(differences, lags)
    same = (difference == 0) & (error == 0)
    statistic = jnp.where(same, 0, difference / jnp.where(same, 1, error))
    return Comparison(difference, error, statistic, _two_sided(statistic, differences.shape[0] - 1))


def _two_sided(statistic, degrees: int):
    """Both tails of Student's law beyond the statistic."""
    square = statistic**2 / degrees
    if degrees <= 30:
        return jax.scipy.special.betainc(degrees / 2, 0.5, 1 / (1 + square))
    # The incomplete beta function loses its digits in float32 as the degrees grow. Hill (1970),
    # algorithm 395: the normal deviate that has the same tail, to 1e-6 from here on.
    shifted = degrees - 0.5
    scale = 48 * shifted**2
    y = jnp.minimum(shifted * jnp.log1p(square), 1e4)  # the tail beyond is 0 in any precision
    series = (((-0.4 * y - 3.3) * y - 24) * y - 85.5) / (0.8 * y**2 + 100 + scale)
    deviate = ((series + y + 3) / scale + 1) * jnp.sqrt(y)
    return 2 * jax.scipy.special.ndtr(-deviate)
