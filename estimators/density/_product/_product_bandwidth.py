"""Bandwidths of a product of kernels, one a column: rules, and leave-one-out likelihood."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from estimators._core import product
from estimators._core._kernel_sum import pairwise_log_sum, pairwise_log_sum_and_means
from estimators.density._asked import places_with_weight
from estimators.density._bandwidth import LEAVE_ONE_OUT_QUERIES
from estimators.density._labels import remaining_log_weight, row_labels

MAX_STEPS = 100
# What the search takes for the mean log-likelihood's curvature in a log-bandwidth at first.
CURVATURE = 0.3
# Where the search for a continuous column's bandwidth ends, as the log of its ratio to the
# column's spread, and for a discrete one as the logit of its ratio to the largest.
CONTINUOUS_RANGE = (-12.0, 5.0)
DISCRETE_RANGE = (-10.0, 10.0)


def log_sum_of_products(columns, bandwidth, queries, points, log_weights, **labels):
    """Log of the weighted sum of products of the columns' kernels, `(m, c) -> (m,)`."""

    def log_kernel(queries, points):
        total = jnp.zeros((queries.shape[0], points.shape[0]), queries.dtype)
        for j, column in enumerate(columns):  # no array of b p c numbers
            total += column.log_kernel(queries[:, j, None], points[None, :, j], bandwidth[j])
        return total

    return pairwise_log_sum(log_kernel, queries, points, log_weights, **labels)


def rule(columns, spreads, effective_sample_size) -> Float[Array, " c"]:
    """Scott's rule, by the orders of Li & Racine (2003).

    `spread n^(-1/(4+q))` for each of the q continuous columns (Scott 1992, sec. 6.3), and
    `largest n^(-2/(4+q))` for discrete ones; `largest / n` where there is no continuous one.
    """
    q = sum(column.continuous for column in columns)
    of_discrete = effective_sample_size ** (-2 / (4 + q) if q else -1.0)
    factors = [
        effective_sample_size ** (-1 / (4 + q))
        if column.continuous
        else of_discrete * column.limit(spreads.dtype)
        for column in columns
    ]
    return spreads * jnp.stack(factors)


def left_out_with(columns, coordinates) -> Int[Array, " n"]:
    """Labels of rows that leave-one-out leaves out together.

    Rows that agree in every continuous column: under a density they have probability zero,
    and would make the likelihood grow without bound as the bandwidths fall. Where no column
    is continuous copies are the data, and a row is left out alone.
    """
    continuous = [j for j, column in enumerate(columns) if column.continuous]
    if not continuous:
        return jnp.arange(coordinates.shape[0])
    return row_labels(coordinates[:, jnp.array(continuous)])


def leave_one_out_log_densities(
    columns, bandwidth, coordinates, log_weights, places: Int[Array, " m"] | None = None
) -> tuple[Float[Array, " m"], tuple[Float[Array, " m"], ...]]:
    """Log density (of the coordinates) of rows, all or some, given the rows that differ.

    Returns:
        It, -inf where no row differs, and its derivative by each column's bandwidth.
    """

    def kernel(queries, points):
        total = jnp.zeros((queries.shape[0], points.shape[0]), queries.dtype)
        slopes = []
        for j, column in enumerate(columns):
            of_bandwidth = functools.partial(
                column.log_kernel, queries[:, j, None], points[None, :, j]
            )
            here = bandwidth[j]
            value, slope = jax.jvp(of_bandwidth, (here,), (jnp.ones_like(here),))
            total += value
            slopes.append(slope)
        return total, tuple(slopes)

    labels = left_out_with(columns, coordinates)
    queries, query_labels = coordinates, labels
    if places is not None:
        queries, query_labels = coordinates[places], labels[places]
    value, slopes = pairwise_log_sum_and_means(
        kernel,
        queries,
        coordinates,
        log_weights,
        query_labels=query_labels,
        point_labels=labels,
    )
    return value - remaining_log_weight(query_labels, labels, log_weights), slopes


