"""Several quantiles of a batch of unseen test scores, bounded at once."""

from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int, Real

from estimators._core import Fitted, Spec, checks
from estimators.conformal._batch_quantile._box import Grow, Region, joint_ranks
from estimators.conformal._batch_quantile._joint_law import box_probability
from estimators.conformal._batch_quantile._law import as_counts
from estimators.conformal._batch_quantile._quantile import as_position, at_least, exactly, worded
from estimators.conformal._batch_quantile._thinning import as_kept, score_of_rank
from estimators.conformal._guarantee import Guarantee
from estimators.conformal._quantile import as_fraction, as_scores


def _as_tuple(values: Sequence | None) -> tuple | None:
    """A list is taken too; what jax compares must be hashable."""
    return None if values is None else tuple(values)


class BatchQuantiles(Spec):
    """Bounds that hold for several quantiles of a batch of test scores together.

    With T_(z_1) <= .. <= T_(z_l) order statistics of m test scores, the set is
    S_(p_j) <= T_(z_j) <= S_(q_j) for all j: an "interval" has the same ends for all, that is
    T_(z_1) >= S_(p) and T_(z_l) <= S_(q); a "box" has ends for each position. The ranks come
    from a nested family of sets, the smallest whose exact joint probability (a Markov chain
    of ranks) reaches the coverage. By "tails" each outer end is missed about equally often;
    by "ranks" all ends move outwards by one rank a step, from n z / m.

    Args:
        test: number m of test scores in the batch.
        levels: levels of two or more quantiles, increasing in (0, 1]; positions ceil(level m).
        positions: the positions themselves, increasing from 1 to m, in place of `levels`.
        coverage: probability that all bounds hold together, in (0, 1).
        region: "interval" or "box".
        grow: "tails" or "ranks"; "ranks" gives the published bounds of the quartiles.

    Guarantee: over calibration and test scores together, the joint probability of the set that
    was chosen, exactly where scores are distinct, at least that where they tie. It is at
    least `coverage` less 1e-12, of rounding. No set of the family with less is valid; a set
    outside the family may be smaller.

    Raises:
        ValueError: for counts, levels, positions or names that cannot be, or both of `levels`
            and `positions`, or neither.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> spec = conformal.BatchQuantiles(test=40, levels=(0.25, 0.75), grow="ranks")
        >>> calibrated = spec.calibrate(jnp.arange(1.0, 201.0))
        >>> print(calibrated.lower, calibrated.upper)
        [28. 28.] [172. 172.]

    Reference: Lee, Tchetgen Tchetgen & Dobriban, arXiv 2409.13990, for two quantiles.

    When it fails: many positions, or extreme ones, need many calibration scores; an end for
    which there are too few is infinite. Finding the ranks takes about log2(2 l n) joint
    probabilities of O(l n log n), once.
    """

    test: int = eqx.field(static=True, kw_only=True)
    levels: tuple[float, ...] | None = eqx.field(
        static=True, default=None, converter=_as_tuple, kw_only=True
    )
    positions: tuple[int, ...] | None = eqx.field(
        static=True, default=None, converter=_as_tuple, kw_only=True
    )
    coverage: float = eqx.field(static=True, default=0.9, kw_only=True)
    region: Region = eqx.field(static=True, default="interval", kw_only=True)
    grow: Grow = eqx.field(static=True, default="tails", kw_only=True)

    def __check_init__(self):
        checks.probability("coverage", self.coverage)
        checks.one_of("region", self.region, ("interval", "box"))
        checks.one_of("grow", self.grow, ("tails", "ranks"))
        if (self.levels is None) == (self.positions is None):
            raise ValueError(
                f"levels or positions must be given, not both; got levels={self.levels}, "
                f"positions={self.positions}"
            )
        ordinals = self.ordinals
        for ordinal in ordinals:
            as_counts(0, self.test, ordinal)
        if len(ordinals) < 2 or any(np.diff(ordinals) <= 0):
            raise ValueError(
                f"positions must be two or more that increase; got {ordinals} of {self.test}"
            )

    @property
    def ordinals(self) -> tuple[int, ...]:
        """The positions, from 1, that were given or that the levels stand for."""
        if self.positions is not None:
            return self.positions
        return tuple(as_position("levels", level, self.test) for level in self.levels or ())

    def calibrate(
        self, scores: Real[ArrayLike, " n"], *, kept: Bool[ArrayLike, " n"] | None = None
    ) -> "CalibratedBatchQuantiles":
        """Read the bounds off the calibration scores.

        Args:
            scores: `(n,)`, float32 or float64; infinite ones count as what they are.
            kept: `(n,)`, which of them to use, as in `BatchQuantile.calibrate`; None uses all.
                It must be known: a table of joint ranks for every number of rows would take
                minutes to make.

        Raises:
            ValueError: for a shape other than `(n,)` or NaN. Inside jit NaN gives NaN.
        """
        scores = as_scores("scores", scores)
        n = scores.shape[0]
        if kept is None:
            number, ranks = None, jnp.asarray(self.ranks(n))
        else:
            if not checks.is_concrete(kept):
                raise ValueError(
                    "kept must be known, for joint ranks are found on the host; it is traced"
                )
            count = int(np.asarray(kept).sum())
            kept, number = as_kept(kept, n), jnp.asarray(count, jnp.int32)
            ranks = jnp.asarray(self.ranks(count))
        lower, upper = score_of_rank(scores, kept, ranks)
        return CalibratedBatchQuantiles(lower, upper, number, self, n)

    def ranks(self, calibration: int) -> Int[np.ndarray, "2 positions"]:
        """Ranks p and q of the ends among `calibration` scores; 0 and n + 1 are infinite."""
        exact = as_fraction(self.coverage)
        return joint_ranks(
            calibration, self.test, self.ordinals, exact, self.region, self.grow
        ).astype(np.int32)


class CalibratedBatchQuantiles(Fitted):
    """Joint bounds for quantiles of the test scores; see `BatchQuantiles`.

    Attributes:
        lower: `(positions,)`, lower ends; -inf where no score is small enough.
        upper: `(positions,)`, upper ends; +inf where no score is large enough.
        kept: number of calibration scores that were kept; None where all were used.
        spec: what was asked for.
        calibration: number of calibration scores.
    """

    lower: Float[Array, " positions"]
    upper: Float[Array, " positions"]
    kept: Int[Array, ""] | None
    spec: BatchQuantiles
    calibration: int = eqx.field(static=True)

    @property
    def reason(self) -> str | None:
        """Why an end is infinite, or None where none is.

        Where scores were thinned it is known outside `jax.jit` only; for many calibration
        sets it is about the one that kept fewest.
        """
        n = self.calibration if self.kept is None else int(np.min(self.kept))
        lower, upper = self.spec.ranks(n)
        infinite = int(np.sum(lower < 1) + np.sum(upper > n))
        if infinite == 0:
            return None
        return (
            f"coverage {float(self.spec.coverage):g} for {len(lower)} positions of "
            f"{self.spec.test} test scores needs more than {n} calibration scores; {infinite} of "
            f"{2 * len(lower)} ends are infinite"
        )

    @property
    def guarantee(self) -> Guarantee:
        """The probability that all bounds hold."""
        n, m, coverage = self.calibration, self.spec.test, self.spec.coverage
        if self.kept is None:
            probability = box_probability(n, m, self.spec.ordinals, *self.spec.ranks(n))
            promise = exactly(coverage, probability, n, m)
        else:
            promise = at_least(coverage, m)
        return worded(promise, f"the bounds of all {len(self.spec.ordinals)} positions hold")
