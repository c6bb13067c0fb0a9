"""The Benjamini-Hochberg procedure for weighted conformal p-values, which need more than it.

Weighted p-values of one calibration set are not positively dependent. Row j is therefore judged
by the number R_j that the procedure rejects when row j's own p-value is 0 and every other row l
has an auxiliary one, which counts j among the calibration rows:

    p_l^(j) = (sum_i w_i 1{V_i < v_l} + w_j 1{v_j < v_l}) / (sum_i w_i + w_j)

These m^2 numbers are never made. All rows have the same sums W_l = sum_i w_i 1{V_i < v_l}, and
in the order of v the auxiliary p-values increase. Let e_j be the last place of row j's value in
that order. Row j is rejected in the first step where p_j <= rate R_j / m. Were R_j < e_j, then
p_j >= W_j / (sum w + w_j) would be above rate R_j / m, and row j out; so R_j may be taken to be
at least e_j. Beyond e_j place t counts where (W_t + w_j) / (sum w + w_j) <= rate t / m, that is

    w_j <= (rate t / m sum w - W_t) / (1 - rate t / m),

and the last such place is one search of a maximum over later places. O(m log m) in all.
"""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from estimators._core import runs
from estimators.conformal._selection._benjamini_hochberg import lenient, step_up
from estimators.conformal._selection._p_values import below_and_tied
from estimators.conformal._weighted import WeighedScores

Pruning = Literal["deterministic", "homogeneous", "heterogeneous"]


@jax.jit
def weighted_selection(
    weighed: WeighedScores,
    values: Float[Array, " m"],
    own: Float[Array, " m"],
    p_values: Float[Array, " m"],
    rate: Float[Array, ""],
    draws: Float[Array, "*each"],
) -> Bool[Array, " m"]:
    """Which rows are selected, after the first step and the pruning.

    Args:
        weighed: calibration scores V and their weights.
        values: v of new rows; a small one speaks for the row.
        own: their weights, in units of `weighed.unit`.
        p_values: as `low_p_values` gives them.
        rate: bound on the false discovery rate.
        draws: as `pruning_draws` gives them. Rows of the first step are kept whose draw times
            R_j is at most r, the largest number with as many such rows.
    """
    size = _rejected_with(weighed, values, own, rate)
    first = p_values <= lenient(rate * size / values.shape[0])
    pruned = jnp.where(first, draws * size, jnp.inf)
    return step_up(pruned) <= lenient(jnp.asarray(values.shape[0], size.dtype))


def pruning_draws(
    pruning: Pruning, key: Key[Array, ""] | None, values: Float[Array, " m"]
) -> Float[Array, "*each"]:
    """1 for all rows, one uniform draw for all, or one for each."""
    if pruning == "deterministic":
        return jnp.ones((), values.dtype)
    if key is None:
        raise ValueError(f"key is missing: pruning={pruning!r} draws")
    shape = () if pruning == "homogeneous" else values.shape
    # Drawn in 32 bits, so that a key draws the same in either precision.
    return jax.random.uniform(key, shape, jnp.float32).astype(values.dtype)


def _rejected_with(weighed, values, own, rate):
    """R_j of each row, where that may select it."""
    m = values.shape[0]
    below, _, total = below_and_tied(weighed, values)
    ordered, place = jax.lax.sort((values, jnp.arange(m)), num_keys=1)
    count = jnp.arange(1, m + 1, dtype=values.dtype)
    share = rate * count / m
    room = (lenient(share * total) - below[place]) / (1 - share)
    latest = jax.lax.cummax(room, reverse=True)
    beyond = jnp.searchsorted(-latest, -own[place], side="right")
    size = jnp.maximum(runs(ordered).stop + 1, beyond)
    return jnp.zeros_like(values).at[place].set(size.astype(values.dtype))
