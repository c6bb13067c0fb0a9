"""Standard normal columns into columns with two modes."""

import jax
import jax.numpy as jnp
from jax.scipy.special import log_ndtr
from jaxtyping import Array, ArrayLike, Float, Real

from estimators._core import checks
from estimators.information.simulate._simulator import parameters
from estimators.information.simulate._transformed import Transformation


class Bimodal(Transformation):
    """The increasing map of the standard normal law onto a mixture of two normal ones.

    It solves `F(t) = Phi(x)` with `F = weight Phi(t - low) + (1 - weight) Phi(t - high)`, on
    the side of the median where neither is close to one, so that the tails keep their digits.

    Attributes:
        weight: that of the component at `low`, in (0, 1).
        low: mean of a component of unit variance.
        high: mean of the other.

    Raises:
        ValueError: outside jit, if `weight` is not in (0, 1).

    Reference: Czyż et al. (2023), *Beyond Normal*, the bimodal task.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators.information import simulate
        >>> print(simulate.Bimodal(0.5, -2.0, 2.0)(jnp.array([[-1.0, 0.0, 1.0]])).round(2))
        [[-2.48  0.    2.48]]

    When it fails: a column that is not standard normal is mapped injectively too, but not onto
    that mixture.
    """

    weight: Float[Array, ""]
    low: Float[Array, ""]
    high: Float[Array, ""]

    def __init__(
        self, weight: Real[ArrayLike, ""], low: Real[ArrayLike, ""], high: Real[ArrayLike, ""]
    ):
        checks.probability("weight", weight)
        self.weight, self.low, self.high = parameters(weight=weight, low=low, high=high)

    def __call__(self, points: Float[Array, "n d"]) -> Float[Array, "n d"]:
        """Map every entry."""
        weight, low, high = (a.astype(points.dtype) for a in (self.weight, self.low, self.high))
        return bimodal(points, weight, low, high)


def bimodal(
    x: Float[Array, "*n"], weight: Float[Array, ""], low: Float[Array, ""], high: Float[Array, ""]
) -> Float[Array, "*n"]:
    """Solve `weight Phi(t - low) + (1 - weight) Phi(t - high) = Phi(x)` for t.

    By bisection between x + low and x + high; a Newton step at the end carries the derivatives,
    in x and in the parameters.
    """
    sign = jnp.where(x > 0, -1, 1).astype(x.dtype)  # the upper tail is the lower one of -t
    target = log_ndtr(sign * x)

    def excess(t):
        below = jnp.log(weight) + log_ndtr(sign * (t - low))
        above = jnp.log1p(-weight) + log_ndtr(sign * (t - high))
        return sign * (jnp.logaddexp(below, above) - target)

    def halve(_, bracket):
        lower, upper = bracket
        middle = (lower + upper) / 2
        too_high = excess(middle) > 0
        return jnp.where(too_high, lower, middle), jnp.where(too_high, middle, upper)

    bracket = x + jnp.minimum(low, high), x + jnp.maximum(low, high)
    # One bit a turn, up to those of the mantissa.
    turns = jnp.finfo(x.dtype).nmant + 3
    lower, upper = jax.lax.fori_loop(0, turns, halve, jax.lax.stop_gradient(bracket))
    root = jax.lax.stop_gradient((lower + upper) / 2)
    slope = jax.lax.stop_gradient(jax.jvp(excess, (root,), (jnp.ones_like(root),))[1])
    return root - excess(root) / slope
