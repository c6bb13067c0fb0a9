"""FittedKDE: kernels on centres, and what can be asked of their sum.

One representation serves every variant of the estimator. The kernel is whitened away, so that
it is a standard one; unequal widths (adaptive kernels) and moved centres (shrunken, debiased)
are arrays beside the points. Marginals and conditionals of it are of the same kind.
"""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int, Key, Real

from estimators._core import Fitted, Stored, checks, whiten
from estimators._core._rounding import TOLERANCE, product_rounding, too_coarse
from estimators.density import _mesh
from estimators.density._forms._selection import Selection
from estimators.density._kernels import Gaussian, Kernel
from estimators.density._labels import remaining_log_weight
from estimators.density._sum import log_kernel_density
from estimators.sharding import Placement, Rows


class KDEInfo(Stored):
    """Diagnostics of a fit; never used to predict.

    Attributes:
        effective_sample_size: Kish's effective number of points under the weights.
        factor: bandwidth as a multiple of the data's spread: the standard deviation along
            every whitened axis, or for a learned covariance the geometric mean of those; NaN
            where the bandwidth was given.
        shrinkage: what the centres' distances from the mean were multiplied with; 1 where they
            are the rows. For a learned covariance the mean over the axes.
        log_likelihood: leave-one-out log-likelihood a row, nats; NaN unless it was maximised.
        steps: steps that its maximisation took; 0 for the other rules.
        status: 0 ok; 1 not finite; 2 a constant column; 3 singular covariance or bandwidth
            matrix; 4 the rule found no bandwidth; 5 a bandwidth below the rounding of the
            coordinates. Where it is not 0 every density is NaN.
        selection: for "auto", what was tried and how it did, see `Selection`; else None.
    """

    effective_sample_size: Float[Array, ""]
    factor: Float[Array, ""]
    shrinkage: Float[Array, ""]
    log_likelihood: Float[Array, ""]
    steps: Int[Array, ""]
    status: Int[Array, ""]
    selection: Selection | None


class FittedKDE(Fitted):
    """A kernel density estimate; see `KDE`.

    Attributes:
        bandwidth: the kernel's standard deviation in data units, `()` or `(d,)`; or the
            kernel's covariance matrix `(d, d)` where a rule or a matrix was asked for. Where
            widths are unequal, that of a kernel of width one.
        points: `(n, d)`, the kernels' centres, whitened by the kernel: it is a standard one here.
        widths: `(n,)`, each kernel's standard deviation as a multiple of `bandwidth`; None
            where all are one.
        log_weights: `(n,)`, of weights that sum to one.
        rows: the rows that were fitted, whitened like `points`, where the centres are not these
            rows themselves; else None. Leave-one-out asks at them.
        labels: `(rows,)`, a hash of each row as it was given: copies leave leave-one-out together,
            whichever call brought them.
        location: `(d,)`, the weighted mean that was subtracted.
        factor: `(d, d)`, lower Cholesky factor of the kernel's covariance.
        kernel: the kernel's shape.
        info: diagnostics, see `KDEInfo`.
        placement: how the rows lie on devices, where `sharding.Rows` were fitted; else None.
            Points that only fill up have a log weight of -inf.
    """

    bandwidth: Float[Array, "..."]
    points: Float[Array, "n d"]
    widths: Float[Array, " n"] | None
    log_weights: Float[Array, " n"]
    rows: Float[Array, "rows d"] | None
    labels: Int[Array, " rows"]
    location: Float[Array, " d"]
    factor: Float[Array, "d d"]
    kernel: Kernel
    info: KDEInfo
    placement: Placement | None

    def log_density(self, x: Real[ArrayLike, "*batch d"]) -> Float[Array, "*batch"]:
        """Log density at `x`, `(*batch, d) -> (*batch,)`, in nats a unit of volume.

        Memory is O(block), whatever the number of points. It stays finite far in the tails,
        except under the compact kernels, where it is -inf out of their reach. Where the points
        are split over devices each sums its own, and two all-reduces join them.

        Raises:
            ValueError: if the last axis is not d, or (outside jit) `x` is not finite. Inside
                jit a row that is not finite gives NaN.
        """
        x = checks.as_queries("x", x, self.points.shape[1])
        return _log_density(self, x)

    def score(self, x: Real[ArrayLike, "*batch d"]) -> Float[Array, "*batch d"]:
        """Gradient of the log density at `x`, `(*batch, d) -> (*batch, d)`.

        With a Gaussian kernel of bandwidth h on the rows this is the exact score of their
        empirical law after Gaussian noise of standard deviation h.
        """
        x = checks.as_queries("x", x, self.points.shape[1])
        return _score(self, x)

    @property
    def rounding_error(self) -> Float[Array, ""]:
        """Bound of the rounding error of `log_density` near the data, nats.

        `4 eps (R / h)^2` with R the radius of the data and h the narrowest bandwidth, as long
        as that is below 1e-2 (float32) or 1e-10 (float64). Beyond, distances are computed by
        differences, and the bound is `4 eps R / h`, of the coordinates.
        """
        return _rounding_error(self)

    def leave_one_out_log_density(self) -> Float[Array, " rows"] | Rows:
        """Log density of each fitted row given all the others, `(n,)`; of `Rows`, as `Rows`.

        Rows equal to the one left out are left out with it; -inf where none differs.
        Costs n^2 kernel evaluations in O(block) memory.
        """
        return _leave_one_out(self)

    def gather(self) -> "FittedKDE":
        """The same density with its points whole on every device, where they were split.

        What is not for split points (`regime`, conditionals, `approximate`, ...) takes this.
        """
        if self.placement is None:
            return self
        whole = Rows(_mesh.points_of(self), self.placement).gather()
        return _mesh.with_points(whole, eqx.tree_at(lambda f: f.placement, self, None))

    def sample(self, n: int, *, key: Key[Array, ""]) -> Float[Array, "n d"]:
        """Draw `n` independent rows from the estimate."""
        checks.integer("n", n, at_least=1)
        return _sample(self, n, checks.as_key(key))


