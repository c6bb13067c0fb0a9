"""One order statistic of all the sums of a fold's centre and a residual of that fold."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Integer, Real

from estimators._core import checks, order_statistic
from estimators._core._blocks import map_blocks
from estimators.conformal._cross._search import select
from estimators.conformal._quantile import as_scores

# Measured on two CPU cores: at n = 50 folds the search takes half the time of forming the n
# sums of a row, at n = 10 folds a little more.
SEARCHED_FROM = 16  # rows a fold
SEARCH_BLOCK = 1 << 15  # centres
SUMS_BLOCK = 1 << 15  # sums


def cross_order_statistic(
    centres: Real[ArrayLike, "*batch folds"],
    residuals: Real[ArrayLike, " n"],
    fold: Integer[ArrayLike, " n"],
    rank: Integer[ArrayLike, ""],
) -> Float[Array, "*batch"]:
    """For each batch row the `rank`-th smallest of `centres[fold[i]] + residuals[i]`, i = 1..n.

    It equals what sorting the n sums gives, to the last digit, in O(n + m K) memory for m batch
    rows and K folds. Residuals are sorted once within their folds; each row is then searched in
    rounds of K binary searches, about log n of them. With fewer than 16 rows a fold, as in
    leaving one out, the sums are formed for a few rows at a time instead.

    Args:
        centres: `(*batch, K)`, a number for each fold; infinities are allowed.
        residuals: `(n,)`, in the unit of the centres; infinities are allowed.
        fold: `(n,)`, whole numbers from 0 to K - 1; a fold may be empty.
        rank: counted from 1.

    Returns:
        `(*batch,)`. -inf for a rank below 1, +inf for one above n; NaN where a sum is
        inf - inf. The derivative is that of the sum that was found; where several are equal, of
        one of them or of their mean.

    Raises:
        ValueError: for shapes that do not belong together, NaN, or fold numbers outside 0 to
            K - 1. Inside jit the last two give NaN.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> centres = jnp.array([[0.0, 10.0], [10.0, 0.0]])
        >>> residuals, fold = jnp.array([1.0, 2.0, 3.0]), jnp.array([0, 0, 1])
        >>> print(conformal.cross_order_statistic(centres, residuals, fold, 2))
        [ 2. 11.]

    Reference: Barber, Candes, Ramdas & Tibshirani 2021, Predictive inference with the
    jackknife+, section 3 (the ends of CV+).

    When it fails: never by rounding; the memory of `centres` itself is m K.
    """
    residuals = as_scores("residuals", residuals)
    centres = _as_centres(centres)
    fold = _as_fold(fold, residuals.shape[0], centres.shape[-1])
    known = jnp.all((fold >= 0) & (fold < centres.shape[-1]))
    found = sums_order_statistic(centres, *sort_within_folds(residuals, fold), jnp.asarray(rank))
    return checks.poison(found, known)


def sort_within_folds(
    residuals: Real[Array, "*ends n"], fold: Integer[Array, " n"]
) -> tuple[Real[Array, "*ends n"], Integer[Array, " n"]]:
    """Residuals in order of their fold, then of size, and the fold of each."""
    folds = jnp.broadcast_to(fold.reshape((1,) * (residuals.ndim - 1) + (-1,)), residuals.shape)
    _, residuals = jax.lax.sort((folds, residuals), num_keys=2)
    return residuals, jnp.sort(fold)


@jax.jit
def sums_order_statistic(
    centres: Float[Array, "*batch folds"],
    residuals: Float[Array, " n"],
    fold: Integer[Array, " n"],
    rank: Integer[ArrayLike, ""],
) -> Float[Array, "*batch"]:
    """`cross_order_statistic` of what `sort_within_folds` returns."""
    dtype = jnp.result_type(centres, residuals)
    n, folds = residuals.shape[0], centres.shape[-1]
    residuals, rank = residuals.astype(dtype), jnp.asarray(rank)
    starts = jnp.searchsorted(fold, jnp.arange(folds + 1)).astype(jnp.int32)

    def search(rows):
        return select(rows, residuals, starts, rank)

    def form(rows):
        return jax.vmap(order_statistic, (0, None))(rows[:, fold] + residuals[None], rank)

    rows = centres.astype(dtype).reshape(-1, folds)
    if n >= SEARCHED_FROM * folds:
        found = map_blocks(search, rows, max(SEARCH_BLOCK // folds, 1))
    else:
        found = map_blocks(form, rows, max(SUMS_BLOCK // n, 1))
    return found.reshape(centres.shape[:-1])


def _as_centres(centres) -> Float[Array, "*batch folds"]:
    centres = checks.as_float("centres", centres)
    if centres.ndim == 0 or centres.shape[-1] == 0:
        raise ValueError(f"centres must have shape (*batch, folds); got shape {centres.shape}")
    if checks.is_concrete(centres) and checks.holds(lambda c: jnp.isnan(c).any(), centres):
        raise ValueError(f"centres must not be NaN; some of shape {centres.shape} are")
    return centres


def _as_fold(fold, n: int, folds: int) -> Integer[Array, " n"]:
    fold = jnp.asarray(fold)
    if fold.shape != (n,) or not jnp.issubdtype(fold.dtype, jnp.integer) or n == 0:
        raise ValueError(
            f"fold must be whole numbers, one for each of the {n} residuals, at least one; got "
            f"shape {fold.shape}, dtype {fold.dtype}"
        )
    if checks.is_concrete(fold):
        if checks.holds(lambda f: ((f < 0) | (f >= folds)).any(), fold):
            raise ValueError(f"fold must lie in 0 to {folds - 1}, as there are {folds} centres")
    return fold
