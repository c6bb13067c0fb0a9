"""What a column of a table may hold, and the kernel in one variable that suits it.

Here are the continuous kinds, `Real`, `Bounded` and `Periodic`; the discrete ones are in
`_codes.py`. Each kind maps values to a coordinate in which its kernel works. A kernel
integrates, or sums, to one over the column's domain for every bandwidth.
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp

from estimators._core import Stored, checks
from estimators._core._moments import first_with_weight

# Above this many periods the wrapped normal is summed as a cosine series, below as images.
# Either sum is then exact to 1e-12 with the terms that it keeps.
SWITCH = 0.19
COSINES = 7


class Column(Stored):
    """The kind of one column: its domain, coordinate and kernel. Carries no arrays."""

    # Not annotated: an annotation would make them fields, which files store.
    continuous = True
    wanted = "finite"

    def holds(self, values):
        """Which values a fit may be given."""
        return jnp.isfinite(values)

    def supports(self, values):
        """Where the density may be above zero."""
        return jnp.ones_like(values, bool)

    def coordinate(self, values):
        """Where the kernel works."""
        return values

    def log_jacobian(self, values):
        """Log of the coordinate's derivative by the value."""
        return jnp.zeros_like(values)

    def value(self, coordinate):
        """From a coordinate back to the value."""
        return coordinate

    def spread(self, coordinates, weights):
        """The scale in which rules measure the bandwidth; `weights` sum to one."""
        origin = first_with_weight(coordinates, weights)
        mean = origin + jnp.sum(weights * (coordinates - origin))
        variance = jnp.sum(weights * (coordinates - mean) ** 2)
        return jnp.sqrt(variance / (1 - jnp.sum(weights**2)))

    def limit(self, dtype) -> float:
        """The largest bandwidth."""
        return float(jnp.finfo(dtype).max)

    def log_kernel(self, query, point, bandwidth):
        """Log kernel of coordinates that broadcast."""
        raise NotImplementedError

    def sample(self, key, coordinates, bandwidth):
        """One draw of the kernel at each coordinate, as a value."""
        raise NotImplementedError


class Real(Column):
    """Any number: a normal kernel."""

    def log_kernel(self, query, point, bandwidth):
        return _log_normal(query - point, bandwidth)

    def sample(self, key, coordinates, bandwidth):
        return coordinates + bandwidth * _noise(key, coordinates)


class Bounded(Column):
    """Numbers between bounds, either of which may be None.

    Args:
        lower: the lower bound, or None.
        upper: the upper bound, or None.
        by: "reflection" adds the kernel's mirror images at the bounds (Silverman 1986, sec.
            2.10), all of them: the mass stays inside, and the slope at a bound is zero. For
            densities that do not vanish at the bound; values on it are allowed. "transform"
            estimates in the logarithm of the distance to one bound, or in the logit between
            two, and multiplies by the Jacobian (Silverman 1986, sec. 2.10). For
            densities that vanish at the bound, or span orders of magnitude; values must lie
            strictly inside, and the bandwidth is that of the transformed column.
    """

    lower: float = eqx.field(static=True)
    upper: float = eqx.field(static=True)
    by: str = eqx.field(static=True)
    wanted = "inside its bounds"

    def __init__(
        self,
        lower: float | int | None = None,
        upper: float | int | None = None,
        *,
        by: str = "reflection",
    ):
        self.lower = -math.inf if lower is None else float(lower)
        self.upper = math.inf if upper is None else float(upper)
        self.by = checks.one_of("by", by, ("reflection", "transform"))
        if not self.lower < self.upper:
            raise ValueError(f"lower must be a number below upper; got {lower} and {upper}")
        if self.lower == -math.inf and self.upper == math.inf:
            raise ValueError("lower or upper must be a finite number; for none, use Real()")

    @property
    def _interval(self):
        return self.lower > -math.inf and self.upper < math.inf

    def holds(self, values):
        return self.supports(values) & jnp.isfinite(values)

    def supports(self, values):
        if self.by == "reflection":
            return (values >= self.lower) & (values <= self.upper)
        return (values > self.lower) & (values < self.upper)

    def coordinate(self, values):
        distance = self._distance(values)
        if self.by == "reflection":
            return jnp.maximum(distance, 0)
        distance, other = self._inside(distance), self._inside(self.upper - values)
        return jnp.log(distance) - jnp.log(other) if self._interval else jnp.log(distance)

    def log_jacobian(self, values):
        if self.by == "reflection":
            return jnp.zeros_like(values)
        distance, other = self._inside(self._distance(values)), self._inside(self.upper - values)
        if not self._interval:
            return -jnp.log(distance)
        return math.log(self.upper - self.lower) - jnp.log(distance) - jnp.log(other)

    def value(self, coordinate):
        distance = coordinate
        if self.by == "transform":
            length = self.upper - self.lower
            distance = (
                length * jax.nn.sigmoid(coordinate) if self._interval else jnp.exp(coordinate)
            )
        value = self.lower + distance if self.lower > -math.inf else self.upper - distance
        return self._rounded_inside(value)

    def log_kernel(self, query, point, bandwidth):
        if self.by == "transform":
            return _log_normal(query - point, bandwidth)
        if not self._interval:
            direct = _log_normal(query - point, bandwidth)
            return direct + jnp.log1p(jnp.exp(-2 * (query / bandwidth) * (point / bandwidth)))
        # The images of all mirrors repeat after twice the interval.
        period = 2 * (self.upper - self.lower)
        return jnp.logaddexp(
            _log_wrapped_normal(query - point, bandwidth, period),
            _log_wrapped_normal(query + point, bandwidth, period),
        )

    def sample(self, key, coordinates, bandwidth):
        moved = coordinates + bandwidth * _noise(key, coordinates)
        if self.by == "reflection":
            moved = jnp.abs(moved)
            if self._interval:
                length = self.upper - self.lower
                moved = length - jnp.abs(jnp.mod(moved, 2 * length) - length)
        return self.value(moved)

    def _distance(self, values):
        """From the lower bound, or from the upper one where that is the only one."""
        return values - self.lower if self.lower > -math.inf else self.upper - values

    def _inside(self, distance):
        """One where the value is not inside, so that its logarithm is a number."""
        return jnp.where(distance <= 0, 1, distance)

    def _rounded_inside(self, values):
        """Rounding may put a draw on or beyond a bound."""
        for bound, inwards, clip in (
            (self.lower, math.inf, jnp.maximum),
            (self.upper, -math.inf, jnp.minimum),
        ):
            if math.isfinite(bound):
                edge = jnp.asarray(bound, values.dtype)
                inner = jnp.nextafter(edge, jnp.asarray(inwards, values.dtype))
                values = clip(values, inner if self.by == "transform" else edge)
        return values


