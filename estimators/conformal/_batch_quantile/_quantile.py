"""One quantile of a batch of test scores that nobody has seen yet."""

import dataclasses
import functools
import math
from fractions import Fraction

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int, Real

from estimators._core import Fitted, Spec, checks
from estimators.conformal._batch_quantile._law import as_counts, batch_rank_law
from estimators.conformal._batch_quantile._rank import Side, end_ranks, end_tables, fewest
from estimators.conformal._batch_quantile._thinning import as_kept, score_of_rank
from estimators.conformal._guarantee import Guarantee
from estimators.conformal._quantile import as_fraction, as_scores


class BatchQuantile(Spec):
    """Bounds for a quantile of the scores of a batch of test rows (batch predictive inference).

    With S_(1) <= .. <= S_(n) the calibration scores and T_(z) the z-th smallest of m test
    scores, all exchangeable, the set is S_(p) <= T_(z) <= S_(q), p and q from `batch_rank`:
    of all such bounds the tightest with the coverage. A one-sided set has p = 0 or q = n + 1,
    a two-sided one the two ranks of coverage (1 + coverage) / 2. The test scores need not be
    seen, not even one at a time: the set is about their quantile. For m = 1 it is split
    conformal prediction.

    Args:
        test: number m of test scores in the batch.
        level: the level of the quantile, in (0, 1]; its position is ceil(level m), in exact
            arithmetic (a level of 0.5 is the lower median of an even batch).
        position: z itself, 1 to m, in place of `level`.
        coverage: probability that the set must hold T_(z), in (0, 1).
        side: "upper" for T_(z) <= S_(q), "lower" for T_(z) >= S_(p), or "two-sided".

    Guarantee: over calibration and test scores together the coverage is P(p < R <= q) exactly
    where scores are distinct (`batch_rank_law`), and at least that where they tie.

    Raises:
        ValueError: for a count, position, level, coverage or side that cannot be, or both of
            `level` and `position`, or neither.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> spec = conformal.BatchQuantile(test=100, level=0.9, coverage=0.9)
        >>> calibrated = spec.calibrate(jnp.arange(1.0, 201.0))
        >>> print(calibrated.lower, calibrated.upper, f"{calibrated.guarantee.at_least:.4f}")
        -inf 188.0 0.9020

    Reference: Lee, Tchetgen Tchetgen & Dobriban, arXiv 2409.13990.

    When it fails: test rows that come from elsewhere than calibration rows are not
    exchangeable with them (see `thin_to_shift` where only x has shifted). The probability is
    over calibration sets too; given one of them it may lie below the coverage.
    """

    test: int = eqx.field(static=True, kw_only=True)
    level: float | None = eqx.field(static=True, default=None, kw_only=True)
    position: int | None = eqx.field(static=True, default=None, kw_only=True)
    coverage: float = eqx.field(static=True, default=0.9, kw_only=True)
    side: Side = eqx.field(static=True, default="upper", kw_only=True)

    def __check_init__(self):
        checks.probability("coverage", self.coverage)
        checks.one_of("side", self.side, ("lower", "upper", "two-sided"))
        if (self.level is None) == (self.position is None):
            raise ValueError(
                f"level or position must be given, not both; got level={self.level}, "
                f"position={self.position}"
            )
        as_counts(0, self.test, self.ordinal)

    @property
    def ordinal(self) -> int:
        """The position z, from 1, that was given or that the level stands for."""
        if self.position is not None:
            return self.position
        return as_position("level", self.level, self.test)

    def calibrate(
        self, scores: Real[ArrayLike, " n"], *, kept: Bool[ArrayLike, " n"] | None = None
    ) -> "CalibratedBatchQuantile":
        """Read the bounds off the calibration scores.

        Args:
            scores: `(n,)`, float32 or float64; infinite ones count as what they are.
            kept: `(n,)`, which of them to use, as `thin_to_shift` draws it; None uses all. It
                may depend on features and on chance, not on scores.

        Raises:
            ValueError: for a shape other than `(n,)` or NaN. Inside jit NaN gives NaN.
        """
        scores = as_scores("scores", scores)
        n = scores.shape[0]
        ranks = (n, self.test, self.ordinal, self.coverage, self.side)
        if kept is None:
            number, ends = None, jnp.asarray(end_ranks(*ranks))
        else:
            kept = as_kept(kept, n)
            number = jnp.sum(kept, dtype=jnp.int32)
            ends = jnp.stack([jnp.asarray(table)[number] for table in end_tables(*ranks)])
        read = functools.partial(score_of_rank, scores, kept)
        # A side that is not bounded is not searched for; it is NaN where the other one is.
        if self.side == "upper":
            upper = read(ends[1])
            lower = jnp.minimum(upper, -jnp.inf)
        elif self.side == "lower":
            lower = read(ends[0])
            upper = jnp.maximum(lower, jnp.inf)
        else:
            lower, upper = read(ends)
        return CalibratedBatchQuantile(lower, upper, number, self, n)


