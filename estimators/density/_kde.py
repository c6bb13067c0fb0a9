"""Gaussian kernel density estimation: `KDE(bandwidth).fit(points) -> FittedKDE`."""

import functools
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int, Key, Real

from estimators._core import (
    Choice,
    Fitted,
    Spec,
    Stored,
    checks,
    constant_columns,
    effective_sample_size,
    log_sum_exp,
    weighted_covariance,
    weighted_mean,
    whiten,
    whitening,
)
from estimators.density import _bandwidth

RULES = ("scott", "silverman", "loo")
COVARIANCES = ("full", "diagonal")

OK, NOT_FINITE, CONSTANT_COLUMN, SINGULAR, NOT_CONVERGED = range(5)


class KDEInfo(Stored):
    """Diagnostics of a fit; never used to predict.

    Attributes:
        effective_sample_size: Kish's effective number of points under the weights.
        factor: bandwidth as a multiple of the data's spread (the standard deviation along
            every whitened axis); NaN where the bandwidth was given.
        log_likelihood: leave-one-out log-likelihood a row at the chosen bandwidth, nats;
            NaN unless the rule is "loo".
        steps: Newton steps that leave-one-out took; 0 for the other rules.
        status: 0 ok; 1 not finite; 2 a constant column; 3 singular covariance or bandwidth
            matrix; 4 leave-one-out did not converge. Where it is not 0 every density is NaN.
    """

    effective_sample_size: Float[Array, ""]
    factor: Float[Array, ""]
    log_likelihood: Float[Array, ""]
    steps: Int[Array, ""]
    status: Int[Array, ""]


class FittedKDE(Fitted):
    """A Gaussian kernel density estimate; see `KDE`.

    Attributes:
        bandwidth: the kernel's standard deviation in data units, `()` or `(d,)`; or the
            kernel's covariance matrix `(d, d)` where a rule or a matrix was asked for.
        points: `(n, d)`, whitened by the kernel: the kernel here is a standard normal.
        log_weights: `(n,)`, of weights that sum to one.
        location: `(d,)`, the weighted mean that was subtracted.
        factor: `(d, d)`, lower Cholesky factor of the kernel's covariance.
        info: diagnostics, see `KDEInfo`.
    """

    bandwidth: Float[Array, "..."]
    points: Float[Array, "n d"]
    log_weights: Float[Array, " n"]
    location: Float[Array, " d"]
    factor: Float[Array, "d d"]
    info: KDEInfo

    def log_density(self, x: Real[ArrayLike, "*batch d"]) -> Float[Array, "*batch"]:
        """Log density at `x`, `(*batch, d) -> (*batch,)`, in nats a unit of volume.

        Memory is O(block), whatever the number of points. It stays finite far in the tails.

        Raises:
            ValueError: if the last axis is not d, or (outside jit) `x` is not finite. Inside
                jit a row that is not finite gives NaN.
        """
        x = checks.as_queries("x", x, self.points.shape[1])
        return _log_density(self, x)

    def score(self, x: Real[ArrayLike, "*batch d"]) -> Float[Array, "*batch d"]:
        """Gradient of the log density at `x`, `(*batch, d) -> (*batch, d)`.

        With bandwidth h this is the exact score of the points' empirical law after Gaussian
        noise of standard deviation h.
        """
        x = checks.as_queries("x", x, self.points.shape[1])
        return _score(self, x)

    def leave_one_out_log_density(self) -> Float[Array, " n"]:
        """Log density of each fitted row given all the others, `(n,)`.

        Rows equal to the one left out are left out with it; -inf where none differs.
        Costs n^2 kernel evaluations in O(block) memory.
        """
        return _leave_one_out(self)

    def sample(self, n: int, *, key: Key[Array, ""]) -> Float[Array, "n d"]:
        """Draw `n` independent rows from the estimate."""
        checks.integer("n", n, at_least=1)
        return _sample(self, n, checks.as_key(key))


