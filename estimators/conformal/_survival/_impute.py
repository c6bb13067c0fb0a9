"""Censoring times of the rows whose event came first, drawn from the law of censoring."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Key, Real

from estimators._core import checks
from estimators.conformal._survival._inputs import as_observed


def impute_censoring_times(
    times: Real[ArrayLike, " n"],
    events: Bool[ArrayLike, " n"] | Real[ArrayLike, " n"],
    grid: Real[ArrayLike, " G"],
    survival: Real[ArrayLike, " G"] | Real[ArrayLike, "n G"],
    *,
    key: Key[Array, ""],
) -> Float[Array, " n"]:
    """Draw the censoring times that events have hidden.

    A censored row keeps its time. A row whose event was seen at t gets a draw from the law of C
    given C >= t and its features,

        C' = min{ c : G(c | x) <= u G(t- | x) },   u uniform on [0, 1),   G(c | x) = P(C > c | x).

    Where G is the true law, and C and the time T of the event are independent given x, the
    drawn `(x, T, C')` have exactly the law of `(x, T, C)`: given x and T, and that C >= T, the
    hidden C is such a draw, and another one may stand in its place. So every method for known
    censoring times keeps its guarantee on drawn ones.

    Args:
        times: `(n,)`, when each row was last seen; not negative.
        events: `(n,)`, booleans or 0 and 1: whether the event was seen then.
        grid: `(G,)`, times in order; equal ones are allowed.
        survival: `(G,)` for a law of censoring that is the same for all rows, as `times` and
            `survival` of `kaplan_meier(..., reverse=True)` are; or `(n, G)`, one for each row.
            In [0, 1], not increasing. Where it does not reach 0 the rest is +inf.
        key: draws.

    Returns:
        `(n,)`, at or above `times`.

    Raises:
        ValueError: for shapes that differ, times that are negative, events that are not 0 or 1,
            a grid that is not in order, survival outside [0, 1] or increasing. Inside jit NaN
            gives NaN.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> times, events = jnp.array([1.0, 2.0, 3.0]), jnp.array([1, 0, 1])
        >>> curve = conformal.kaplan_meier(times, events, reverse=True)
        >>> law, draws = (curve.times, curve.survival), jax.random.key(0)
        >>> print(conformal.impute_censoring_times(times, events, *law, key=draws))
        [ 2.  2. inf]

    Reference: Sesia & Svetnik 2024, Doubly robust conformalized survival analysis with
    right-censored data.

    When it fails: an estimated law costs what its error costs. Where the law gives no chance to
    a censoring at t or later, the time itself is returned.
    """
    times, seen = as_observed(times, events)
    n, grid = times.shape[0], checks.as_vector("grid", grid).astype(times.dtype)
    law = checks.finite("survival", checks.as_float("survival", survival)).astype(times.dtype)
    if law.shape not in (grid.shape, (n, *grid.shape)):
        raise ValueError(
            f"survival must have shape {grid.shape} or {(n, *grid.shape)}; got {law.shape}"
        )
    if checks.is_concrete(grid) and (np.diff(np.asarray(grid)) < 0).any():
        raise ValueError("grid must not decrease; it does")
    if checks.is_concrete(law):
        known = np.asarray(law)
        if (known < 0).any() or (known > 1).any() or (np.diff(known) > 0).any():
            raise ValueError(
                f"survival must lie in [0, 1] and not increase; it goes from {known.min():g} to "
                f"{known.max():g}"
            )
    # Drawn in 32 bits, so that a key draws the same in either precision.
    share = jax.random.uniform(checks.as_key(key), (n,), jnp.float32).astype(times.dtype)
    return jnp.where(seen, _drawn(times, grid, law, share), times)


@jax.jit
def _drawn(times, grid, law, share):
    def one(time, law, share):
        start = jnp.append(jnp.ones(1, law.dtype), law)[jnp.searchsorted(grid, time)]
        place = jnp.searchsorted(-law, -share * start)
        found = jnp.maximum(jnp.append(grid, jnp.inf)[place], time)
        return jnp.where(jnp.isnan(law + grid).any(), jnp.nan, found)

    return jax.vmap(one, (0, 0 if law.ndim == 2 else None, 0))(times, law, share)
