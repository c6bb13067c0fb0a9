"""Calibration scores thinned to the test law, by rejection with the density ratio."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int, PRNGKeyArray, Real

from estimators._core import checks, order_statistic


class Thinned(NamedTuple):
    """Which calibration rows `thin_to_shift` keeps.

    Attributes:
        kept: `(n,)`, true where the row is kept.
        number: how many are.
    """

    kept: Bool[Array, " n"]
    number: Int[Array, ""]


def thin_to_shift(
    ratios: Real[ArrayLike, " n"], *, largest: Real[ArrayLike, ""], key: PRNGKeyArray
) -> Thinned:
    """Keep calibration rows at random so that they look like test rows.

    Row i is kept with probability `w(x_i) / largest`, with w the density of x among test rows
    over that among calibration rows. The kept rows are then independent draws from the law of
    the test rows, as many as there happen to be; hand `kept` to `calibrate` of
    `BatchQuantile`, `BatchQuantiles`, `SimultaneousCoverage` or `BatchSelection`.

    Args:
        ratios: `(n,)`, w(x_i), not negative; a scale common to them and `largest` drops out.
        largest: a bound on w over all x that may occur, not only over these rows.
        key: random key.

    Returns:
        A `Thinned`: the mask, and the number kept.

    Raises:
        ValueError: for ratios that are negative, not finite or above `largest`, or a `largest`
            that is not positive. Inside jit none is kept then, and every bound is infinite.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> ratios = jnp.array([0.0, 0.0, 2.0, 2.0])
        >>> thinned = conformal.thin_to_shift(ratios, largest=2.0, key=jax.random.key(0))
        >>> print(thinned.kept, thinned.number)
        [False False  True  True] 2

    Reference: von Neumann 1951 for rejection; Park, Dobriban, Lee & Bastani 2022, PAC
    prediction sets under covariate shift, for its use in calibration.

    When it fails: it needs the true ratio, and only x may have shifted, not the law of y given
    x. On average `n / largest` rows are kept where the ratios have mean 1: a large bound
    leaves few.
    """
    ratios = checks.as_vector("ratios", ratios)
    largest = checks.positive("largest", checks.as_number("largest", largest).astype(ratios.dtype))

    def possible(ratios, largest):
        # Written so that NaN is not.
        return jnp.all((ratios >= 0) & (ratios <= largest)) & (largest > 0)

    known = checks.is_concrete(ratios) and checks.is_concrete(largest)
    if known and not checks.holds(possible, ratios, largest):
        values = np.asarray(ratios)
        raise ValueError(
            f"ratios must lie between 0 and largest, {float(largest):g}; they go from "
            f"{values.min():g} to {values.max():g}"
        )
    draws = jax.random.uniform(checks.as_key(key), ratios.shape, ratios.dtype)
    kept = (draws * largest < ratios) & possible(ratios, largest)
    return Thinned(kept, jnp.sum(kept, dtype=jnp.int32))


def as_kept(kept, rows: int) -> Bool[Array, " n"]:
    """Check the mask of the calibration rows that are kept."""
    array = jnp.asarray(kept)
    if array.dtype != bool or array.shape != (rows,):
        raise ValueError(
            f"kept must be {rows} booleans, one a calibration row; got {array.dtype} of shape "
            f"{array.shape}"
        )
    return array


def score_of_rank(
    scores: Float[Array, " n"],
    kept: Bool[Array, " n"] | None,
    ranks: Int[ArrayLike, "*ends"],
) -> Float[Array, "*ends"]:
    """The score of each rank among those kept; infinite where there is none of that rank."""
    if kept is not None:
        # Those dropped go last. NaN stays, to poison the result.
        scores = jnp.where(kept | jnp.isnan(scores), scores, jnp.inf)
    ranks = jnp.asarray(ranks)
    return jnp.vectorize(lambda rank: order_statistic(scores, rank))(ranks)