def leave_one_out(
    columns, coordinates, log_weights, spreads, start
) -> tuple[
    Float[Array, " c"], Float[Array, ""], Int[Array, ""], Bool[Array, ""], Bool[Array, " c"]
]:
    """The bandwidths of the largest leave-one-out likelihood (Habbema et al. 1974).

    A quasi-Newton search over the logs of all bandwidths at once (logits for discrete
    columns), from the `start` that a rule gave. Its derivative in the data is that of the
    implicit function theorem.

    Returns:
        The bandwidths; the mean log-likelihood; evaluations used; whether the search
        converged; and which columns' bandwidths fell to the end of the range.
    """
    dtype = coordinates.dtype
    stride = -(-coordinates.shape[0] // LEAVE_ONE_OUT_QUERIES)
    continuous = jnp.array([column.continuous for column in columns])
    largest = jnp.array([column.limit(dtype) for column in columns], dtype)
    ranges = [CONTINUOUS_RANGE if c.continuous else DISCRETE_RANGE for c in columns]
    lower, upper = jnp.array(ranges, dtype).T
    largest_step = jnp.where(continuous, 1, 3).astype(dtype)
    places = places_with_weight(jnp.exp(log_weights), stride)
    weights = jnp.exp(log_weights[places])

    def bandwidths(t):
        of_discrete = largest * jax.nn.sigmoid(jnp.where(continuous, 0, t))
        return jnp.where(continuous, spreads * jnp.exp(jnp.where(continuous, t, 0)), of_discrete)

    def likelihood_and_slopes(t):
        bandwidth, change = jax.jvp(bandwidths, (t,), (jnp.ones_like(t),))
        value, slopes = leave_one_out_log_densities(
            columns, bandwidth, coordinates, log_weights, places
        )
        alone = jnp.isneginf(value)
        share = jnp.where(alone, 0, weights)
        share = share / jnp.sum(share)
        slopes = jnp.stack([jnp.sum(share * slope) for slope in slopes]) * change
        return jnp.sum(share * jnp.where(alone, 0, value)), slopes

    def search(_, start):
        t, (value, steps, converged) = maximise(
            likelihood_and_slopes, start, lower, upper, largest_step
        )
        # As floats: the derivative rule of custom_root knows no others.
        return t, (value, steps.astype(dtype), converged.astype(dtype))

    def solve_linear(linear, y):
        # Directions in which the likelihood is flat (a column smoothed out) are left alone.
        hessian = jax.vmap(linear)(jnp.eye(y.shape[0], dtype=y.dtype)).T
        return jnp.linalg.solve(hessian - 1e-6 * jnp.eye(y.shape[0], dtype=y.dtype), y)

    share = jnp.where(continuous, 0.5, start / largest)
    start = jnp.where(continuous, jnp.log(start / spreads), jnp.log(share) - jnp.log1p(-share))
    start = jax.lax.stop_gradient(jnp.clip(start, lower, upper))
    t, (value, steps, converged) = jax.lax.custom_root(
        lambda t: likelihood_and_slopes(t)[1], start, search, solve_linear, has_aux=True
    )
    collapsed = continuous & (t <= lower + 1)
    return bandwidths(t), value, steps.astype(jnp.int32), converged > 0, collapsed


def maximise(evaluate, start, lower, upper, largest_step):
    """Maximise a smooth function inside a box by projected BFGS with backtracking.

    Nocedal & Wright (2006, algorithm 6.1). A variable that comes within one of the box's end,
    pushing outwards, is held there.

    Args:
        evaluate: from `(c,)` to the function's value and gradient.
        start: where to begin, `(c,)`.
        lower: the box's lower end, `(c,)`.
        upper: the box's upper end, `(c,)`.
        largest_step: of each variable, `(c,)`.

    Returns:
        The maximiser, and `(value, evaluations, whether it converged)`.
    """
    eye = jnp.eye(start.shape[0], dtype=start.dtype)
    eps = jnp.finfo(start.dtype).eps
    accuracy = jnp.sqrt(eps)

    def is_free(t, gradient):
        held = ((t <= lower + 1) & (gradient < 0)) | ((t >= upper - 1) & (gradient > 0))
        return ~held

    def step(state):
        t, value, gradient, inverse, shrink, count, _ = state
        free = is_free(t, gradient)
        slope = jnp.where(free, gradient, 0)
        direction = jnp.where(free, product(inverse, slope), 0)
        direction = jnp.where(jnp.sum(direction * slope) > 0, direction, slope)
        newton = jnp.max(jnp.abs(direction))
        direction = direction / jnp.maximum(1, jnp.max(jnp.abs(direction) / largest_step))
        trial = jnp.clip(t + shrink * direction, lower, upper)
        moved = trial - t
        new_value, new_gradient = evaluate(trial)
        rounding = 8 * eps * jnp.abs(value)
        better = new_value >= value + 1e-4 * jnp.sum(slope * moved) - rounding
        turned = jnp.where(free, gradient - new_gradient, 0)
        along = jnp.sum(moved * turned)
        concave = better & (along > 1e-3 * eps)
        along = jnp.where(concave, along, 1)
        left = eye - moved[:, None] * turned[None, :] / along
        updated = product(product(left, inverse), left.T)
        updated = updated + moved[:, None] * moved[None, :] / along
        # Where the function is not concave the next step is three times as long.
        inverse = jnp.where(concave, updated, jnp.where(better, 3 * inverse, inverse))
        t = jnp.where(better, trial, t)
        value = jnp.where(better, new_value, value)
        gradient = jnp.where(better, new_gradient, gradient)
        small = (newton < accuracy) | (steepness(t, gradient) < 1e-2 * accuracy)
        small |= shrink < 1e-4
        return t, value, gradient, inverse, jnp.where(better, 1, shrink / 4), count + 1, small

    def steepness(t, gradient):
        return jnp.max(jnp.where(is_free(t, gradient), jnp.abs(gradient), 0))

    def unfinished(state):
        return ~state[-1] & (state[-2] < MAX_STEPS)

    value, gradient = evaluate(start)
    shrink, count = jnp.ones((), start.dtype), jnp.ones((), jnp.int32)
    state = (start, value, gradient, eye / CURVATURE, shrink, count, ~jnp.isfinite(value))
    t, value, gradient, _, _, count, done = jax.lax.while_loop(unfinished, step, state)
    return t, (value, count, done & (steepness(t, gradient) < 1e-3) & jnp.isfinite(value))
