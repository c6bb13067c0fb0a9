"""The middle level of an interval between two quantiles, for each row."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from estimators._core import checks
from estimators.conformal._predictive._piecewise import value_at


def as_quantiles(quantiles, count: int) -> Float[Array, "*batch L"]:
    """Check predicted quantiles and put each row in order; a row with a NaN is all NaN."""
    rows = checks.as_float("quantiles", quantiles)
    if count < 2:
        raise ValueError(f"levels must be at least 2 in number; got {count}")
    if rows.ndim == 0 or rows.shape[-1] != count:
        raise ValueError(f"quantiles must have shape (*batch, {count} levels); got {rows.shape}")
    rows = checks.finite("quantiles", rows)
    # Most models' quantiles are in order, and looking is far quicker than sorting.
    ordered = jnp.all(rows[..., 1:] >= rows[..., :-1])
    rows = jax.lax.cond(ordered, lambda r: r, lambda r: jnp.sort(r, -1), rows)
    finite = jnp.isfinite(rows).all(-1, keepdims=True)
    return jnp.where(finite, rows, jnp.nan)


def middle_levels(
    rows: Float[Array, "*batch L"], levels: Float[Array, " L"], coverage: float, kind: str
) -> Float[Array, "*batch"]:
    """1/2 for the central interval; for the shortest, the middle of the shortest one."""
    if kind == "central":
        return jnp.full(rows.shape[:-1], 0.5, rows.dtype)
    if checks.is_concrete(levels) and not checks.holds(
        lambda known: _candidates(known, coverage)[1].any(), levels
    ):
        known = np.asarray(levels)
        raise ValueError(
            f"levels must reach over the coverage {float(coverage):g} for kind='shortest'; they go "
            f"from {known[0]:g} to {known[-1]:g}"
        )
    found = _shortest(rows.reshape(-1, rows.shape[-1]), levels, coverage)
    return found.reshape(rows.shape[:-1])


def _candidates(levels, coverage):
    """Lower levels at which the interval may be shortest, and which of them are inside."""
    # Its width is piecewise linear in the lower level, so one of the two ends is a node. Levels
    # may be `coverage` apart up to the rounding of their difference.
    slack = 8 * jnp.finfo(levels.dtype).eps
    lower = jnp.concatenate([levels, levels - coverage])
    return lower, (lower >= levels[0] - slack) & (lower + coverage <= levels[-1] + slack)


@jax.jit
def _shortest(rows, levels, coverage):
    lower, inside = _candidates(levels, coverage)
    at_all = jax.vmap(value_at, (None, None, 0))

    def middle(row):
        width = at_all(row, levels, lower + coverage) - at_all(row, levels, lower)
        chosen = lower[jnp.argmin(jnp.where(inside, width, jnp.inf))]
        return jnp.where(inside.any() & ~jnp.isnan(row[0]), chosen + 0.5 * coverage, jnp.nan)

    return jax.vmap(middle)(rows)


def as_centres(centres, kind: str, shape: tuple[int, ...] | None) -> Float[Array, "*batch"]:
    """Check middle levels that a caller gives: needed for the shortest interval, and only there."""
    if (centres is None) != (kind == "central"):
        needed = "must not be" if kind == "central" else "must be"
        raise ValueError(f"centres {needed} given for kind={kind!r}")
    if centres is None:
        return jnp.full((), 0.5)
    array = checks.as_float("centres", centres)
    if shape is not None and array.shape != shape:
        raise ValueError(f"centres must have shape {shape}, one a row; got {array.shape}")
    return checks.finite("centres", array)
