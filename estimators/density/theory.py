"""What a kernel density estimate of n Gaussian points in d dimensions must do: the theory.

    theory.condensation_bandwidth(eigenvalues, size)     # below it a few points are the sum
    theory.optimal_bandwidth(eigenvalues, size)          # the best in Kullback-Leibler
    theory.stable_index(bandwidth, eigenvalues, size)    # 2 and more: central limit theorem

The data are normal with the covariance eigenvalues `eigenvalues`, (d,): pass `jnp.ones(d)`
for isotropic data, or for a kernel whose covariance is proportional to that of the data (then
the bandwidth is a multiple of the data's spread). The kernel is normal, with standard
deviation `bandwidth` along every axis. At a query x the sum of n kernels is the partition
function of a random energy model at inverse temperature b = 1 / bandwidth^2 (Biroli & Mezard
2024, arXiv 2408.05807): `position` is the query's squared coordinates in standard deviations,
x_k^2 / eigenvalue_k, (d,); one each, the typical query, unless given.

Everything follows from the annealed free energy a dimension, with u_k = b eigenvalue_k and
q_k the position,

    g(b) = (1/d) log E exp(-b |x - y|^2 / 2) = mean_k[-log(1 + u_k)/2 - q_k u_k/(1 + u_k)/2],

from r^2(b) = -2 g'(b), the mean squared distance (a dimension) of the points that dominate,
and v(b) = g''(b). The asymptotic forms (`finite=False`) hold for d to infinity with
log(n) / d fixed. At d = 10 to 60 their condensation bandwidth is 7 to 16 % too small: the
default adds the saddle point's prefactor, which leaves 1 to 3 %, and .5 % in the distance of
the nearest point (against the exact non-central chi-square law, n = 1e3 and 1e5).

Every function is pure, works under jit, vmap and grad in all its array arguments, and
returns the dtype of `eigenvalues`.
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from estimators._core import checks

_TRIPS = 60


def condensation_bandwidth(
    eigenvalues: Real[ArrayLike, " d"],
    size: Real[ArrayLike, ""],
    *,
    position: Real[ArrayLike, " d"] | None = None,
    finite: bool = True,
) -> Float[Array, ""]:
    """The bandwidth h_G below which the kernel sum at a point condenses onto a few points.

    There the entropy log(n)/d + g(b) + b r^2(b)/2 of the points that dominate the sum is zero;
    with `finite`, their number n exp(d (g + b r^2/2)) / (b sqrt(2 pi d v)) is one.

    Args:
        eigenvalues: `(d,)`, positive: eigenvalues of the data's covariance.
        size: the number of points n, more than one.
        position: `(d,)`, the query's squared coordinates in standard deviations.
        finite: whether to correct for finite n and d.

    Raises:
        ValueError: for eigenvalues that are not `(d,)` and positive, a size of one or less, a
            position of another shape or negative.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators.density import theory
        >>> h = theory.condensation_bandwidth(jnp.ones(20), 1e5)
        >>> limit = theory.condensation_bandwidth(jnp.ones(20), 1e5, finite=False)
        >>> print(f"{h:.2f} {limit:.2f}")
        0.67 0.59

    When it fails: for data that are not normal; `density.regime` finds h_G at a point of any
    data from the kernel weights. Below d of about 5 there is no sharp transition.
    """
    arguments = _arguments(eigenvalues, size, position)
    return jnp.exp(-0.5 * _log_critical(finite, *arguments))


def central_limit_bandwidth(
    eigenvalues: Real[ArrayLike, " d"],
    size: Real[ArrayLike, ""],
    *,
    position: Real[ArrayLike, " d"] | None = None,
    finite: bool = True,
) -> Float[Array, ""]:
    """The bandwidth sqrt(2) h_G, from which on the sum obeys the central limit theorem.

    The second moment of a kernel is a sum at twice the inverse temperature. Arguments and
    errors as for `condensation_bandwidth`. At sqrt(2) h_G itself normal intervals cover about
    .9 where .95 was asked: `density.regime` asks for a larger bandwidth before it offers one.
    """
    critical = condensation_bandwidth(eigenvalues, size, position=position, finite=finite)
    return jnp.sqrt(jnp.asarray(2, critical.dtype)) * critical


def stable_index(
    bandwidth: Real[ArrayLike, ""],
    eigenvalues: Real[ArrayLike, " d"],
    size: Real[ArrayLike, ""],
    *,
    position: Real[ArrayLike, " d"] | None = None,
    finite: bool = True,
) -> Float[Array, ""]:
    """The tail index m = (h / h_G)^2 of the kernels in the sum.

    Below 1 the sum is condensed, below 2 it is a stable law of index m, above 2 the central
    limit theorem holds. Other arguments and errors as for `condensation_bandwidth`.
    """
    critical = condensation_bandwidth(eigenvalues, size, position=position, finite=finite)
    return (_bandwidth(bandwidth, critical.dtype) / critical) ** 2


def participation_ratio(
    bandwidth: Real[ArrayLike, ""],
    eigenvalues: Real[ArrayLike, " d"],
    size: Real[ArrayLike, ""],
    *,
    position: Real[ArrayLike, " d"] | None = None,
    finite: bool = True,
) -> Float[Array, ""]:
    """Expected sum of squared kernel weights: 1 - m where condensed (m < 1), else 0.

    The limit for many points; at n of 1e3 to 1e5 it is not 0 but .2 at h_G itself. Arguments
    and errors as for `stable_index`.
    """
    index = stable_index(bandwidth, eigenvalues, size, position=position, finite=finite)
    return jnp.maximum(1 - index, 0)


def typical_log_density(
    bandwidth: Real[ArrayLike, ""],
    eigenvalues: Real[ArrayLike, " d"],
    size: Real[ArrayLike, ""],
    *,
    position: Real[ArrayLike, " d"] | None = None,
    finite: bool = True,
) -> Float[Array, ""]:
    """Expected log of the estimate at a point, nats a dimension.

    Above h_G it is the log of the smoothed density, -log(2 pi h^2)/2 + g(b). Below, the sum is
    frozen at its nearest points:

        -log(2 pi h^2)/2 - log(n)/d - b r^2(1/h_G^2)/2.

    With `finite`, the fluctuations of the nearest points are added to the frozen form. Their
    kernels are the points of a Poisson process with a tail of index m, and the log of the
    sum, a stable variable, has the mean (gamma (1/m - 1) + log Gamma(1 - m) / m) / d, gamma
    Euler's constant. It diverges at h_G; as the log of the smoothed density bounds the
    expectation (Jensen), the smaller of both is taken. The error is largest there.

    Arguments and errors as for `stable_index`.
    """
    spread, number, squares = _arguments(eigenvalues, size, position)
    h = _bandwidth(bandwidth, spread.dtype)
    d = spread.shape[0]
    log_critical = _log_critical(finite, spread, number, squares)
    _, square_distance, _ = _free_energy(jnp.exp(log_critical), spread, squares)
    b = h**-2
    annealed, _, _ = _free_energy(b, spread, squares)
    frozen = -jnp.log(number) / d - 0.5 * b * square_distance
    index = jnp.exp(log_critical) / b
    condensed = index < 1
    if finite:
        # The factor keeps the branch that is not taken, and so its gradient, finite.
        m = jnp.where(condensed, index, 0.5)
        stable = jnp.euler_gamma * (1 / m - 1) + jax.scipy.special.gammaln(1 - m) / m
        frozen = jnp.minimum(frozen + stable / d, annealed)
    value = jnp.where(condensed, frozen, annealed)
    return value - 0.5 * jnp.log(2 * jnp.pi * h**2)


def optimal_bandwidth(
    eigenvalues: Real[ArrayLike, " d"],
    size: Real[ArrayLike, ""],
    *,
    finite: bool = True,
) -> Float[Array, ""]:
    """The bandwidth with the least Kullback-Leibler divergence from the truth, about.

    It is sqrt(r^2(1/h_G^2)), the typical distance of the nearest point over sqrt(d): in high
    dimension the best estimate in this sense is a condensed one, and always below
    `central_limit_bandwidth`. Arguments and errors as for `condensation_bandwidth`.

    When it fails: in low dimension, where it is too small: by 19 % at n = 1e5, d = 10, by 7 % at
    d = 20, by 2 % at d = 40 and 60 (simulated).
    """
    arguments = _arguments(eigenvalues, size, None)
    critical = jnp.exp(_log_critical(finite, *arguments))
    return jnp.sqrt(_free_energy(critical, arguments[0], arguments[2])[1])


def divergence(
    bandwidth: Real[ArrayLike, ""],
    eigenvalues: Real[ArrayLike, " d"],
    size: Real[ArrayLike, ""],
    *,
    position: Real[ArrayLike, " d"] | None = None,
    finite: bool = True,
) -> Float[Array, ""]:
    """Kullback-Leibler divergence of the estimate from the truth, nats a dimension.

    It is the expected log ratio of the densities at the typical query, or at a `position`: the
    mean over positions drawn from the data's law, `jax.random.normal(key, (d,)) ** 2` each,
    leaves out nothing but the error of `typical_log_density`. At the optimal bandwidth h the
    asymptotic form is log(n)/d + log(h) - mean(log eigenvalues)/2. Arguments and errors as
    for `stable_index`.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators.density import theory
        >>> spread = jnp.ones(40)
        >>> best = theory.optimal_bandwidth(spread, 1e5)
        >>> scott = 1e5 ** (-1 / 44)
        >>> bool(theory.divergence(best, spread, 1e5) < theory.divergence(scott, spread, 1e5))
        True

    When it fails: as `typical_log_density`. At n = 1e5 and the optimal bandwidth, where
    simulation gives .021 (d = 10), .041 (20), .091 (40) and .118 (60), the typical query gives
    .004, .026, .077, .110, and the mean over positions .024, .036, .079, .111.
    """
    typical = typical_log_density(bandwidth, eigenvalues, size, position=position, finite=finite)
    spread, _, squares = _arguments(eigenvalues, size, position)
    truth = jnp.log(2 * jnp.pi) + jnp.mean(jnp.log(spread) + squares)
    return -0.5 * truth - typical


def _arguments(eigenvalues, size, position):
    """Check what all functions take; NaN inside jit for values that are refused outside."""
    spread = checks.as_float("eigenvalues", eigenvalues)
    checks.positive("eigenvalues", spread)
    if spread.ndim != 1 or spread.size == 0:
        raise ValueError(f"eigenvalues must have shape (d,); got shape {spread.shape}")
    number = jnp.asarray(size, spread.dtype)
    if number.ndim != 0:
        raise ValueError(f"size must be a number; got shape {number.shape}. Use jax.vmap.")
    if checks.is_concrete(number) and not checks.holds(lambda n: n > 1, number):
        raise ValueError(f"size must be more than one point; got {number}")
    squares = jnp.asarray(1 if position is None else position, spread.dtype)
    checks.positive("position", squares, zero=True)
    if position is not None and squares.shape != spread.shape:
        raise ValueError(
            f"position must have the shape of eigenvalues, {spread.shape}; got {squares.shape}"
        )
    squares = jnp.broadcast_to(squares, spread.shape)
    valid = jnp.all(spread > 0) & (number > 1) & jnp.all(squares >= 0)
    return checks.poison((spread, number, squares), valid)


def _bandwidth(bandwidth, dtype):
    bandwidth = checks.positive("bandwidth", jnp.asarray(bandwidth, dtype))
    if bandwidth.ndim != 0:
        raise ValueError(f"bandwidth must be a number; got shape {bandwidth.shape}. Use jax.vmap.")
    return jnp.where(bandwidth > 0, bandwidth, jnp.nan)


@jax.jit
def _free_energy(b, eigenvalues, position):
    """g, r^2 and v at the inverse squared bandwidth b."""
    u = b * eigenvalues
    shrunk = eigenvalues / (1 + u)
    g = jnp.mean(-0.5 * jnp.log1p(u) - 0.5 * position * u / (1 + u))
    square_distance = jnp.mean(shrunk + position * shrunk / (1 + u))
    curvature = jnp.mean(0.5 * shrunk**2 + position * shrunk**2 / (1 + u))
    return g, square_distance, curvature


@functools.partial(jax.jit, static_argnums=0)
def _log_critical(finite: bool, eigenvalues, size, position):
    """Log of the b at which the entropy is zero, `1 / h_G^2`."""
    d = eigenvalues.shape[0]

    def log_number(log_b):
        """Log of the number of points that dominate the sum; it falls with b."""
        b = jnp.exp(log_b)
        g, square_distance, curvature = _free_energy(b, eigenvalues, position)
        value = jnp.log(size) + d * (g + 0.5 * b * square_distance)
        if finite:
            value = value - log_b - 0.5 * jnp.log(2 * jnp.pi * d * curvature)
        return value

    # The entropy is at most log(n)/d + 1/2 - mean(log(b eigenvalues))/2, which bounds the root
    # from above; the prefactor, which falls with b, moves it by less than the 8.
    centre = jnp.mean(jnp.log(eigenvalues))
    high = 2 * jnp.log(size) / d + 8 - centre
    low = -jnp.log(jnp.max(eigenvalues)) - 20 - jnp.log1p(jnp.max(position))
    solve = functools.partial(_bisected_newton, low=low, high=high)
    start = 0.5 * (low + high)
    return jax.lax.custom_root(log_number, start, solve, lambda f, y: y / f(jnp.ones_like(y)))


def _bisected_newton(function, start, *, low, high):
    """The root of a falling function: Newton's steps, halving where one leaves the bracket."""

    def step(_, state):
        x, low, high = state
        value, slope = jax.value_and_grad(function)(x)
        low, high = jnp.where(value > 0, x, low), jnp.where(value > 0, high, x)
        newton = x - value / slope
        inside = (newton >= low) & (newton <= high)
        return jnp.where(inside, newton, 0.5 * (low + high)), low, high

    return jax.lax.fori_loop(0, _TRIPS, step, (start, low, high))[0]
