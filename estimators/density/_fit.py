"""From a specification to a fitted density: rows, a kernel's covariance, centres and widths."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int

from estimators._core import (
    Choice,
    checks,
    constant_columns,
    effective_sample_size,
    normalised,
    product,
    unscale,
    weighted_mean,
    whitening,
)
from estimators._core._collect import Part, everywhere
from estimators._core._moments import log_of_weights
from estimators.density import _bandwidth
from estimators.density._fitted import FittedKDE, KDEInfo
from estimators.density._forms import _learn, _widths
from estimators.density._kernels import Kernel
from estimators.density._labels import row_labels
from estimators.density._sheather_jones import improved_sheather_jones
from estimators.density._standardise import SHAPES, Standardised, shape_factor, standardise
from estimators.density.theory import optimal_bandwidth

OK, NOT_FINITE, CONSTANT_COLUMN, SINGULAR, NO_BANDWIDTH, TOO_NARROW = range(6)
STRUCTURES = {"learned": _learn.FULL, "learned-diagonal": _learn.DIAGONAL}


class Form(NamedTuple):
    """What a rule or a number came to, in standardised units.

    Attributes:
        kernels: how the centres move, and the kernel's covariance.
        moves: whether the centres move at all.
        widths: relative widths; None where all are one.
        kernel: the kernel's shape.
        factor: bandwidth as a multiple of the spread.
        log_likelihood: leave-one-out log-likelihood a row, in standardised units.
        steps: steps of the search.
    """

    kernels: _learn.Kernels
    moves: bool
    widths: Float[Array, " n"] | None
    kernel: Kernel
    factor: Float[Array, ""]
    log_likelihood: Float[Array, ""]
    steps: Int[Array, ""]


@jax.jit
def fit(spec, points, weights) -> FittedKDE:
    """Fit every specification but "auto"."""
    return fit_part(spec, points, weights, None)


def fit_part(spec, points, weights, part: Part | None) -> FittedKDE:
    """The same; inside `jax.shard_map`, `part` says which of all rows this device has."""
    axis = None if part is None else part.axis_name
    weights = normalised(weights, axis)
    if not isinstance(spec.bandwidth, Choice):
        standard, form, definite = _by_number(spec, points, weights, axis)
        fitted = assemble(points, weights, standard, form, bandwidth=spec.bandwidth, axis=axis)
        return _with_status(fitted, points, weights, definite=definite, axis=axis)
    standard = standardise(points, weights, axis)
    form, definite, found = _by_rule(spec, points, weights, standard, part)
    fitted = assemble(points, weights, standard, form, axis=axis)
    varies = ~jnp.any(constant_columns(points, axis, weights=weights))
    return _with_status(
        fitted, points, weights, varies=varies, definite=definite, found=found, axis=axis
    )


def _by_number(spec, points, weights, axis) -> tuple[Standardised, Form, Bool[Array, ""]]:
    d = points.shape[1]
    bandwidth = spec.bandwidth.astype(points.dtype)
    if bandwidth.ndim == 2:
        factor, _, definite = whitening(bandwidth)
    else:
        factor = jnp.diag(jnp.broadcast_to(bandwidth, (d,)))
        definite = jnp.all(bandwidth > 0)
    location, one = weighted_mean(points, weights, axis), jnp.ones((), points.dtype)
    eye = jnp.eye(d, dtype=points.dtype)
    standard = Standardised(points - location[None], location, jnp.ones(d, points.dtype), eye)
    white = unscale(standard.values, factor)
    widths = _relative_widths(spec.widths, white, points, weights, one)
    kernels, nan = _learn.Kernels(eye, factor), jnp.nan * one
    form = Form(kernels, False, widths, spec.kernel, nan, nan, jnp.zeros((), jnp.int32))
    return standard, form, definite


def _by_rule(
    spec, points, weights, standard, part
) -> tuple[Form, Bool[Array, ""], Bool[Array, ""]]:
    d = points.shape[1]
    size = effective_sample_size(weights, None if part is None else part.axis_name)
    rule, log_weights = spec.bandwidth.name, log_of_weights(weights)
    learned, moves = spec.covariance in STRUCTURES, spec.centres == "shrunken"
    # What is learned starts from the diagonal, which is never singular.
    shape, cholesky, definite = shape_factor(
        standard, SHAPES.index("diagonal" if learned else spec.covariance)
    )
    white = unscale(standard.values, cholesky)
    factor = _bandwidth.scott(size, d)
    widths = _relative_widths(spec.widths, white, points, weights, factor)
    log_likelihood, steps = jnp.asarray(jnp.nan, points.dtype), jnp.zeros((), jnp.int32)
    found, eye = jnp.asarray(True), jnp.eye(d, dtype=points.dtype)
    if rule == "silverman":
        factor = _bandwidth.silverman(size, d)
    elif rule == "biroli-mezard":
        factor = optimal_bandwidth(jnp.ones(d, points.dtype), size)
    elif rule == "sheather-jones":
        factor, found = improved_sheather_jones(standard.values, weights)
    if rule == "loo" and (learned or moves):
        # No derivative goes through the search, as its steps are not followed.
        rows = _learn.Rows(standard.values, log_weights, row_labels(points), widths)
        rows, shape, start = jax.lax.stop_gradient((rows, shape, cholesky))
        structure = STRUCTURES.get(spec.covariance, _learn.SCALAR)
        result = _learn.search(rows, shape, start, structure, moves)
        kernels, log_likelihood, steps, _ = result
        found = jnp.isfinite(log_likelihood)
        factor = relative_size(kernels.factor, cholesky)
    else:
        if rule == "loo":
            data = (log_weights, factor, widths, spec.kernel)
            factor, steps, last = _bandwidth.leave_one_out(white, *data, part)
            found = last <= 1e-3
            sample = _bandwidth.sample(white, log_weights, widths, spec.kernel, part)
            log_likelihood = _bandwidth.leave_one_out_log_likelihood(
                jnp.log(factor), sample
            ) - jnp.sum(jnp.log(jnp.diagonal(cholesky)))
        # The centres keep what variance the kernel leaves: the estimate has that of the data.
        kept = jnp.sqrt(jnp.maximum(1 - factor**2, 0)) if moves else 1.0
        kernels = _learn.Kernels(kept * eye, factor * cholesky)
    form = Form(kernels, moves, widths, spec.kernel, factor, log_likelihood, steps)
    return form, definite, found


def relative_size(factor, reference):
    """Geometric mean of the diagonal of one Cholesky factor over that of another."""
    return jnp.exp(jnp.mean(jnp.log(jnp.diagonal(factor)) - jnp.log(jnp.diagonal(reference))))


def _relative_widths(rule: str, white, points, weights, bandwidth):
    if rule == "nearest":
        neighbours = jnp.asarray(round(points.shape[0] ** 0.5))
        return _widths.nearest(white, log_of_weights(weights), row_labels(points), neighbours)
    if rule == "abramson":
        return _widths.abramson(white, log_of_weights(weights), bandwidth)
    return None


def assemble(points, weights, standard, form: Form, *, bandwidth=None, axis=None) -> FittedKDE:
    """The fitted density of a form; its covariance in data units is `bandwidth` unless given."""
    move, cholesky = form.kernels
    factor = standard.scale[:, None] * cholesky
    rows = unscale(standard.values, cholesky)
    centres = None
    if form.moves:  # A in the coordinates in which the kernel is a standard one
        turned = unscale(product(move, cholesky).T, cholesky).T
        centres = product(rows, turned.T)
    if bandwidth is None:
        bandwidth = product(factor, factor.T)
    d = points.shape[1]
    info = KDEInfo(
        effective_sample_size=effective_sample_size(weights, axis),
        factor=form.factor,
        shrinkage=jnp.trace(move) / d,
        log_likelihood=form.log_likelihood - jnp.sum(jnp.log(standard.scale)),
        steps=form.steps,
        status=jnp.asarray(OK, jnp.int32),
        selection=None,
    )
    return FittedKDE(
        bandwidth=bandwidth.astype(points.dtype),
        points=rows if centres is None else centres,
        widths=form.widths,
        log_weights=log_of_weights(weights),
        rows=None if centres is None else rows,
        labels=row_labels(points),
        location=standard.location,
        factor=factor,
        kernel=form.kernel,
        info=info,
        placement=None,
    )


def _with_status(
    fitted: FittedKDE,
    points,
    weights,
    *,
    varies: Bool[ArrayLike, ""] = True,
    definite: Bool[ArrayLike, ""] = True,
    found: Bool[ArrayLike, ""] = True,
    axis: str | None = None,
) -> FittedKDE:
    finite = jnp.all(jnp.isfinite(points)) & jnp.all(weights >= 0)  # NaN is not
    # Coordinates in units of the kernel must tell neighbours apart.
    reach = jnp.max(jnp.where(weights[:, None] > 0, jnp.abs(fitted.points), 0))
    wide = reach * jnp.finfo(points.dtype).eps < 0.1
    finite, wide = everywhere(finite, axis), everywhere(wide, axis)
    problems = [(~finite, NOT_FINITE), (~jnp.asarray(varies), CONSTANT_COLUMN)]
    problems += [(~jnp.asarray(definite), SINGULAR), (~jnp.asarray(found), NO_BANDWIDTH)]
    problems += [(~wide, TOO_NARROW)]
    conditions, codes = zip(*problems, strict=True)
    status = jnp.select(
        list(conditions), [jnp.asarray(c, jnp.int32) for c in codes], jnp.asarray(OK, jnp.int32)
    )
    fitted = eqx.tree_at(lambda f: f.info.status, fitted, status)
    return checks.poison(fitted, status == OK)
