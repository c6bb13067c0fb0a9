"""Radial kernels in d dimensions: Gaussian, Epanechnikov, top-hat, exponential, Student.

Every kernel here has mean zero and covariance `I`: `bandwidth` is its standard deviation along
each axis, whatever the shape. So kernels can be exchanged at one bandwidth, and

| kernel       | profile in r, h = bandwidth            | scikit-learn's bandwidth |
|--------------|----------------------------------------|--------------------------|
| Gaussian     | exp(-r^2 / 2h^2)                       | h                        |
| Epanechnikov | 1 - r^2 / ((d+4) h^2), 0 from there on | h sqrt(d+4)              |
| TopHat       | 1 for r < h sqrt(d+2), 0 from there on | h sqrt(d+2)              |
| Exponential  | exp(-sqrt(d+1) r / h)                  | h / sqrt(d+1)            |
| Student      | (1 + r^2 / ((nu-2) h^2))^(-(nu+d)/2)   | none                     |
"""

import functools
import math

import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln
from jaxtyping import Array, ArrayLike, Float, Integer, Key, Real

from estimators._core import Stored, checks
from estimators._core._kernel_sum import pairwise_log_sum

# A cusp takes the root of the squared distance's rounding error, which is large for a matrix
# product. Up to this many columns a kernel with one sums squared differences instead: exact,
# and at 8 columns 2.4 times as slow forwards and 5 times backwards.
DIFFERENCES_UP_TO = 8


class Kernel(Stored):
    """A radial kernel of covariance `I`: a profile of the squared radius, and its integral.

    Attributes:
        has_cusp: whether the profile is not smooth at radius zero.
    """

    has_cusp = False

    def log_profile(
        self, squared_radius: Float[Array, "*shape"], dimension: int
    ) -> Float[Array, "*shape"]:
        """Log of the kernel up to its normaliser; squared radius in units of the bandwidth."""
        raise NotImplementedError

    def log_normaliser(self, dimension: int, dtype) -> Float[Array, ""]:
        """Log of the integral of the profile over R^d, in units of the bandwidth."""
        raise NotImplementedError

    def sample(self, key: Key[Array, ""], n: int, dimension: int, dtype) -> Float[Array, "n d"]:
        """Draw `n` independent rows of the kernel, of covariance `I`."""
        raise NotImplementedError


class Gaussian(Kernel):
    """The normal kernel."""

    def log_profile(self, squared_radius, dimension):
        return -0.5 * squared_radius

    def log_normaliser(self, dimension, dtype):
        return jnp.asarray(0.5 * dimension * math.log(2 * math.pi), dtype)

    def sample(self, key, n, dimension, dtype):
        return jax.random.normal(key, (n, dimension), dtype)


class Epanechnikov(Kernel):
    """The parabola, of least asymptotic mean squared error (Silverman 1986, eq. 4.4).

    Its support ends at `sqrt(d + 4)` bandwidths: the log density is -inf where no point is
    that near.
    """

    def log_profile(self, squared_radius, dimension):
        outside = squared_radius >= dimension + 4  # NaN is not outside, and stays NaN
        safe = jnp.where(outside, 0, squared_radius)
        return jnp.where(outside, -jnp.inf, jnp.log1p(-safe / (dimension + 4)))

    def log_normaliser(self, dimension, dtype):
        shape = math.log(2 / (dimension + 2))
        return jnp.asarray(_log_ball(dimension, dimension + 4) + shape, dtype)

    def sample(self, key, n, dimension, dtype):
        return _shadow_of_sphere(key, n, dimension, dimension + 4, dtype)


class TopHat(Kernel):
    """The uniform law of a ball of radius `sqrt(d + 2)` bandwidths.

    The log density is -inf where no point is that near, and its gradient is zero everywhere.
    """

    def log_profile(self, squared_radius, dimension):
        outside = squared_radius >= dimension + 2
        return jnp.where(outside, -jnp.inf, 0 * jnp.where(outside, 0, squared_radius))

    def log_normaliser(self, dimension, dtype):
        return jnp.asarray(_log_ball(dimension, dimension + 2), dtype)

    def sample(self, key, n, dimension, dtype):
        return _shadow_of_sphere(key, n, dimension, dimension + 2, dtype)


class Exponential(Kernel):
    """`exp(-sqrt(d + 1) r)`, in one dimension the Laplace law.

    It has a cusp at each point, where the gradient here is zero by convention.
    """

    has_cusp = True

    def log_profile(self, squared_radius, dimension):
        centre = squared_radius == 0
        radius = jnp.where(centre, 0, jnp.sqrt(jnp.where(centre, 1, squared_radius)))
        return -math.sqrt(dimension + 1) * radius

    def log_normaliser(self, dimension, dtype):
        sphere = math.log(dimension) + _log_ball(dimension, 1)
        shape = math.lgamma(dimension) - 0.5 * dimension * math.log(dimension + 1)
        return jnp.asarray(sphere + shape, dtype)

    def sample(self, key, n, dimension, dtype):
        of_direction, of_radius = jax.random.split(key)
        direction = _directions(of_direction, n, dimension, dtype)
        radius = jax.random.gamma(of_radius, dimension, (n, 1), dtype)
        return direction * radius / math.sqrt(dimension + 1)