class KDE(Spec):
    """Kernel density estimation with a Gaussian kernel.

    The density is `sum_j w_j N(x; y_j, K)`, with the kernel's covariance K from `bandwidth`:

    - a number h: `K = h^2 I`, h in data units; a vector `(d,)`: `K = diag(h^2)`;
    - a matrix `(d, d)`: K itself (the bandwidth matrix H of Wand & Jones 1995, sec. 4.2);
    - `"scott"`, `"silverman"`: `K = f^2 S` with S the data's covariance and f the rule's
      factor at the effective sample size;
    - `"loo"`: the same with the f that maximises the leave-one-out likelihood (Habbema,
      Hermans & van den Broek 1974); rows equal to the one left out are left out with it.

    The rules scale with the data, so that columns in different units do not matter.

    Args:
        bandwidth: see above. A number or an array is a leaf of the pytree: vmap and grad
            go through it.
        covariance: "full" (S is the whole covariance) or "diagonal" (S keeps the columns'
            variances only; use it where columns are collinear). Read by the rules alone.

    Example:
        >>> import jax
        >>> from estimators import density
        >>> points = jax.random.normal(jax.random.key(0), (1000, 2))
        >>> fitted = density.KDE(bandwidth="loo").fit(points)
        >>> fitted.log_density(points[:3]).shape
        (3,)
        >>> print(f"{fitted.info.factor:.1f}")  # in standard deviations of the data
        0.4

    When it fails: in high dimension. A density from n points needs n to grow exponentially
    with d; `estimators.density.regime` says at each x whether many points or few carry the
    value (Biroli & Mezard 2024, arXiv 2408.05807). In float32 the log-density's error is
    about 1e-7 (R/h)^2, R the distance from the data's mean: use float64 for bandwidths
    below a hundredth of the spread.
    """

    bandwidth: Choice | Float[Array, "..."]
    covariance: str = eqx.field(static=True)

    def __init__(
        self,
        bandwidth: str | Sequence | Real[ArrayLike, "..."] = "loo",
        *,
        covariance: str = "full",
    ):
        self.covariance = checks.one_of("covariance", covariance, COVARIANCES)
        if isinstance(bandwidth, str):
            self.bandwidth = Choice(checks.one_of("bandwidth", bandwidth, RULES))
            return
        array = checks.as_float("bandwidth", bandwidth)
        if array.ndim > 2 or (array.ndim == 2 and array.shape[0] != array.shape[1]):
            raise ValueError(
                "bandwidth must be a number, a vector (d,), a matrix (d, d) or one of "
                f"{', '.join(map(repr, RULES))}; got shape {array.shape}"
            )
        if array.ndim == 2:
            checks.finite("bandwidth", array)
        else:
            checks.positive("bandwidth", array)
        self.bandwidth = array

    def fit(
        self, points: Real[ArrayLike, "n d"], weights: Real[ArrayLike, " n"] | None = None
    ) -> FittedKDE:
        """Fit to `points`, one row a sample.

        Args:
            points: `(n, d)`, float32 or float64; n >= 2 for the rules.
            weights: `(n,)`, not negative; scaled to sum to one. None means equal.

        Raises:
            ValueError: for shapes that do not fit, values that are not finite, a constant
                column, a singular covariance, weights that are negative or all zero.
                Inside jit these values give `info.status` and a density that is NaN.
        """
        given = None if isinstance(self.bandwidth, Choice) else self.bandwidth.shape
        points = checks.as_points("points", points, at_least=2 if given is None else 1)
        n, d = points.shape
        if given is not None and given not in ((), (d,), (d, d)):
            raise ValueError(
                f"bandwidth must have shape (), ({d},) or ({d}, {d}) for points of {d} "
                f"columns; got shape {given}"
            )
        weights = checks.as_weights("weights", weights, n, points.dtype)
        fitted = _fit(self, points, weights)
        if checks.is_concrete(fitted.info.status):
            _refuse(int(fitted.info.status), points)
        return fitted


def _refuse(status: int, points) -> None:
    if status == CONSTANT_COLUMN:
        column = int(jnp.argmax(constant_columns(points)))
        raise ValueError(
            f"points must vary in every column; column {column} is {float(points[0, column])} "
            "in all rows, and its density is infinite there"
        )
    if status == SINGULAR:
        raise ValueError(
            "the kernel's covariance must be positive definite; that of the points (or the "
            "bandwidth matrix given) is singular: columns are linearly dependent, or rows are "
            f"fewer than columns (points has shape {points.shape}). Drop columns, or write "
            "KDE(covariance='diagonal')"
        )
    if status == NOT_CONVERGED:
        raise ValueError(
            "bandwidth 'loo' did not converge: the leave-one-out likelihood of these points has "
            "no maximum (too few distinct rows?). Give a number, or 'scott'"
        )
    if status != OK:
        raise ValueError("points and weights must be finite")