class Periodic(Column):
    """A number that repeats, such as an angle or an hour: a wrapped normal kernel.

    `x` and `x + period` are one and the same; the density is per unit of length of one period
    (Mardia & Jupp 2000, sec. 3.5.7).

    Args:
        period: 24 for hours, `2 * math.pi` for radians.
    """

    period: float = eqx.field(static=True)

    def __init__(self, period: float | int):
        if not 0 < period < math.inf:
            raise ValueError(f"period must be a positive number; got {period}")
        self.period = float(period)

    def coordinate(self, values):
        return jnp.mod(values, self.period)

    def value(self, coordinate):
        return jnp.mod(coordinate, self.period)

    def spread(self, coordinates, weights):
        """The circular standard deviation, at most that of the uniform law."""
        turn = 2 * math.pi / self.period
        angle = jax.lax.stop_gradient(turn * coordinates)
        across, up = jnp.sum(weights * jnp.cos(angle)), jnp.sum(weights * jnp.sin(angle))
        # From near the mean direction, which changes nothing but the rounding: one less the
        # squared length of the mean vector is then a sum of small squares, whatever it is.
        away = coordinates / self.period - jnp.arctan2(up, across) / (2 * math.pi)
        away = 2 * math.pi * (away - jax.lax.stop_gradient(jnp.round(away)))
        short = jnp.sum(weights * 2 * jnp.sin(0.5 * away) ** 2)
        missing = 2 * short - short**2 - jnp.sum(weights * jnp.sin(away)) ** 2
        missing = jnp.clip(missing, 0, 1 - jnp.finfo(coordinates.dtype).eps)
        spread = jnp.sqrt(-jnp.log1p(-missing)) / turn
        return jnp.minimum(spread, self.period / math.sqrt(12))

    def log_kernel(self, query, point, bandwidth):
        return _log_wrapped_normal(query - point, bandwidth, self.period)

    def sample(self, key, coordinates, bandwidth):
        return self.value(coordinates + bandwidth * _noise(key, coordinates))


def _log_normal(difference, bandwidth):
    return -0.5 * (difference / bandwidth) ** 2 - jnp.log(bandwidth) - 0.5 * math.log(2 * math.pi)


def _log_wrapped_normal(difference, bandwidth, period):
    """Log density of a normal law wrapped around a circle (Mardia & Jupp 2000, sec. 3.5.7)."""
    u = difference / period
    u = u - jax.lax.stop_gradient(jnp.round(u))
    width = bandwidth / period

    def images(u, width):
        width = jnp.minimum(width, SWITCH)  # vmap runs both branches: neither may overflow
        nearer = -0.5 * (u / width) ** 2
        others = jnp.exp(-(0.5 + u) / width**2) + jnp.exp(-(0.5 - u) / width**2)
        return nearer + jnp.log1p(others) - jnp.log(width) - 0.5 * math.log(2 * math.pi)

    def cosines(u, width):
        width = jnp.maximum(width, SWITCH)
        cosine = jnp.cos(2 * math.pi * u)
        one_before = two_before = jnp.zeros_like(u)
        for k in range(COSINES, 0, -1):  # Clenshaw's recurrence
            term = jnp.exp(-2 * (math.pi * k * width) ** 2)
            one_before, two_before = term + 2 * cosine * one_before - two_before, one_before
        return jnp.log1p(2 * (cosine * one_before - two_before))

    return jax.lax.cond(width < SWITCH, images, cosines, u, width) - math.log(period)


def _noise(key, coordinates):
    return jax.random.normal(key, coordinates.shape, coordinates.dtype)
