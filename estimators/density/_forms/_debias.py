"""Score-debiased kernel density: centres moved up-hill, so that smoothing moves them back."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import ArrayLike, Real

from estimators._core import checks
from estimators.density._fitted import FittedKDE, as_fitted, kernel_sum, rows_of
from estimators.density._kernels import Gaussian


def debias(fitted: FittedKDE, *, widening: Real[ArrayLike, ""] = 1.25) -> FittedKDE:
    """Move the centres by half a squared bandwidth along the score of the estimate.

    A kernel of bandwidth h smooths the density by h^2 / 2 times its Laplacian. Moving every
    point first by `h^2 / 2` times the score cancels that term; the bias that is left is of
    order h^4, so that a wider kernel is best (score-debiased KDE, Epstein et al. 2025). For a
    normal law it is shrinkage towards the mean, `KDE(centres="shrunken")`, to first order.

    Args:
        fitted: an estimate with a Gaussian kernel. For one with another widths or centres the
            same step is taken from there.
        widening: first multiply the bandwidth with this. From 1.2 to 1.4 times the leave-one-out
            bandwidth was best on normal laws of 2 to 8 dimensions.

    Returns:
        The estimate with moved centres. Its `leave_one_out_log_density` is too high: a row that
        is left out had a part in where the others were moved to. Judge on other rows.

    Raises:
        ValueError: for another kernel, or a widening that is not positive.

    Example:
        >>> import jax
        >>> from estimators import density
        >>> points, new = jax.random.normal(jax.random.key(0), (2, 2000, 3))
        >>> plain = density.KDE("loo").fit(points)
        >>> moved = density.debias(plain)
        >>> bool(moved.log_density(new).mean() > plain.log_density(new).mean())
        True

    When it fails: where few points carry the density (`regime`), the score points at the
    nearest of them and not up-hill.
    """
    as_fitted("fitted", fitted)
    if not isinstance(fitted.kernel, Gaussian):
        raise ValueError(f"fitted must have a Gaussian kernel; got {fitted.kernel!r}")
    widening = checks.positive("widening", checks.as_number("widening", widening))
    return _debias(fitted, widening.astype(fitted.points.dtype))


@jax.jit
def _debias(fitted: FittedKDE, widening) -> FittedKDE:
    rows = rows_of(fitted)
    wide = dataclasses.replace(
        fitted,
        bandwidth=fitted.bandwidth * (widening**2 if fitted.bandwidth.ndim == 2 else widening),
        points=fitted.points / widening,
        rows=rows / widening,
        factor=fitted.factor * widening,
        info=dataclasses.replace(
            fitted.info,
            factor=fitted.info.factor * widening,
            log_likelihood=jnp.nan * fitted.info.factor,
        ),
    )
    score = jax.grad(lambda points: jnp.sum(kernel_sum(wide, points)))(wide.points)
    squares = 1.0 if wide.widths is None else wide.widths[:, None] ** 2
    return dataclasses.replace(wide, points=wide.points + 0.5 * squares * score)
