"""The conformal quantile: the score whose rank among n + 1 gives the coverage, exactly."""

import math
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int, Real

from estimators._core import checks, order_statistic
from estimators.conformal._blocks import order_statistic_of_blocks
from estimators.sharding import Rows
from estimators.sharding._blocks import Blocks


def conformal_rank(n: int, coverage: float | np.floating | Fraction) -> int:
    """The rank `k = ceil((n + 1) coverage)`, in exact arithmetic.

    In floating point `(n + 1) * coverage` lands above a whole number now and then (9 + 1
    times 0.9 in some orders of evaluation), and the rank comes out one too high. Here the
    coverage is the decimal that was written: 0.9 means 9/10.

    Args:
        n: number of calibration scores.
        coverage: in (0, 1); a Fraction is taken as it is.

    Returns:
        The rank, from 1 to n + 1; n + 1 says that no score is large enough.
    """
    checks.integer("n", n, at_least=0)
    checks.probability("coverage", coverage)
    return math.ceil((n + 1) * as_fraction(coverage))


def level_rank(n: int, level: Fraction) -> int:
    """The rank that makes the level of a quantile valid; 0 and n + 1 are the infinite ones.

    At 1/2 and above ceil((n + 1) level): a new score lies at or below that one with at least the
    probability of the level. Below 1/2 floor((n + 1) level): with at most that.
    """
    exact = (n + 1) * level
    return math.ceil(exact) if 2 * level >= 1 else math.floor(exact)


def rank_table(n: int, coverage: float | np.floating | Fraction) -> np.ndarray:
    """`conformal_rank` of 0 to n scores, where their number is known only while running."""
    checks.probability("coverage", coverage)
    exact = as_fraction(coverage)
    whole = np.int64 if (n + 1) * exact.numerator < 2**63 else object
    sizes = np.arange(1, n + 2, dtype=whole)
    return (-(-sizes * exact.numerator // exact.denominator)).astype(np.int32)


def as_fraction(coverage: float | np.floating | Fraction) -> Fraction:
    """The fraction that a float stands for: its shortest decimal, less its rounding error."""
    if isinstance(coverage, Fraction):
        return coverage
    checks.known("coverage", coverage)
    written = Fraction(str(coverage))
    if getattr(coverage, "dtype", None) == np.float32:
        # A result of arithmetic in 32 bits is no short decimal: 0.90000004 for 9/10.
        simple = written.limit_denominator(1000)
        if abs(simple - written) <= 4 * np.finfo(np.float32).eps and 0 < simple < 1:
            return simple
    near = written.limit_denominator(10**9)
    return near if 0 < near < 1 else written


def calibration_size(coverage: float | np.floating | Fraction) -> int:
    """The fewest calibration scores for which the conformal quantile is finite.

    Example:
        >>> from estimators import conformal
        >>> conformal.calibration_size(0.9), conformal.calibration_size(0.99)
        (9, 99)
    """
    checks.probability("coverage", coverage)
    exact = as_fraction(coverage)
    return math.ceil(exact / (1 - exact))


def conformal_quantile(
    scores: Real[ArrayLike, " n"] | Rows | Blocks, coverage: Fraction | Real[ArrayLike, ""]
) -> Float[Array, ""]:
    """The smallest threshold that a new exchangeable score stays below with `coverage`.

    The `ceil((n + 1) coverage)`-th smallest score; +inf where that rank is above n. With it
    `P(new score <= threshold) >= coverage` exactly, and below `coverage + 1/(n + 1)` where
    scores are distinct (Vovk, Gammerman & Shafer 2005; Lei et al. 2018, theorem 2.2).

    Args:
        scores: `(n,)`, float32 or float64. An infinite score counts as what it is. Or
            `sharding.Rows` of them, which stay on their devices; or `sharding.Blocks`, which are
            read one to three times.
        coverage: in (0, 1). A Python number gives the exact rank. A traced array (inside
            jit or vmap) is ranked in floating point, with a tolerance of a few units of
            its rounding: exact up to about n = 1e5 in float32.

    Raises:
        ValueError: for a shape other than `(n,)`, NaN among the scores, or a coverage
            outside (0, 1). Inside jit NaN gives NaN.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> float(conformal.conformal_quantile(jnp.arange(1.0, 10.0), 0.9))
        9.0
        >>> float(conformal.conformal_quantile(jnp.arange(1.0, 9.0), 0.9))
        inf
    """
    if isinstance(scores, Blocks):
        if not checks.is_concrete(coverage):
            raise ValueError("coverage must be known where scores are Blocks; it is traced by jax")
        number = _as_number(coverage)
        return order_statistic_of_blocks(scores, lambda n: conformal_rank(n, number))
    rows = scores if isinstance(scores, Rows) else None
    scores = as_scores("scores", scores if rows is None else rows.values)
    n = scores.shape[0] if rows is None else rows.placement.count
    if checks.is_concrete(coverage):
        rank = conformal_rank(n, _as_number(coverage))
    else:
        rank = _traced_rank(n, coverage)
    if rows is None:
        return order_statistic(scores, rank)
    return _over_mesh(Rows(scores, rows.placement), jnp.asarray(rank))


@jax.jit
def _over_mesh(scores: Rows, rank):
    """The order statistic of scores that stay on their devices."""
    layout = scores.layout

    def local(mine, rank):
        values, number = mine
        # What fills up comes last; a rank above all that are real asks for infinity itself.
        values = jnp.where(number >= 0, values, jnp.inf)
        return order_statistic(values, rank, axis_name=layout.axis)

    return layout.run(local, (scores.values, scores.placement.number), rank, layout.whole)


def _as_number(coverage: Any) -> Any:
    """The number in an array of no dimension, in the precision that it has there."""
    return np.asarray(coverage)[()] if isinstance(coverage, jax.Array) else coverage


def why_infinite(n: int, coverage: float | Fraction) -> str | None:
    """The reason for an infinite conformal set, or None where it is finite."""
    if conformal_rank(n, coverage) <= n:
        return None
    return (
        f"coverage {float(as_fraction(coverage)):g} needs at least {calibration_size(coverage)} "
        f"calibration rows; there were {n}"
    )


def as_scores(name: str, scores) -> Float[Array, " n"]:
    """Check a `(n,)` array of scores, where infinities are allowed and NaN is not."""
    scores = checks.as_float(name, scores)
    if scores.ndim != 1:
        raise ValueError(f"{name} must have shape (n,); got shape {scores.shape}")
    if checks.is_concrete(scores) and checks.holds(lambda s: jnp.isnan(s).any(), scores):
        if not scores.is_fully_addressable:
            raise ValueError(f"{name} must not be NaN; on one of the processes some are")
        count = int(np.isnan(np.asarray(scores)).sum())
        raise ValueError(f"{name} must not be NaN; {count} of {scores.shape[0]} are")
    return scores


def _traced_rank(n: int, coverage) -> Int[Array, ""]:
    coverage = jnp.asarray(coverage, jnp.result_type(float))
    exact = (n + 1) * coverage
    slack = 4 * jnp.finfo(coverage.dtype).eps * (n + 1)
    rank = jnp.ceil(exact - slack).astype(jnp.int32)
    inside = (coverage > 0) & (coverage < 1)
    # A coverage of 1 or more, or NaN, has no finite threshold.
    return jnp.where(inside, rank, n + 1)
