"""What the bounds by ranks share: their options, and a lower bound as an upper one mirrored."""

from abc import abstractmethod
from fractions import Fraction

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Key, Real

from estimators._core import Spec, checks
from estimators.conformal._batch_score._bounds import (
    SIDES,
    CalibratedBatchScore,
    Side,
    of_both_sides,
    side_coverage,
)
from estimators.conformal._batch_score._rank_sum import rank_sum_probability, rank_sum_quantile
from estimators.conformal._quantile import calibration_size, conformal_rank


class RankBounds(Spec):
    """Options of `BatchMean` and `BatchScore`, which say what each is."""

    test: int = eqx.field(static=True)
    coverage: float = eqx.field(static=True, default=0.9)
    ordering: Real[ArrayLike, " k"] | None = eqx.field(default=None, kw_only=True)
    lower_bound: float | int = eqx.field(static=True, default=-np.inf, kw_only=True)
    upper_bound: float | int = eqx.field(static=True, default=np.inf, kw_only=True)
    side: Side = eqx.field(static=True, default="upper", kw_only=True)
    resolution: int = eqx.field(static=True, default=2048, kw_only=True)
    draws: int = eqx.field(static=True, default=9999, kw_only=True)

    def __check_init__(self):
        checks.integer("test", self.test, at_least=1)
        checks.probability("coverage", self.coverage)
        checks.one_of("side", self.side, SIDES)
        checks.integer("resolution", self.resolution, at_least=1)
        if not self.lower_bound < self.upper_bound:
            raise ValueError(
                f"lower_bound must be below upper_bound; got {self.lower_bound} "
                f"and {self.upper_bound}"
            )
        if self.ordering is not None:
            needed = calibration_size(side_coverage(self.coverage, self.side))
            checks.integer("draws", self.draws, at_least=needed)

    def calibrate(
        self, scores: Real[ArrayLike, " n"], *, key: Key[Array, ""] | None = None
    ) -> CalibratedBatchScore:
        """Bound the batch score of test scores that are exchangeable with `scores`.

        Args:
            scores: `(n,)`, of calibration rows.
            key: for the draws of ranks; needed with an ordering, and only then.

        Raises:
            ValueError: for a wrong shape, scores that are not finite or beyond their bounds
                (NaN inside jit), or an ordering without a key.
        """
        scores = self._as_scores(scores)
        reference = self._as_reference(scores.dtype)
        if reference is not None and key is None:
            raise ValueError("key must be given with an ordering; got None")
        lower, upper = self._bounds(scores, reference, key)
        n, procedure = scores.size, "rank sum" if reference is None else "ordering"
        reached = of_both_sides(self._reached(n), self.side)
        return CalibratedBatchScore(
            lower, upper, self.coverage, n, self.test, self.side, procedure, reached
        )

    @eqx.filter_jit
    def _bounds(self, scores, reference, key):
        each, ordered = side_coverage(self.coverage, self.side), jnp.sort(scores)
        valid = ((ordered >= self.lower_bound) & (ordered <= self.upper_bound)).all()
        valid = valid & jnp.isfinite(ordered).all()
        keys, mirrored = (None, None), None
        if reference is not None:
            keys, mirrored = jax.random.split(checks.as_key(key)), -reference
            valid = valid & jnp.isfinite(reference).all()
        lower, upper = self._trivial(scores.dtype)
        if self.side != "lower":
            upper = self._bound(ordered, self.upper_bound, reference, each, keys[0], 1)
        if self.side != "upper":
            lower = -self._bound(-ordered[::-1], -self.lower_bound, mirrored, each, keys[1], -1)
        return checks.poison((lower, upper), valid)

    @abstractmethod
    def _bound(
        self, ordered, bound, reference, coverage: Fraction, key, sign: int
    ) -> Float[Array, ""]:
        """The upper bound, of the batch score of `sign` times the scores, times `sign`."""

    @abstractmethod
    def _trivial(self, dtype) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """What the bounds of single scores imply."""

    def _reached(self, n):
        coverage = side_coverage(self.coverage, self.side)
        if self.ordering is not None:
            return conformal_rank(self.draws, coverage) / (self.draws + 1)
        total = rank_sum_quantile(n, self.test, coverage)
        return rank_sum_probability(n, self.test, total)

    def _as_scores(self, scores):
        scores = checks.as_vector("scores", scores)
        if checks.is_concrete(scores):
            low, high = np.asarray(scores).min(), np.asarray(scores).max()
            if low < self.lower_bound or high > self.upper_bound:
                raise ValueError(
                    f"scores must lie from lower_bound {self.lower_bound} to upper_bound "
                    f"{self.upper_bound}; they reach from {low} to {high}"
                )
        return scores

    def _as_reference(self, dtype):
        if self.ordering is None:
            return None
        return checks.as_vector("ordering", self.ordering).astype(dtype)
