"""Is the density at a point an average over many data points, or the echo of a few?

The kernel sum at x is a random energy model (Biroli & Mezard 2024, arXiv 2408.05807). Above
a bandwidth h_CLT the central limit theorem governs it; below h_G = h_CLT / sqrt 2 it has
condensed onto a few points; between, its fluctuations are heavy-tailed with the stable
index m = (h / h_G)^2. All of it is read from one number, the participation ratio of the
kernel weights, at the bandwidth and at multiples of it.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int, Real

from estimators._core import Stored, checks, log_sum_exp, whiten
from estimators.density._kde import FittedKDE

REGIMES = ("classical", "heavy-tailed", "condensed")

# The participation ratio at h_G is .17 to .22 for n = 1e3..1e5 and d = 10..60, not the 0 of
# the limit: taking .2 gives h_G at a point to within 4 % there.
CRITICAL_PARTICIPATION = 0.2
_LOG_INDEX_RANGE = 14.0
_BISECTIONS = 14


class Regime(Stored):
    """The regime of a density estimate at each query; all arrays `(*batch,)`.

    Attributes:
        participation_ratio: sum of the squared normalised kernel weights, from 1/n (all
            points count alike) to 1 (one point is the whole sum).
        effective_points: its inverse, how many points carry the value.
        stable_index: m = (h / h_G)^2 with h_G the condensation bandwidth at this point.
            Between 1e-6 and 1e6, where it is cut off.
        code: 0 classical (m >= 2), 1 heavy-tailed (1 <= m < 2), 2 condensed (m < 1); -1
            where the density is NaN.
    """

    participation_ratio: Float[Array, "*batch"]
    effective_points: Float[Array, "*batch"]
    stable_index: Float[Array, "*batch"]
    code: Int[Array, "*batch"]

    @property
    def label(self) -> np.ndarray:
        """The name of the regime at each query, an array of strings (outside jit only)."""
        return np.asarray((*REGIMES, "undefined"))[np.asarray(self.code)]


def regime(fitted: FittedKDE, x: Real[ArrayLike, "*batch d"]) -> Regime:
    """Say at each row of `x` how many points the density estimate rests on.

    Args:
        fitted: a fitted kernel density estimate.
        x: `(*batch, d)`. Take rows that were not in the fit: a point of the fit finds
            itself at distance zero and looks condensed.

    Returns:
        See `Regime`. Costs 2 x 15 passes over the points.

    Raises:
        ValueError: if the last axis is not d, or (outside jit) `x` is not finite.

    Example:
        >>> import jax
        >>> from estimators import density
        >>> points = jax.random.normal(jax.random.key(0), (1000, 30))
        >>> fitted = density.KDE("scott").fit(points[:900])
        >>> near = density.regime(fitted, points[900:])
        >>> str(near.label[0]), bool((near.effective_points < 30).all())
        ('condensed', True)

    When it fails: with many exact copies of the same rows (a discrete column), where the
    copies count as points and the index is too large.
    """
    return _regime(fitted, checks.as_queries("x", x, fitted.points.shape[1]))


@jax.jit
def _regime(fitted: FittedKDE, x) -> Regime:
    queries = whiten(x.reshape(-1, x.shape[-1]), fitted.location, fitted.factor)

    def log_participation(precision):
        """Log sum w^2 / (sum w)^2: the squared kernel is a kernel of twice the precision."""
        squares = log_sum_exp(queries, fitted.points, 2 * fitted.log_weights, 2 * precision)
        return squares - 2 * log_sum_exp(queries, fitted.points, fitted.log_weights, precision)

    def halve(_, bounds):
        # The kernel has bandwidth 1 here, so precision p is bandwidth p^-1/2, and the p at
        # which the participation is critical is (h / h_G)^2 itself.
        low, high = bounds
        middle = 0.5 * (low + high)
        condensed = log_participation(jnp.exp(middle)) > jnp.log(CRITICAL_PARTICIPATION)
        return jnp.where(condensed, low, middle), jnp.where(condensed, middle, high)

    shape = x.shape[:-1]
    bound = jnp.full(queries.shape[0], _LOG_INDEX_RANGE, queries.dtype)
    low, high = jax.lax.fori_loop(0, _BISECTIONS, halve, (-bound, bound))
    index = jnp.exp(0.5 * (low + high))
    ratio = jnp.exp(log_participation(jnp.ones_like(index)))
    index = jnp.where(jnp.isnan(ratio), jnp.nan, index)
    code = jnp.where(jnp.isnan(index), -1, jnp.where(index >= 2, 0, jnp.where(index >= 1, 1, 2)))
    return Regime(
        ratio.reshape(shape), (1 / ratio).reshape(shape), index.reshape(shape), code.reshape(shape)
    )