class CalibratedBatchQuantile(Fitted):
    """Bounds for a quantile of the test scores; see `BatchQuantile`.

    Attributes:
        lower: -inf where that side is not bounded, or no score is small enough.
        upper: +inf where that side is not bounded, or no score is large enough.
        kept: number of calibration scores that were kept; None where all were used.
        spec: what was asked for.
        calibration: number of calibration scores.
    """

    lower: Float[Array, ""]
    upper: Float[Array, ""]
    kept: Int[Array, ""] | None
    spec: BatchQuantile
    calibration: int = eqx.field(static=True)

    @property
    def reason(self) -> str | None:
        """Why a side that was asked for is infinite, or None where none is.

        Where scores were thinned it is known outside `jax.jit` only; for many calibration
        sets it is about the one that kept fewest.
        """
        n = self.calibration if self.kept is None else int(np.min(self.kept))
        m, z = self.spec.test, self.spec.ordinal
        needed = fewest(m, z, self.spec.coverage, self.spec.side)
        if n >= needed:
            return None
        return (
            f"coverage {float(self.spec.coverage):g} for position {z} of {m} test scores needs at "
            f"least {needed} calibration scores; there were {n}"
        )

    @property
    def guarantee(self) -> Guarantee:
        """The probability that the set holds the quantile."""
        n, m, z = self.calibration, self.spec.test, self.spec.ordinal
        if self.kept is not None:
            return at_least(self.spec.coverage, m)
        lower, upper = end_ranks(n, m, z, self.spec.coverage, self.spec.side)
        return exactly(self.spec.coverage, batch_rank_law(n, m, z)[lower:upper].sum(), n, m)


def as_position(name: str, level, m: int) -> int:
    """The position ceil(level m), in exact arithmetic."""
    m = checks.integer("test", m, at_least=1)
    if not isinstance(level, int | float | np.floating | Fraction) or not 0 < level <= 1:
        raise ValueError(f"{name} must be a number above 0 and at most 1; got {level!r}")
    return math.ceil(as_fraction(level) * m)


def exactly(coverage: float, probability: float, n: int, m: int) -> Guarantee:
    """What a batch set promises where the number of calibration scores is fixed."""
    probability = min(float(probability), 1.0)
    over = f"{n} calibration and {m} test scores together"
    return Guarantee(coverage, probability, probability, "exact", over, "exchangeable scores")


def at_least(coverage: float, m: int) -> Guarantee:
    """What a batch set promises where calibration scores were thinned, and their number varies."""
    return Guarantee(
        coverage,
        coverage,
        None,
        "at least",
        f"calibration scores, their thinning, and {m} test scores together",
        "test scores that are exchangeable with those kept",
    )


def worded(guarantee: Guarantee, event: str) -> Guarantee:
    """The same promise, with what it is to cover."""
    return dataclasses.replace(guarantee, given=f"{guarantee.given}; to cover means that {event}")


class UpperBound(Fitted):
    """A threshold that is the upper bound of a quantile of the batch.

    Attributes:
        quantile: the bound that it is made of.
    """

    quantile: CalibratedBatchQuantile

    @property
    def threshold(self) -> Float[Array, ""]:
        """The bound; infinite where there are too few calibration rows."""
        return self.quantile.upper

    @property
    def reason(self) -> str | None:
        """Why the threshold is infinite, or None where it is not."""
        return self.quantile.reason
