"""Power bets: against p-values that are too often small."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Real

from estimators._core import checks
from estimators.conformal._martingale._betting import Betting

NODES, NODE_WEIGHTS = np.polynomial.legendre.leggauss(48)
NEGLIGIBLE = 40.0  # nats below the top, beyond which the integrand is left out


class PowerBetting(Betting):
    """The bets `e p^(e - 1)` for an exponent e in (0, 1), or mixed over all of them.

    The mixture with e uniform has, with s = -sum of log p after n p-values, the capital

        M_n = integral of e^n exp(s (1 - e)) over (0, 1) = exp(s) gamma(n + 1, s) / s^(n + 1)

    with the lower incomplete gamma function. It is computed in log scale for any n and s, to
    about 1e-10 in float64.

    Args:
        exponent: e, in (0, 1); None takes the mixture.

    Raises:
        ValueError: for an exponent outside (0, 1). Inside jit it gives NaN.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> test = conformal.ExchangeabilityTest(conformal.PowerBetting(0.5))
        >>> capital = jnp.exp(test.monitor(jnp.array([0.25, 0.01])).log_path)
        >>> print([f"{c:.2f}" for c in capital])
        ['1.00', '5.00']

    Reference: Vovk, Nouretdinov & Gammerman 2003, Testing exchangeability on-line, ICML.

    When it fails: only an excess of small p-values gains; large ones lose, and a change towards
    scores that are all small is not found. Make scores large where a row is strange.
    """

    exponent: Real[ArrayLike, ""] | None = None

    def __check_init__(self):
        if self.exponent is not None:
            checks.probability("exponent", self.exponent)

    def init(self, dtype):
        """How many p-values there were, minus the sum of their logarithms, and log capital."""
        return jnp.zeros((), dtype), jnp.zeros((), dtype), jnp.zeros((), dtype)

    def update(self, state, p_value):
        """See `Betting`."""
        count, total, before = state
        dtype = total.dtype
        # 0 has probability 0; there the bet would be infinite, and the next no number.
        surprise = -jnp.log(jnp.maximum(p_value, jnp.finfo(dtype).tiny))
        count, total = count + 1, total + surprise
        if self.exponent is None:
            capital = log_power_mixture(count, total)
            return (count, total, capital), capital - before
        exponent = jnp.asarray(self.exponent, dtype)
        exponent = jnp.where((exponent > 0) & (exponent < 1), exponent, jnp.nan)
        log_bet = jnp.log(exponent) + (1 - exponent) * surprise
        return (count, total, before + log_bet), log_bet


def log_power_mixture(count: Float[Array, ""], total: Float[Array, ""]) -> Float[Array, ""]:
    """The log of the integral of `e^count exp(total (1 - e))` over e in (0, 1); count >= 1.

    In terms of gamma functions large numbers cancel, in float32 all of them. The logarithm of
    the integrand is concave: Gauss-Legendre quadrature over the part about its top, left and
    right of which bounds on its fall say that nothing is left.
    """
    nodes, weights = (jnp.asarray(a, total.dtype) for a in (NODES, NODE_WEIGHTS))
    top = jnp.minimum(count / total, 1)
    slope, curvature = count / top - total, count / top**2
    left = 2 * NEGLIGIBLE / (slope + jnp.sqrt(slope**2 + 2 * NEGLIGIBLE * curvature))
    right = (NEGLIGIBLE + jnp.sqrt(NEGLIGIBLE**2 + 2 * NEGLIGIBLE * count)) / total
    low, high = jnp.maximum(top - left, 0), jnp.minimum(top + right, 1)
    exponents = low + 0.5 * (high - low) * (nodes + 1)
    apart = (exponents - top) / top
    # Below the top: count log(1 + apart) - total top apart, of which the most cancels there.
    fall = count * (jnp.log1p(apart) - apart) + slope * top * apart
    integral = 0.5 * (high - low) * jnp.sum(weights * jnp.exp(fall))
    at_top = count * jnp.log(top) + total * (1 - top)
    return at_top + jnp.log(integral)