def kernel_sum(fitted: FittedKDE, queries: Float[Array, "m d"], **labels) -> Float[Array, " m"]:
    """Log of the weighted sum of normalised kernels at whitened queries, in whitened units."""
    if fitted.placement is None:
        return sum_of_part(fitted, queries, **labels)
    return _mesh.kernel_sum(sum_of_part, fitted, queries)


def sum_of_part(fitted: FittedKDE, queries, **labels):
    """`kernel_sum` over the points of one device."""

    def evaluate(by_differences):
        return log_kernel_density(
            queries,
            fitted.points,
            fitted.log_weights,
            kernel=fitted.kernel,
            widths=fitted.widths,
            by_differences=by_differences,
            **labels,
        )

    if not isinstance(fitted.kernel, Gaussian):
        return evaluate(False)
    inexact = too_coarse(rounding_of_products(fitted))
    return jax.lax.cond(inexact, lambda: evaluate(True), lambda: evaluate(False))


def rounding_of_products(fitted: FittedKDE) -> Float[Array, ""]:
    """What `product_rounding` is at the narrowest kernel."""
    widths = jnp.ones(1, fitted.points.dtype) if fitted.widths is None else fitted.widths
    return product_rounding(fitted.points, fitted.log_weights, jnp.min(widths) ** -2)


def log_volume(fitted: FittedKDE) -> Float[Array, ""]:
    """Log of the volume in data units of a whitened unit cube."""
    return jnp.sum(jnp.log(jnp.diagonal(fitted.factor)))


@jax.jit
def _log_density(fitted: FittedKDE, x):
    queries = whiten(x.reshape(-1, x.shape[-1]), fitted.location, fitted.factor)
    return (kernel_sum(fitted, queries) - log_volume(fitted)).reshape(x.shape[:-1])


@jax.jit
def _rounding_error(fitted: FittedKDE):
    of_products = rounding_of_products(fitted)
    eps = jnp.finfo(fitted.points.dtype).eps
    of_differences = 2 * jnp.sqrt(eps * of_products)
    small = of_products <= TOLERANCE[fitted.points.dtype.name]
    return jnp.where(small, of_products, of_differences)


def rows_of(fitted: FittedKDE) -> Float[Array, "rows d"]:
    """The rows that were fitted, whitened: they are the centres where those were not moved."""
    return fitted.points if fitted.rows is None else fitted.rows


@jax.jit
def _score(fitted: FittedKDE, x):
    return jax.grad(lambda x: jnp.sum(_log_density(fitted, x)))(x)


@jax.jit
def _leave_one_out(fitted: FittedKDE):
    if fitted.placement is None:
        return leave_one_out(fitted)
    value = _mesh.leave_one_out(sum_of_part, fitted) - log_volume(fitted)
    return Rows(value, fitted.placement)


def leave_one_out(fitted: FittedKDE) -> Float[Array, " rows"]:
    """`leave_one_out_log_density` of points that are not split."""
    rows, labels = rows_of(fitted), fitted.labels
    # A row may own several centres (one a scale): they lie in as many copies of the rows.
    owners = jnp.tile(labels, fitted.points.shape[0] // rows.shape[0])
    value = kernel_sum(fitted, rows, query_labels=labels, point_labels=owners)
    left = remaining_log_weight(labels, owners, fitted.log_weights)
    return value - left - log_volume(fitted)


@functools.partial(jax.jit, static_argnums=1)
def _sample(fitted: FittedKDE, n, key):
    of_points, of_noise = jax.random.split(key)
    weights = jnp.exp(fitted.log_weights)
    index = jax.random.choice(of_points, weights.shape[0], (n,), p=weights)
    noise = fitted.kernel.sample(of_noise, n, fitted.points.shape[1], fitted.points.dtype)
    if fitted.widths is not None:
        noise = noise * fitted.widths[index][:, None]
    white = fitted.points[index] + noise
    return jnp.matmul(white, fitted.factor.T, precision="highest") + fitted.location[None]


def as_fitted(name: str, fitted) -> FittedKDE:
    """Check that something is a fitted kernel density estimate whose points are not split."""
    if isinstance(fitted, FittedKDE):
        if fitted.placement is not None:
            raise ValueError(
                f"{name} must have its points on one device; they are split over "
                f"{fitted.placement.layout.devices}. Write {name}.gather()"
            )
        return fitted
    hint = "; write KDE(...).fit(points)" if type(fitted).__name__ == "KDE" else ""
    raise ValueError(f"{name} must be a FittedKDE; got {type(fitted).__name__}{hint}")