@jax.jit
def _fit(spec: KDE, points, weights) -> FittedKDE:
    d = points.shape[1]
    weights = weights / jnp.sum(weights)
    log_weights = jnp.log(weights)
    size = effective_sample_size(weights)
    location = weighted_mean(points, weights)
    nan = jnp.asarray(jnp.nan, points.dtype)
    factor, log_likelihood, steps = nan, nan, jnp.zeros((), jnp.int32)
    converged = varies = jnp.asarray(True)
    if isinstance(spec.bandwidth, Choice):
        spread = weighted_covariance(points, weights, location)
        if spec.covariance == "diagonal":
            spread = jnp.diag(jnp.diagonal(spread))
        cholesky, _, definite = whitening(spread)
        white = whiten(points, location, cholesky)
        factor = _bandwidth.scott(size, d)
        if spec.bandwidth.name == "silverman":
            factor = _bandwidth.silverman(size, d)
        if spec.bandwidth.name == "loo":
            factor, steps, last = _bandwidth.leave_one_out(white, log_weights, factor)
            log_likelihood = _bandwidth.leave_one_out_log_likelihood(
                jnp.log(factor), white, log_weights
            ) - jnp.sum(jnp.log(jnp.diagonal(cholesky)))
            converged = last <= 1e-3
        kernel = factor * cholesky
        white = white / factor
        bandwidth = factor**2 * spread
        varies = ~jnp.any(constant_columns(points))
    else:
        bandwidth = spec.bandwidth.astype(points.dtype)
        if bandwidth.ndim == 2:
            kernel, _, definite = whitening(bandwidth)
        else:
            kernel = jnp.diag(jnp.broadcast_to(bandwidth, (d,)))
            definite = jnp.all(bandwidth > 0)
        white = whiten(points, location, kernel)
    finite = jnp.all(jnp.isfinite(points)) & jnp.all(jnp.isfinite(weights))
    status = jnp.select(
        [~finite, ~varies, ~definite, ~converged],
        [jnp.asarray(s, jnp.int32) for s in (NOT_FINITE, CONSTANT_COLUMN, SINGULAR, NOT_CONVERGED)],
        jnp.asarray(OK, jnp.int32),
    )
    info = KDEInfo(size, factor, log_likelihood, steps, status)
    fitted = FittedKDE(bandwidth, white, log_weights, location, kernel, info)
    return checks.poison(fitted, status == OK)


@jax.jit
def _log_density(fitted: FittedKDE, x):
    d = fitted.points.shape[1]
    queries = whiten(x.reshape(-1, d), fitted.location, fitted.factor)
    value = log_sum_exp(queries, fitted.points, fitted.log_weights)
    volume = jnp.sum(jnp.log(jnp.diagonal(fitted.factor))) + 0.5 * d * jnp.log(2 * jnp.pi)
    return (value - volume).reshape(x.shape[:-1])


@jax.jit
def _score(fitted: FittedKDE, x):
    return jax.grad(lambda x: jnp.sum(_log_density(fitted, x)))(x)


@jax.jit
def _leave_one_out(fitted: FittedKDE):
    zero = jnp.zeros((), fitted.points.dtype)  # the kernel is a standard normal here
    value = _bandwidth.leave_one_out_log_densities(zero, fitted.points, fitted.log_weights)
    return value - jnp.sum(jnp.log(jnp.diagonal(fitted.factor)))


@functools.partial(jax.jit, static_argnums=1)
def _sample(fitted: FittedKDE, n, key):
    of_points, of_noise = jax.random.split(key)
    weights = jnp.exp(fitted.log_weights)
    index = jax.random.choice(of_points, weights.shape[0], (n,), p=weights)
    noise = jax.random.normal(of_noise, (n, fitted.points.shape[1]), fitted.points.dtype)
    white = fitted.points[index] + noise
    return jnp.matmul(white, fitted.factor.T, precision="highest") + fitted.location[None]
