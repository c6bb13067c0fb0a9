"""Split conformal bounds of the mean of a batch, from batches of calibration scores."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Key, Real

from estimators._core import Spec, checks, order_statistic
from estimators.conformal._batch_score._bounds import (
    SIDES,
    CalibratedBatchScore,
    Side,
    of_both_sides,
    side_coverage,
)
from estimators.conformal._quantile import conformal_rank


class PartitionMean(Spec):
    """Bounds of the mean of m test scores by the means of floor(n / m) calibration batches.

    The batch means and that of the test scores are exchangeable: the bound is the
    `ceil((b + 1) coverage)`-th smallest of the b batch means, as in split conformal
    prediction. What is left over from n = b m + rest is not used.

    Args:
        test: number m of test scores.
        coverage: probability that the bounds must cover, in (0, 1); two-sided bounds have
            (1 + coverage) / 2 each.
        side: "upper", "lower" or "two-sided".

    Guarantee: for exchangeable scores the mean is covered with probability
    `ceil((b + 1) coverage) / (b + 1)`, exactly that where batch means are distinct.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> scores = jnp.tile(jnp.arange(10.0), 20)
        >>> float(conformal.PartitionMean(test=10, coverage=0.9).calibrate(scores).upper)
        4.5

    Reference: Vovk, Gammerman & Shafer 2005, for split conformal prediction.

    When it fails: with fewer batches than coverage / (1 - coverage) the bound is infinite, and
    with few more than that it varies much from one calibration sample to the next.
    """

    test: int = eqx.field(static=True)
    coverage: float = eqx.field(static=True, default=0.9)
    side: Side = eqx.field(static=True, default="upper", kw_only=True)

    def __check_init__(self):
        checks.integer("test", self.test, at_least=1)
        checks.probability("coverage", self.coverage)
        checks.one_of("side", self.side, SIDES)

    def calibrate(
        self, scores: Real[ArrayLike, " n"], *, key: Key[Array, ""] | None = None
    ) -> CalibratedBatchScore:
        """Bound the mean of test scores that are exchangeable with `scores`.

        Args:
            scores: `(n,)`, of calibration rows.
            key: shuffles the scores before they are cut into batches. None cuts them in their
                order, which serves as well unless neighbours are alike.

        Raises:
            ValueError: for a wrong shape, or scores that are not finite (NaN inside jit).
        """
        scores = checks.as_vector("scores", scores)
        valid = jnp.isfinite(scores).all()
        if key is not None:
            scores = jax.random.permutation(checks.as_key(key), scores)
        n, m = scores.size, self.test
        batches = n // m
        means = scores[: batches * m].reshape(batches, m).mean(axis=1)
        each = side_coverage(self.coverage, self.side)
        rank = conformal_rank(batches, each)
        infinite = jnp.full((), jnp.inf, scores.dtype)
        upper = order_statistic(means, rank) if self.side != "lower" else infinite
        lower = -order_statistic(-means, rank) if self.side != "upper" else -infinite
        lower, upper = checks.poison((lower, upper), valid)
        reached = of_both_sides(rank / (batches + 1), self.side)
        return CalibratedBatchScore(
            lower, upper, self.coverage, n, m, self.side, "partition", reached
        )