class Student(Kernel):
    """Student's t in d dimensions, for densities whose tails a Gaussian kernel cuts off.

    Args:
        degrees_of_freedom: above 2, so that the bandwidth can be the standard deviation. A
            leaf of the pytree: vmap and grad go through it.
    """

    degrees_of_freedom: Float[Array, ""]

    def __init__(self, degrees_of_freedom: Real[ArrayLike, ""]):
        value = checks.as_number("degrees_of_freedom", degrees_of_freedom)
        if checks.is_concrete(value) and not checks.holds(
            lambda v: (v > 2) & jnp.isfinite(v), value
        ):
            raise ValueError(
                "degrees_of_freedom must be finite and above 2, where the variance is; got "
                f"{degrees_of_freedom}"
            )
        self.degrees_of_freedom = value

    def log_profile(self, squared_radius, dimension):
        nu = self.degrees_of_freedom.astype(squared_radius.dtype)
        return -0.5 * (nu + dimension) * jnp.log1p(squared_radius / (nu - 2))

    def log_normaliser(self, dimension, dtype):
        nu = self.degrees_of_freedom.astype(dtype)
        # log Gamma((nu + d) / 2) - log Gamma(nu / 2) by steps of one and at most one of a half:
        # the difference of two large logarithms would lose all digits.
        half, odd = 0.5 * nu, dimension % 2
        steps = [jnp.log(half + 0.5 * odd + k) for k in range(dimension // 2)]
        rise = functools.reduce(jnp.add, steps, odd * _half_step(half))
        return 0.5 * dimension * jnp.log((nu - 2) * math.pi) - rise

    def sample(self, key, n, dimension, dtype):
        of_direction, of_scale = jax.random.split(key)
        nu = self.degrees_of_freedom.astype(dtype)
        chi_square = 2 * jax.random.gamma(of_scale, 0.5 * nu, (n, 1), dtype)
        normal = jax.random.normal(of_direction, (n, dimension), dtype)
        return normal * jnp.sqrt((nu - 2) / chi_square)


def log_kernel_sum(
    queries: Float[Array, "m d"],
    points: Float[Array, "n d"],
    log_weights: Float[Array, " n"],
    kernel: Kernel,
    *,
    point_precision: Float[Array, " n"] | None = None,
    query_labels: Integer[Array, " m"] | None = None,
    point_labels: Integer[Array, " n"] | None = None,
    by_differences: bool = False,
    axis_name: str | None = None,
) -> Float[Array, " m"]:
    """Log of the weighted sum of a kernel at each query, up to `kernel.log_normaliser`.

    Memory is O(block), forwards and backwards. Squared distances are a matrix product; their
    rounding error is `eps R^2` with R the radius of the data in bandwidths. The exponential
    kernel has exact distances up to 8 columns; above, it takes the root of that error where
    query and point coincide.

    Args:
        queries: where to evaluate, in units of the bandwidth, centred like `points`.
        points: the kernels' centres.
        log_weights: log weight of each point; -inf leaves the point out.
        kernel: the profile.
        point_precision: `(n,)`, a factor for each point's squared distances: kernels of
            unequal width. Their normalisation belongs into `log_weights`.
        query_labels: with `point_labels`, leaves out every point of the query's label.
        point_labels: see `query_labels`.
        by_differences: whether distances are sums of squared differences whatever the kernel:
            slower, and exact.
        axis_name: inside `jax.shard_map`, the mesh axis over which the points are split.

    Returns:
        `(m,)`; -inf, with gradient zero, outside the reach of every compact kernel.
    """
    dimension = points.shape[1]

    def log_kernel(queries, part):
        points, precision = part
        exact = by_differences or (kernel.has_cusp and dimension <= DIFFERENCES_UP_TO)
        squares = (
            _sum_of_squares(queries, points) if exact else _squared_by_product(queries, points)
        )
        if precision is not None:
            squares = squares * precision[None, :]
        return kernel.log_profile(squares, dimension)

    return pairwise_log_sum(
        log_kernel,
        queries,
        (points, point_precision),
        log_weights,
        query_labels=query_labels,
        point_labels=point_labels,
        axis_name=axis_name,
    )


def _sum_of_squares(queries, points):
    def add(squares, columns):
        ours, theirs = columns
        return squares + (ours[:, None] - theirs[None, :]) ** 2, None

    # Seeded by the first column: it must vary over devices as the points do.
    first = (queries[:, :1] - points[None, :, 0]) ** 2
    rest = queries.T[1:], points.T[1:]
    return jax.lax.scan(add, first, rest, unroll=DIFFERENCES_UP_TO)[0]


def _squared_by_product(queries, points):
    product = jnp.matmul(queries, points.T, precision=jax.lax.Precision.HIGHEST)
    squares = jnp.sum(queries**2, -1)[:, None] + jnp.sum(points**2, -1)[None, :]
    return jnp.maximum(squares - 2 * product, 0)


def _half_step(z):
    """`log Gamma(z + 1/2) - log Gamma(z)`, by its asymptotic series from 20 on."""
    far = jnp.maximum(z, 20.0)
    series = 0.5 * jnp.log(far) - 1 / (8 * far) + 1 / (192 * far**3) - 1 / (640 * far**5)
    near = jnp.minimum(z, 20.0)
    return jnp.where(z < 20, gammaln(near + 0.5) - gammaln(near), series)


def _log_ball(dimension: int, squared_radius: int) -> float:
    """Log volume of a ball in R^d."""
    half = 0.5 * dimension
    return half * math.log(math.pi * squared_radius) - math.lgamma(half + 1)


def _directions(key, n, dimension, dtype):
    normal = jax.random.normal(key, (n, dimension), dtype)
    return normal / jnp.linalg.norm(normal, axis=-1, keepdims=True)


def _shadow_of_sphere(key, n, dimension, ambient, dtype):
    """The first d coordinates of a uniform point on the sphere of radius sqrt(D) in R^D.

    Their density is proportional to `(1 - r^2 / D)^((D - d - 2) / 2)` (Archimedes for
    D = 3, d = 1): the top-hat for D = d + 2, the parabola for D = d + 4.
    """
    return _directions(key, n, ambient, dtype)[:, :dimension] * math.sqrt(ambient)
