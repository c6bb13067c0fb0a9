"""Draws of the ranks of a batch, and the quantile of any function of them that is valid exactly."""

import math
from collections.abc import Callable
from fractions import Fraction

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from estimators._core import checks, order_statistic
from estimators._core._blocks import map_blocks
from estimators.conformal._quantile import conformal_rank


def sample_ranks(calibration: int, test: int, *, key: Key[Array, ""]) -> Int[Array, " m"]:
    """Ranks of m test scores among n calibration scores, drawn from their joint law.

    `R_j = 1 + #{i : S_i < T_(j)}` is uniform over `1 <= r_1 <= .. <= r_m <= n + 1`. The ranks
    are not independent: they follow a Polya urn, in which each new score takes a fresh rank or
    that of an earlier one.

    Args:
        calibration: number n of calibration scores.
        test: number m of test scores.
        key: one key gives one draw; `jax.vmap` over keys gives many.

    Returns:
        `(m,)`, from 1 to n + 1, in increasing order.

    Raises:
        ValueError: for numbers below 1, or something that is not a key.

    Example:
        >>> import jax
        >>> from estimators import conformal
        >>> ranks = conformal.sample_ranks(1000, 5, key=jax.random.key(0))
        >>> ranks.shape
        (5,)

    Reference: Gazin, Blanchard & Roquain (arXiv 2310.18108), for the urn.

    When it fails: ties among the scores; see `rank_sum_law`.
    """
    checks.integer("calibration", calibration, at_least=1)
    checks.integer("test", test, at_least=1)
    # Ball j of the urn is one of n + 1 fresh ranks, or a copy of one of the j before it.
    balls = jnp.arange(test)
    drawn = jax.random.randint(checks.as_key(key), (test,), 0, calibration + 1 + balls)
    source = jnp.where(drawn <= calibration, balls, drawn - calibration - 1)
    for _ in range(math.ceil(math.log2(test))):
        source = source[source]  # twice as far along the chain of copies
    return jnp.sort(drawn[source]) + 1


def ordering_quantile(
    ordering: Callable[[Int[Array, " m"]], Float[Array, ""]],
    calibration: int,
    test: int,
    coverage: float | Fraction,
    *,
    key: Key[Array, ""],
    draws: int = 9999,
) -> Float[Array, ""]:
    """A number q with `P(ordering(R) <= q) >= coverage`, for any function of the ranks.

    The `ceil((draws + 1) coverage)`-th smallest of `draws` values of the function at ranks
    from `sample_ranks`. They and the value at the ranks of the scores are exchangeable, so the
    probability, over scores and draws, is at least the coverage for every number of draws.
    More of them make q vary less.

    Args:
        ordering: from `(m,)` increasing ranks, 1 to n + 1, to a number. It may depend on
            training data, not on the calibration or test scores.
        calibration: number n of calibration scores.
        test: number m of test scores.
        coverage: in (0, 1).
        key: for the draws.
        draws: how many.

    Returns:
        q; +inf where there are too few draws for the coverage.

    Raises:
        ValueError: for numbers below 1, a coverage outside (0, 1), or no key.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from estimators import conformal
        >>> q = conformal.ordering_quantile(jnp.max, 99, 1, 0.9, key=jax.random.key(0))
        >>> bool(85 < q < 95)
        True

    Reference: Lee, Tchetgen Tchetgen & Dobriban (arXiv 2409.13990), for the ordering of ranks.

    When it fails: an ordering that was chosen after a look at the calibration scores.
    """
    checks.integer("draws", draws, at_least=1)
    rank = conformal_rank(draws, coverage)
    keys = jax.random.split(checks.as_key(key), draws)

    def value(key):
        return checks.as_number(
            "ordering(ranks)", ordering(sample_ranks(calibration, test, key=key))
        )

    return order_statistic(map_blocks(jax.vmap(value), keys), rank)
