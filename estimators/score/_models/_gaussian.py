"""Fitting the Gaussian score approximation: mean, leading modes, and a floor for the others."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from estimators._core import Choice, Spec, checks, normalised, weighted_mean
from estimators._core._collect import Part, everywhere, total
from estimators.score._models import _shrinkage
from estimators.score._models._fitted_gaussian import FittedGaussian, GaussianInfo
from estimators.score._models._from_blocks import from_blocks
from estimators.score._models._spectrum import Spectrum, route, spectrum
from estimators.sharding import Rows, values_like
from estimators.sharding._blocks import Blocks

OK, NOT_USABLE = range(2)


class Gaussian(Spec):
    """The Gaussian approximation of a data set's score at every noise level.

    Args:
        rank: how many modes to keep; None keeps all d, 0 is an isotropic Gaussian. The
            variance outside them is spread evenly (probabilistic PCA; Tipping & Bishop 1999,
            eq. 8): setting it to zero instead ruins the score at small sigma. With a rank, many
            columns cost nothing of size d x d: block power iteration takes the place of
            eigenvectors.
        shrinkage: pull the eigenvalues towards their mean: "ledoit-wolf", "oas", or the share
            of the target in [0, 1]; 0 is the sample covariance. It pays where rows are
            hardly more than columns, and costs a little where they are many.

    Example:
        >>> import jax
        >>> from estimators import score
        >>> points = 3.0 + 2.0 * jax.random.normal(jax.random.key(0), (5000, 4))
        >>> fitted = score.Gaussian().fit(points)
        >>> x = 80.0 * jax.random.normal(jax.random.key(1), (2, 4))
        >>> fitted.transport(x, from_sigma=80.0, to_sigma=0.01).shape
        (2, 4)
        >>> print(f"{abs(fitted.score(fitted.mean, sigma=1.0)).max():.1f}")
        0.0

    Reference: Wang & Vastola, The Unreasonable Effectiveness of Gaussian Score
    Approximation for Diffusion Models and its Applications, TMLR 2024 (arXiv 2412.09726).

    When it fails: at noise below the scale of the data's non-Gaussian structure (clusters,
    curvature), where the true score points to the nearest part and this one to the mean.
    """

    rank: int | None = eqx.field(static=True)
    shrinkage: Choice | Float[Array, ""]

    def __init__(self, rank: int | None = None, shrinkage: str | Real[ArrayLike, ""] = 0.0):
        self.rank = None if rank is None else checks.integer("rank", rank, at_least=0)
        if isinstance(shrinkage, str):
            checks.one_of("shrinkage", shrinkage, _shrinkage.RULES)
            self.shrinkage = Choice(shrinkage)
        else:
            share = checks.as_number("shrinkage", shrinkage)
            if checks.is_concrete(share) and not checks.holds(lambda s: (s >= 0) & (s <= 1), share):
                raise ValueError(f"shrinkage must lie in [0, 1]; got {share}")
            self.shrinkage = share

    def fit(
        self,
        points: Real[ArrayLike, "n d"] | Rows | Blocks,
        weights: Real[ArrayLike, " n"] | Rows | Blocks | None = None,
    ) -> FittedGaussian:
        """Mean, leading modes and floor of `points`, one row a sample.

        The covariance is the unbiased one: divisor n - 1 with equal weights, that of
        reliability weights with others. With fewer rows than columns and no rank, the modes
        that the data do not reach have variance zero. `sharding.Rows` stay on their devices (few
        rows of many columns are gathered). `sharding.Blocks` are read once; they may
        have up to 1024 columns, and take no shrinkage rule.

        Raises:
            ValueError: for shapes that do not fit, fewer than two rows, values that are not
                finite, a rank above the columns or above the rows less one, or a shrinkage
                rule together with a rank whose route never sees the whole spectrum. Inside
                jit, values that are not finite or out of their range give NaN.
        """
        if isinstance(points, Blocks):
            return _finish(self.shrinkage, *from_blocks(self, points, weights), jnp.asarray(True))
        if weights is not None and isinstance(self.shrinkage, Choice):
            raise ValueError(
                f"weights must be None with shrinkage={self.shrinkage!r}, whose rule is for equal "
                "ones; give the share as a number"
            )
        placement, points, weights = _unpack(points, weights)
        n, d = points.shape
        n = n if placement is None else placement.count
        weights = checks.as_weights("weights", weights, points.shape[0], points.dtype)
        if checks.is_concrete(weights) and not checks.holds(lambda w: (w > 0).sum() > 1, weights):
            raise ValueError("weights must be positive for at least 2 rows; they are for one")
        rank = d if self.rank is None else self.rank
        if rank > d:
            raise ValueError(f"rank must be at most the {d} columns of points; got {rank}")
        if self.rank is not None and rank > n - 1:
            raise ValueError(
                f"rank must be at most {n - 1}: {n} rows span no more directions about their "
                f"mean; got {rank}"
            )
        if isinstance(self.shrinkage, Choice) and route(n, d, rank) == "subspace":
            raise ValueError(
                f"shrinkage={self.shrinkage!r} needs all {d} eigenvalues, and rank={rank} is "
                "fitted without them; give the share as a number"
            )
        if placement is not None and route(n, d, rank) == "dual":
            points, weights = Rows((points, weights), placement).gather()
            placement = None
        if placement is not None:
            return _fit_over_mesh(self, points, weights, placement, rank)
        return _fit_whole(self, points, weights, rank)


def _unpack(points, weights):
    """The placement of `Rows`, or None; the array of points, and that of weights."""
    if not isinstance(points, Rows):
        return None, checks.as_points("points", points, at_least=2), weights
    values = checks.as_points("points", points.values, at_least=2)
    if weights is None:
        weights = jnp.ones(values.shape[:1], values.dtype)
    else:
        weights = values_like("weights", weights, "points", points)
    return points.placement, values, jnp.where(points.placement.present, weights, 0)


@functools.partial(jax.jit, static_argnums=4)
def _fit_over_mesh(spec: Gaussian, points, weights, placement, rank: int) -> FittedGaussian:
    def local(mine, spec):
        points, weights, number = mine
        return _fit(spec, points, weights, rank, placement.part(number))

    layout = placement.layout
    return layout.run(local, (points, weights, placement.number), spec, layout.whole)


@functools.partial(jax.jit, static_argnums=3)
def _fit_whole(spec: Gaussian, points, weights, rank: int) -> FittedGaussian:
    return _fit(spec, points, weights, rank)


def _fit(spec: Gaussian, points, weights, rank: int, part: Part | None = None) -> FittedGaussian:
    n, d = points.shape
    axis = None
    if part is not None:
        n, axis = part.count, part.axis_name
    given, weights = weights, normalised(weights, axis)
    mean = weighted_mean(points, weights, axis)
    unbiased = weights / (1 - total(jnp.sum(weights**2), axis))
    if isinstance(spec.shrinkage, Choice):
        whole = spectrum(
            points,
            unbiased,
            mean,
            min(d, n - 1) if route(n, d, rank) == "dual" else d,
            part=part,
        )
        values = jnp.pad(whole.eigenvalues, (0, d - whole.eigenvalues.size))
        share = _shrinkage.intensity(spec.shrinkage.name, points, mean, values * (n - 1) / n, part)
        floor = jnp.mean(values[rank:]) if rank < d else jnp.zeros((), points.dtype)
        found = Spectrum(whole.basis[:, :rank], values[:rank], floor, whole.total)
    else:
        share = spec.shrinkage
        found = spectrum(points, unbiased, mean, rank, part=part)
    usable = jnp.all(jnp.isfinite(points)) & jnp.all(given >= 0)
    return _finish(share, mean, found, everywhere(usable, axis))


def _finish(share, mean, found: Spectrum, usable) -> FittedGaussian:
    """The fitted Gaussian of a spectrum, its eigenvalues pulled to their mean by a share."""
    d, rank = found.basis.shape
    share = share.astype(mean.dtype)
    explained = jnp.sum(found.eigenvalues) / found.total
    target = found.total / d
    values = (1 - share) * found.eigenvalues + share * target
    floor = (1 - share) * found.floor + share * target if rank < d else found.floor
    usable = usable & (share >= 0) & (share <= 1)
    status = jnp.where(usable, OK, NOT_USABLE).astype(jnp.int32)
    info = GaussianInfo(explained, share, status)
    return checks.poison(FittedGaussian(mean, found.basis, values, floor, info), usable)
