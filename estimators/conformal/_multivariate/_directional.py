"""Directional quantile regression in a learned representation, and its training."""

import functools
import math
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, ArrayLike, Key, Real

from estimators import training
from estimators._core import Scaling, Spec, checks, constant_columns
from estimators.conformal._multivariate._calibrated_directional import FittedDirectionalQuantiles
from estimators.conformal._multivariate._decoded import Decoded, base_points
from estimators.conformal._multivariate._directions import (
    BatchPinballLoss,
    HalfSpaces,
    pinball_loss,
)
from estimators.conformal._multivariate._network import random_network
from estimators.conformal._multivariate._representation import (
    BatchEvidenceLoss,
    Representation,
    evidence_loss,
)

START = 0.5  # of the noise, in standard deviations of y
CHUNK = 100  # steps between two looks at the validation rows
NUMBERS = ("directions", "points", "width", "depth", "steps", "batch_size", "patience")


class DirectionalQuantiles(Spec):
    """Regions of any shape, from directional quantiles of a learned representation.

    1. A conditional variational auto-encoder learns a representation z of y given x, of `r`
       columns, in which the law is near a standard normal one.
    2. Directional quantile regression there: a network of (x, u) is trained with the pinball
       loss in random directions u, and gives the region of all z with `u z >= q(x, u)`.
    3. Fixed points of that region (and a little beyond) are decoded, `y_b(x)`. The score is

           s(x, y)^2 = min_b  sum_j ((y_j - y_bj(x)) / noise_j)^2 + (rho f_b)^2 / 4

       with the noise of the decoder, f_b the fraction of the way from zero to the edge of the
       region at which point b lies, and rho^2 the quantile of chi-squared that holds the
       coverage. The conformal quantile t of the score gives `{y : s(x, y) <= t}`: balls about
       decoded points, smaller ones further out.

    Args:
        coverage: probability that the region must cover, in (0, 1).
        representation: columns of z; None takes as many as y has.
        directions: half-spaces that bound the region in z; an even number.
        points: decoded points of a region.
        width: units of a hidden layer, in each of the three networks.
        depth: number of hidden layers.
        steps: training steps of the representation, and half as many of the directions.
        batch_size: rows of a step, drawn with replacement.
        learning_rate: the first one; it falls to zero.
        weight_decay: of all weights, in units of the learning rate.
        patience: with validation data, stop after so many evaluations, 100 steps apart, in a
            row without a new least loss.

    Guarantee: for exchangeable calibration and new rows, and networks trained on others, a new y
    is covered with probability at least `coverage`, whatever the networks learned: given
    them the score is a fixed function of (x, y).

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from estimators import conformal
        >>> x, noise = jax.random.normal(jax.random.key(0), (2, 400, 2))
        >>> y = jnp.stack([noise[:, 0], noise[:, 0] ** 2 + x[:, 0] + 0.1 * noise[:, 1]], 1)
        >>> spec = conformal.DirectionalQuantiles(0.9, width=16, steps=200)
        >>> fitted = spec.fit(x[:300], y[:300], key=jax.random.key(1))
        >>> calibrated = fitted.calibrate(x[300:], y[300:])
        >>> volume, error = calibrated.volume(x[0], key=jax.random.key(2))
        >>> bool(calibrated.contains(x[300:], y[300:]).mean() >= 0.9), bool(volume > 10 * error)
        (True, True)

    Reference: Feldman, Bates & Romano 2023, Calibrated multiple-output quantile regression with
    representation learning (JMLR 24; arXiv 2110.00816). Of this library, not of the paper:
    the noise of the decoder is learned, where the paper gives the divergence a fixed weight;
    the level of the quantiles is the one at which half-spaces of a normal z hold `coverage`;
    points are laid along rays from zero, not on a grid; and one score both grows regions, by the
    distance to decoded points, and shrinks them, by leaving out the outer ones first, where
    the paper chooses between two distances.

    When it fails: with few training rows (some hundreds), or too few steps, the decoder is far
    from the law and regions are large; where the law of y given x is near a normal one, or a
    forest predicts much better than a network, `ConformalEllipsoid` can be smaller. All balls of a
    row are of one shape: where noise differs much between rows, regions are too large in some.
    """

    coverage: float = eqx.field(static=True, default=0.9)
    representation: int | None = eqx.field(static=True, default=None, kw_only=True)
    directions: int = eqx.field(static=True, default=64, kw_only=True)
    points: int = eqx.field(static=True, default=256, kw_only=True)
    width: int = eqx.field(static=True, default=64, kw_only=True)
    depth: int = eqx.field(static=True, default=3, kw_only=True)
    steps: int = eqx.field(static=True, default=6000, kw_only=True)
    batch_size: int = eqx.field(static=True, default=256, kw_only=True)
    learning_rate: float = eqx.field(static=True, default=2e-3, kw_only=True)
    weight_decay: float = eqx.field(static=True, default=0.01, kw_only=True)
    patience: int = eqx.field(static=True, default=10, kw_only=True)

    def __check_init__(self):
        checks.probability("coverage", self.coverage)
        for name in NUMBERS:
            checks.integer(name, getattr(self, name), at_least=1)
        if self.representation is not None:
            checks.integer("representation", self.representation, at_least=1)
        if self.directions % 2:
            raise ValueError(f"directions must be an even number; got {self.directions}")
        checks.positive("learning_rate", self.learning_rate)
        checks.positive("weight_decay", self.weight_decay, zero=True)

    def fit(
        self,
        x: Real[ArrayLike, "n d"],
        y: Real[ArrayLike, "n k"],
        *,
        key: Key[Array, ""],
        validation: tuple[Real[ArrayLike, "m d"], Real[ArrayLike, "m k"]] | None = None,
        progress: bool | Callable[[training.Report], object] | None = None,
    ) -> FittedDirectionalQuantiles:
        """Train the networks; not to be called inside `jax.jit`.

        Args:
            x: `(n, d)`, features. They are standardised inside; a constant column is ignored.
            y: `(n, k)`, outcomes, standardised inside as well.
            key: for the first weights, the batches, the draws and the points.
            validation: features and outcomes on which to stop early, and to choose the step.
            progress: see `estimators.training.minimise`. Ctrl-C keeps the weights so far.

        Raises:
            ValueError: for shapes that do not belong together, values that are not finite, or
                an outcome that is constant.
        """
        x, y = _as_training_rows(x, y)
        _check_varies(y)
        columns, k, dtype = x.shape[1], y.shape[1], y.dtype
        units, r = Scaling.of(x, y), self.representation or k
        keys = jax.random.split(checks.as_key(key), 6)

        def as_data(x, y):
            return units.features(x.astype(dtype)), units.outcomes(y.astype(dtype))

        def network(inputs, outputs, key):
            sizes = {"width": self.width, "depth": self.depth, "dtype": dtype}
            return random_network(columns, inputs, outputs, **sizes, key=key)

        rows, held_out = as_data(x, y), None
        if validation is not None:
            held_out = as_data(*_as_training_rows(*validation, "validation ", (columns, k)))
        train = functools.partial(
            training.minimise,
            patience=None if validation is None else self.patience,
            chunk=CHUNK,
            progress=progress,
        )
        noise = jnp.full(k, math.log(START), dtype)
        first = train(
            BatchEvidenceLoss(self.batch_size),
            Representation(network(k, 2 * r, keys[0]), network(r, k, keys[1]), noise),
            rows,
            key=keys[2],
            steps=self.steps,
            optimiser=_optimiser(self.learning_rate, self.steps, self.weight_decay),
            validation=held_out,
            validation_loss=evidence_loss,
        )
        learned, steps = first.parameters, -(-self.steps // 2)
        from scipy import special

        radius = math.sqrt(2 * special.gammaincinv(r / 2, self.coverage))  # of chi-squared
        second = train(
            BatchPinballLoss(self.batch_size),
            HalfSpaces(network(r, 1, keys[3]), radius),
            {"rows": rows, "representation": learned},
            key=keys[4],
            steps=steps,
            optimiser=_optimiser(self.learning_rate, steps, self.weight_decay),
            validation=held_out and {"rows": held_out, "representation": learned},
            validation_loss=pinball_loss,
        )
        points = base_points(self.directions, self.points, r, dtype, keys[5])
        decoded = Decoded(units, learned, second.parameters, *points)
        return FittedDirectionalQuantiles(decoded, self.coverage, first.info, second.info)


def _as_training_rows(x, y, prefix: str = "", columns=(None, None)):
    """Check features and the outcomes that belong to them; both in one dtype."""
    x = checks.as_points(f"{prefix}x", x, dimension=columns[0])
    y = checks.as_points(f"{prefix}y", y, dimension=columns[1])
    if x.shape[0] != y.shape[0]:
        raise ValueError(f"{prefix}y must have {x.shape[0]} rows, as x; got shape {y.shape}")
    dtype = jnp.result_type(x, y)
    return x.astype(dtype), y.astype(dtype)


def _check_varies(y):
    constant = constant_columns(y)
    if checks.holds(jnp.any, constant):
        raise ValueError(
            f"y must vary in every column; column {int(jnp.argmax(constant))} is constant"
        )


@functools.lru_cache
def _optimiser(rate: float, steps: int, decay: float) -> optax.GradientTransformation:
    # One object for one setting: training compiles once for each optimiser object.
    adam = optax.adamw(optax.cosine_decay_schedule(rate, steps), weight_decay=decay)
    return optax.chain(optax.clip_by_global_norm(1.0), adam)
