"""A conformal quantile for each group: coverage within every group, not only on average."""

import functools
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int, Real

from estimators._core import checks, grouped_order_statistics
from estimators._core._collect import total
from estimators.conformal._quantile import as_scores, rank_table
from estimators.sharding import Placement, Rows, values_like


def grouped_conformal_quantiles(
    scores: Real[ArrayLike, " n"] | Rows,
    groups: Int[ArrayLike, " n"] | Rows,
    coverage: float | Fraction,
    *,
    count: int | None = None,
) -> Float[Array, " groups"]:
    """The conformal quantile of every group at once (Mondrian conformal prediction).

    Of the n_g scores of group g the `ceil((n_g + 1) coverage)`-th smallest; +inf where the
    group is too small for that. It is `conformal_quantile` of each group, in one pass.

    Args:
        scores: `(n,)`, float32 or float64. Or `sharding.Rows`, which stay on their devices.
        groups: `(n,)`, the group of each, 0 to `count - 1`. It may depend on the features, not
            on the outcome; for coverage given the outcome's class it may be that class. Split as
            scores are, where these are `Rows`.
        coverage: in (0, 1), a number.
        count: number of groups; None takes the largest group and one more. It is needed inside
            `jax.jit`, where groups are not known.

    Returns:
        `(count,)`.

    Raises:
        ValueError: for shapes that differ, NaN, or a group out of range. Inside jit NaN gives
            NaN in its group, and a score of a group out of range belongs to none.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> scores, groups = jnp.arange(20.0), jnp.arange(20) % 2
        >>> print(conformal.grouped_conformal_quantiles(scores, groups, 0.9))
        [18. 19.]

    Reference: Vovk, Gammerman & Shafer 2005, section 4.5 (Mondrian confidence machines).

    When it fails: many small groups give wide sets, or infinite ones; `calibration_size` says
    how many rows each needs.
    """
    if isinstance(scores, Rows):
        return _of_rows(scores, groups, coverage, count)
    scores = as_scores("scores", scores)
    groups, count = as_groups("groups", groups, scores.shape[0], count)
    return grouped_order_statistics(scores, groups, group_ranks(groups, count, coverage))


def _of_rows(scores: Rows, groups, coverage, count: int | None) -> Float[Array, " groups"]:
    values = as_scores("scores", scores.values)
    own = values_like("groups", groups, "scores", scores)
    own, count = as_groups("groups", own, values.shape[0], count)
    table = jnp.asarray(rank_table(scores.placement.count, coverage))
    return _over_mesh(scores.placement, (values, own), table, count)


@functools.partial(jax.jit, static_argnums=3)
def _over_mesh(placement: Placement, mine, table, count: int):
    axis = placement.layout.axis

    def local(mine, table):
        (values, groups), number = mine
        groups = jnp.where(number >= 0, groups, count)  # what fills up belongs to none
        sizes = total(jnp.bincount(groups, length=count), axis)
        return grouped_order_statistics(values, groups, table[sizes], axis_name=axis)

    return placement.layout.run(local, (mine, placement.number), table, placement.layout.whole)


def group_ranks(
    groups: Int[Array, " n"], count: int, coverage: float | Fraction
) -> Int[Array, " groups"]:
    """The conformal rank in each group."""
    # How many a group holds is not known while tracing: all ranks that there could be are.
    table = jnp.asarray(rank_table(groups.shape[0], coverage))
    return table[jnp.bincount(groups, length=count)]


def as_groups(
    name: str, groups, rows: int, count: int | None = None
) -> tuple[Int[Array, " n"], int]:
    """Check the group of each row, and find how many there are."""
    array = as_whole(name, groups, (rows,))
    if count is None:
        if not checks.is_concrete(array):
            raise ValueError(f"count must be given where {name} are traced, for it is a shape")
        with jax.ensure_compile_time_eval():  # of all processes, where split
            count = int(jnp.max(array, initial=0)) + 1
    count = checks.integer("count", count, at_least=1)
    return known_groups(name, array, count), count


def as_whole(name: str, array, shape: tuple[int, ...]) -> Int[Array, "..."]:
    """Check whole numbers of a shape."""
    if not isinstance(array, jax.Array) and np.asarray(array).dtype.kind in "iu":
        # 64 bits would wrap in jax, and name a group.
        array = np.clip(np.asarray(array).astype(np.int64), -1, 2**31 - 1)
    array = jnp.asarray(array)
    if not jnp.issubdtype(array.dtype, jnp.integer):
        raise ValueError(f"{name} must be whole numbers, 0 and up; got {array.dtype}")
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, one a row; got shape {array.shape}")
    held = jnp.iinfo(array.dtype)
    least, most = max(held.min, -1), min(held.max, 2**31 - 1)
    return jnp.clip(array, least, most).astype(jnp.int32)


def known_groups(name: str, groups: Int[Array, "..."], count: int) -> Int[Array, "..."]:
    """Refuse a group that there is not, where groups are known; elsewhere mark it by `count`."""
    refuse_outside(name, groups, count, ", the groups of calibration")
    return jnp.where((groups >= 0) & (groups < count), groups, count)


def refuse_outside(name: str, numbers: Int[Array, "..."], count: int, which: str = "") -> None:
    """Refuse whole numbers outside 0 to `count - 1`, where they are known."""
    if checks.is_concrete(numbers) and not getattr(numbers, "is_fully_addressable", True):
        if not checks.holds(lambda n: ((n >= 0) & (n < count)).all(), numbers):
            raise ValueError(
                f"{name} must lie between 0 and {count - 1}{which}; on one of the processes they "
                "do not"
            )
    elif checks.is_concrete(numbers):
        values = np.asarray(numbers)
        outside = values[(values < 0) | (values >= count)]
        if outside.size:
            raise ValueError(
                f"{name} must lie between 0 and {count - 1}{which}; got {outside[0]} "
                f"({outside.size} of {values.size} are outside)"
            )
