"""P-values of the claim that a risk is too large, and the least risk that they reject."""

import functools
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Real

from estimators._core import checks
from estimators._core._blocks import map_blocks
from estimators.conformal._risk._betting import COLUMNS, betting_p_values, place_bets
from estimators.conformal._risk._binomial import binomial_tail, relative_entropy

HALVINGS = 30  # the bound is at most 2^-30 of the largest loss above the root, never below it


def hoeffding_bentkus_p_value(
    mean_loss: Real[ArrayLike, "*#batch"], n: int, risk: Real[ArrayLike, "*#batch"]
) -> Float[Array, "*#batch"]:
    """The Hoeffding-Bentkus p-value of the hypothesis that a risk is above `risk`.

        p = min( exp(-n h(mean_loss, risk)),  e P(Binomial(n, risk) <= ceil(n mean_loss)) )

    with h(a, b) = a log(a / b) + (1 - a) log((1 - a) / (1 - b)), and 1 where the mean is not
    below the risk. If losses are independent with values in [0, 1] and a mean above `risk`, then
    P(p <= u) <= u for every u.

    Args:
        mean_loss: mean of the losses of n rows, in [0, 1]; losses up to B are divided by B.
        n: number of rows.
        risk: the risk that is tested, in (0, 1), divided by B likewise.

    Returns:
        P-values, in the shape that `mean_loss` and `risk` have together.

    Raises:
        ValueError: for a mean or a risk outside its interval, or n below 1. Inside jit these
            give NaN.

    Example:
        >>> from estimators import conformal
        >>> print(f"{conformal.hoeffding_bentkus_p_value(0.05, 200, 0.1):.4f}")
        0.0219

    Reference: Bates, Angelopoulos, Lei, Malik & Jordan 2021, section 3.1.

    When it fails: the ceiling forgives four units of the rounding of n mean_loss, so that a whole
    number of losses stays one. It knows the mean only: for losses of small variance the
    p-values of `risk_p_values(..., bound="waudby-smith-ramdas")` are smaller.
    """
    checks.integer("n", n, at_least=1)
    mean, target = checks.as_float("mean_loss", mean_loss), checks.as_float("risk", risk)
    dtype = jnp.result_type(mean, target)
    _between("mean_loss", mean, lambda a: (a >= 0) & (a <= 1), "[0, 1]")
    _between("risk", target, lambda a: (a > 0) & (a < 1), "(0, 1)")
    mean, target = jnp.broadcast_arrays(mean.astype(dtype), target.astype(dtype))
    possible = (mean >= 0) & (mean <= 1) & (target > 0) & (target < 1)
    return jnp.where(possible, _hoeffding_bentkus(mean, n, target), jnp.nan)


def _between(name, array, inside, interval):
    if checks.is_concrete(array) and not checks.holds(lambda a: inside(a).all(), array):
        values = np.asarray(array)
        raise ValueError(f"{name} must lie in {interval}; got {values[~inside(values)][0]}")


def _mean(table, failure):
    return jnp.mean(table, 0)


def _mean_and_variance(table, failure):
    return jnp.mean(table, 0), jnp.var(table, 0, ddof=1)


def _hoeffding(mean, n, risk):
    return jnp.exp(-2 * n * jnp.maximum(risk - mean, 0) ** 2)


@functools.partial(jax.jit, static_argnums=1)
def _hoeffding_bentkus(mean, n, risk):
    risk = jnp.broadcast_to(risk, mean.shape)
    hoeffding = jnp.exp(-n * relative_entropy(jnp.minimum(mean, risk), risk))
    total = n * mean
    count = jnp.ceil(total - 4 * jnp.finfo(mean.dtype).eps * total)
    # From the mean of the binomial law on its tail is at least 1/2, and e times that above 1.
    return jnp.minimum(hoeffding, jnp.e * binomial_tail(count, n, risk))


def _bernstein(summary, n, risk):
    # The bound  risk = mean + s sqrt(2 variance / n) + s^2 7 / (3 (n - 1)),  s^2 = log(2 / p),
    # solved for p.
    mean, variance = summary
    gap = jnp.maximum(risk - mean, 0)
    linear, square = jnp.sqrt(2 * variance / n), 7 / (3 * (n - 1))
    root = 2 * gap / (linear + jnp.sqrt(linear**2 + 4 * square * gap))
    return jnp.where(gap > 0, jnp.minimum(2 * jnp.exp(-(root**2)), 1), 1)


class Bound(NamedTuple):
    """A test of the mean of losses in [0, 1].

    Attributes:
        summary: what it needs to know of a table, `(n, parameters)`, and of the level to test at.
        p_value: from the summary, n and the risk.
        rows: how many it needs.
        columns: how many are summarised at a time; None for all, where the summary is small.
    """

    summary: Callable[[Array, Any], Any]
    p_value: Callable[[Any, int, Any], Array]
    rows: int = 1
    columns: int | None = None

    def p_values(self, table, risk, failure, largest_loss):
        """That of every parameter."""

        def part(table):
            summary = self.summary(table / largest_loss, failure)
            return self.p_value(summary, table.shape[0], risk / largest_loss)

        return self._by_columns(part, table)

    def upper(self, table, failure, largest_loss):
        """The least risk whose p-value is at most `failure`, for every parameter."""

        def part(table):
            summary = self.summary(table / largest_loss, failure)

            def halve(_, ends):
                low, high = ends
                middle = 0.5 * (low + high)
                rejected = self.p_value(summary, table.shape[0], middle) <= failure
                return jnp.where(rejected, low, middle), jnp.where(rejected, middle, high)

            none = jnp.zeros(table.shape[1], table.dtype)
            return largest_loss * jax.lax.fori_loop(0, HALVINGS, halve, (none, none + 1))[1]

        return self._by_columns(part, table)

    def _by_columns(self, part, table):
        if self.columns is None:
            return part(table)
        places = jnp.arange(table.shape[1])
        return map_blocks(lambda some: part(table[:, some]), places, self.columns)


BoundName = Literal["hoeffding-bentkus", "waudby-smith-ramdas", "hoeffding", "bernstein"]
BOUNDS: dict[str, Bound] = {
    "hoeffding-bentkus": Bound(_mean, _hoeffding_bentkus),
    "waudby-smith-ramdas": Bound(place_bets, betting_p_values, columns=COLUMNS),
    "hoeffding": Bound(_mean, _hoeffding),
    "bernstein": Bound(_mean_and_variance, _bernstein, rows=2),
}
