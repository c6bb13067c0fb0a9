"""Conformal sets that cover under every reweighting in a class of functions."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import ArrayLike, Float, Real

from estimators._core import Spec, checks
from estimators.conformal._conditional._calibrated import CalibratedConditional
from estimators.conformal._conditional._kernel import kernel_class
from estimators.conformal._conditional._linear import linear_class
from estimators.conformal._conditional._units import Units


class ConditionalConformal(Spec):
    """Conformal prediction with conditional guarantees (Gibbs, Cherian & Candes).

    The threshold of a new row x is

        sup{ S : S <= g_S(x) },  g_S = argmin_g sum_i pinball(S_i - g(x_i)) + pinball(S - g(x)),

    the quantile regression, at the level `coverage`, of the scores and of the row's own unknown
    one S, over `g(x) = features(x)' b`. Then for every f of the same form with f >= 0

        E[ f(X) (1{covered} - coverage) ] >= 0,

    coverage when new rows are reweighted by f. Indicators as features give coverage in every
    group, and groups may overlap; with a column of ones it is marginal too. All thresholds are
    exact and certified: each new row is a few pivots from the regression that they share.

    With a kernel, g has a smooth part of the Gaussian kernel's space besides, for which
    `penalty * (n + 1) * norm**2` is added. Reweighting by smooth f is then covered nearly, and
    `coverage_shift` says how nearly; by `features` as before.

    Args:
        coverage: in (0, 1).
        randomised: draw each threshold, so that the expectation is 0, for f of any sign. Without,
            sets are larger, the more so the more features there are for the rows.
        kernel_bandwidth: standard deviation of the kernel, in units of `points`, for all columns
            or one for each. It takes O(n**2) memory, and float64 is best.
        penalty: positive, in 1/score; the smaller, the more local. Given with the bandwidth.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> scores, group = jnp.arange(20.0), jnp.arange(20) % 2
        >>> features = jnp.stack([jnp.ones(20), group], 1)
        >>> calibrated = conformal.ConditionalConformal(0.9).calibrate(scores, features)
        >>> print(calibrated.thresholds(jnp.array([[1.0, 0.0], [1.0, 1.0]])))
        [18. 19.]

    Reference: Gibbs, Cherian & Candes 2025, Conformal prediction with conditional guarantees,
    theorems 2 and 3; the dual variable of the new row as the test, section 4.

    When it fails: features must not have been chosen with the calibration scores. Many features
    for few rows give infinite sets. Coverage holds for reweightings in the class and on average
    over calibration sets; not at each x.
    """

    coverage: float = eqx.field(static=True, default=0.9)
    randomised: bool = eqx.field(static=True, default=False, kw_only=True)
    kernel_bandwidth: float | Float[ArrayLike, "..."] | None = eqx.field(default=None, kw_only=True)
    penalty: float | Float[ArrayLike, ""] | None = eqx.field(default=None, kw_only=True)

    def __check_init__(self):
        checks.probability("coverage", self.coverage)
        if (self.kernel_bandwidth is None) != (self.penalty is None):
            raise ValueError("kernel_bandwidth and penalty must be given together; got one of them")
        if self.penalty is not None:
            checks.positive("penalty", self.penalty)
            checks.positive("kernel_bandwidth", self.kernel_bandwidth)

    def calibrate(
        self,
        scores: Real[ArrayLike, " n"],
        features: Real[ArrayLike, "n d"],
        points: Real[ArrayLike, "n p"] | None = None,
    ) -> CalibratedConditional:
        """Solve the quantile regression of the scores on the features, once for all new rows.

        Args:
            scores: `(n,)`, of rows that the model has not seen.
            features: `(n, d)`. Columns may depend on each other; a new row that is outside the
                span of these rows gets the infinite set.
            points: `(n, p)`, where each row lies, with a kernel alone.

        Raises:
            ValueError: for shapes that do not belong together, values that are not finite (inside
                `jax.jit` they give NaN), or points without a kernel, or the reverse.
        """
        scores = checks.as_vector("scores", scores)
        n = scores.shape[0]
        features = _of_rows("features", features, n)
        dtype = jnp.result_type(scores, features)
        scores, features = scores.astype(dtype), features.astype(dtype)
        units = Units.of(features)
        features = units(features)
        coverage = jnp.asarray(self.coverage, dtype)
        if (points is not None) != (self.penalty is not None):
            raise ValueError("points must be given with kernel_bandwidth, and only then")
        if points is None:
            functions = linear_class(scores, features, coverage)
        else:
            points = _of_rows("points", points, n).astype(dtype)
            bandwidth = checks.as_float("kernel_bandwidth", self.kernel_bandwidth)
            p = points.shape[1]
            if bandwidth.shape not in ((), (p,)):
                raise ValueError(
                    f"kernel_bandwidth must have shape () or ({p},); got {bandwidth.shape}"
                )
            bandwidth = jnp.broadcast_to(bandwidth.astype(dtype), (p,))
            penalty = checks.as_number("penalty", self.penalty).astype(dtype)
            functions = kernel_class(scores, features, points, bandwidth, penalty, coverage)
        return CalibratedConditional(functions, units, float(self.coverage), self.randomised)


def _of_rows(name: str, array, n: int):
    array = checks.as_points(name, array)
    if array.shape[0] != n:
        raise ValueError(f"{name} must have {n} rows, as scores; got shape {array.shape}")
    return array
