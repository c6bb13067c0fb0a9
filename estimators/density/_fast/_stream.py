"""Points that arrive one after another: `update` appends them, a `Stream` has fixed room.

The kernel stays what it was: an update costs as much as the new rows, refits nothing, and
gives what a fit to all rows with that kernel would give.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int, Real

from estimators._core import Fitted, checks, effective_sample_size, whiten
from estimators._core._moments import log_of_weights
from estimators.density._fitted import FittedKDE, as_fitted
from estimators.density._labels import row_labels


def update(
    fitted: FittedKDE,
    points: Real[ArrayLike, "k d"],
    weights: Real[ArrayLike, " k"] | None = None,
    *,
    total_weight: Real[ArrayLike, ""] | None = None,
) -> FittedKDE:
    """Append rows to a kernel density estimate, with the kernel that it has.

    Args:
        fitted: an estimate whose centres are its rows, all of one width.
        points: `(k, d)`, the new rows.
        weights: `(k,)`, not negative; None means one each.
        total_weight: what the rows of `fitted` weigh together on the scale of `weights`.
            None means their number, n: right where they were fitted without weights.

    Returns:
        An estimate on n + k rows; the same as a fit to all with this bandwidth, to rounding.
        `info.effective_sample_size` is of all rows; other diagnostics of the fit are kept.

    Raises:
        ValueError: for shapes that do not fit, values that are not finite, weights that are
            negative or all zero, and an estimate with moved centres or unequal widths: these
            depend on all rows, and need a fit.

    Example:
        >>> import jax
        >>> from estimators import density
        >>> rows = jax.random.normal(jax.random.key(0), (500, 2))
        >>> grown = density.update(density.KDE(0.3).fit(rows[:300]), rows[300:])
        >>> at_once = density.KDE(0.3).fit(rows)
        >>> bool(abs(grown.log_density(rows[0]) - at_once.log_density(rows[0])) < 1e-5)
        True

    When it fails: n + k is a new shape, which compiles anew; a `stream` does not. The
    bandwidth does not shrink as the rows grow in number: fit again now and then. Rows far from
    those of the fit lose digits in float32, since its mean is what is subtracted.
    """
    _refuse(fitted)
    points = checks.as_points("points", points, dimension=fitted.points.shape[1])
    points = points.astype(fitted.points.dtype)
    weights = checks.as_weights("weights", weights, points.shape[0], points.dtype)
    if total_weight is None:
        total_weight = fitted.points.shape[0]
    before = checks.as_number("total_weight", total_weight)
    checks.positive("total_weight", total_weight)
    return _append(fitted, points, weights, before.astype(points.dtype))


class Stream(Fitted):
    """The latest rows of a stream, as many as there is room for; see `stream`.

    Attributes:
        template: the estimate that it started from, without its rows' weights.
        points: `(capacity, d)`, whitened rows; zeros where none has come yet.
        log_weights: `(capacity,)`, of weights on any scale; -inf where none has come yet.
        labels: `(capacity,)`, by which copies of a row are known.
        place: `()`, where the next row goes.
        half_life: `()`, after how many further rows the weight of one is halved; inf is never.
    """

    template: FittedKDE
    points: Float[Array, "capacity d"]
    log_weights: Float[Array, " capacity"]
    labels: Int[Array, " capacity"]
    place: Int[Array, ""]
    half_life: Float[Array, ""]

    def update(
        self, points: Real[ArrayLike, "k d"], weights: Real[ArrayLike, " k"] | None = None
    ) -> "Stream":
        """The stream after k further rows; they take the place of the oldest where it is full.

        Raises:
            ValueError: as `update`, and if k is more than the capacity. Inside jit a row that
                is not finite makes every density NaN until it is replaced.
        """
        capacity, d = self.points.shape
        points = checks.as_points("points", points, dimension=d).astype(self.points.dtype)
        if points.shape[0] > capacity:
            raise ValueError(
                f"points must have at most {capacity} rows, the capacity of the stream; got "
                f"{points.shape[0]}. Pass the last {capacity}, or more than one update"
            )
        weights = checks.as_weights("weights", weights, points.shape[0], points.dtype)
        return _push(self, points, weights)

    @property
    def fitted(self) -> FittedKDE:
        """The kernel density estimate on the rows at hand, of the same shape after any update."""
        return _of_stream(self)


def stream(
    fitted: FittedKDE,
    *,
    capacity: int,
    half_life: Real[ArrayLike, ""] = jnp.inf,
) -> Stream:
    """Start a stream from a kernel density estimate: its rows are the first.

    Args:
        fitted: an estimate whose centres are its rows, all of one width.
        capacity: how many rows are kept, at least as many as `fitted` has.
        half_life: after how many further rows the weight of a row is halved; inf is never.

    Returns:
        A `Stream`. Its `update` and the densities of its `fitted` compile once.

    Raises:
        ValueError: if `capacity` is too small, `half_life` is not positive, or the estimate
            has moved centres or unequal widths.

    Example:
        >>> import jax
        >>> from estimators import density
        >>> rows = jax.random.normal(jax.random.key(0), (500, 2))
        >>> latest = density.stream(density.KDE(0.3).fit(rows[:100]), capacity=200)
        >>> for start in (100, 200, 300, 400):
        ...     latest = latest.update(rows[start : start + 100])
        >>> at_once = density.KDE(0.3).fit(rows[300:])
        >>> bool(abs(latest.fitted.log_density(rows[0]) - at_once.log_density(rows[0])) < 1e-5)
        True

    When it fails: as `update`. Empty places cost as much as rows do.
    """
    _refuse(fitted)
    n, d = fitted.points.shape
    checks.integer("capacity", capacity, at_least=n)
    after = checks.as_number("half_life", half_life)
    if checks.is_concrete(half_life) and not checks.holds(lambda a: jnp.asarray(a) > 0, half_life):
        raise ValueError(f"half_life must be positive; got {half_life}")
    dtype = fitted.points.dtype
    empty = capacity - n
    after = jnp.where(after > 0, after, jnp.nan).astype(dtype)  # a traced one gives NaN
    return Stream(
        # The weights of the rows, per row: a new row weighs one.
        dataclasses.replace(
            fitted,
            points=jnp.zeros((0, d), dtype),
            log_weights=jnp.zeros(0, dtype),
            labels=jnp.zeros(0, jnp.int32),
        ),
        jnp.pad(fitted.points, ((0, empty), (0, 0))),
        jnp.pad(fitted.log_weights + jnp.log(n), (0, empty), constant_values=-jnp.inf),
        jnp.pad(fitted.labels, (0, empty)),
        jnp.asarray(n % capacity, jnp.int32),
        after,
    )


def _refuse(fitted: FittedKDE) -> None:
    if not isinstance(fitted, FittedKDE) or fitted.widths is not None or fitted.rows is not None:
        raise ValueError(
            "fitted must be a FittedKDE with its rows as centres, all of one width; others "
            "depend on all rows together: fit them anew"
        )
    as_fitted("fitted", fitted)


@jax.jit
def _append(fitted: FittedKDE, points, weights, total_weight) -> FittedKDE:
    white = whiten(points, fitted.location, fitted.factor)
    log_weights = jnp.concatenate(
        [fitted.log_weights + jnp.log(total_weight), log_of_weights(weights)]
    )
    labels = jnp.concatenate([fitted.labels, row_labels(points)])
    return _with_rows(fitted, jnp.concatenate([fitted.points, white]), log_weights, labels)


@jax.jit
def _push(of: Stream, points, weights) -> Stream:
    k, capacity = points.shape[0], of.points.shape[0]
    place = (of.place + jnp.arange(k)) % capacity
    white = whiten(points, of.template.location, of.template.factor)
    decay = jnp.log(2.0) / of.half_life
    age = jnp.arange(k - 1, -1, -1)  # rows that came after it, in this update
    log_weights = (of.log_weights - k * decay).at[place].set(log_of_weights(weights) - age * decay)
    labels = of.labels.at[place].set(row_labels(points))
    points = of.points.at[place].set(white)
    place = (of.place + k) % capacity
    return Stream(of.template, points, log_weights, labels, place, of.half_life)


@jax.jit
def _of_stream(of: Stream) -> FittedKDE:
    return _with_rows(of.template, of.points, of.log_weights, of.labels)


def _with_rows(fitted: FittedKDE, points, log_weights, labels) -> FittedKDE:
    log_weights = log_weights - jax.nn.logsumexp(log_weights)
    info = dataclasses.replace(
        fitted.info,
        effective_sample_size=effective_sample_size(jnp.exp(log_weights)),
        log_likelihood=jnp.nan * fitted.info.factor,  # it was that of the rows before
    )
    return dataclasses.replace(
        fitted, points=points, log_weights=log_weights, labels=labels, info=info
    )
