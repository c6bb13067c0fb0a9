"""Lower bounds on mutual information from a critic that is trained on the data set itself."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, ArrayLike, Float, Key, Real

from estimators import training
from estimators._core import Spec, checks
from estimators.information._estimate import Estimate, as_pair, conclude, status_of
from estimators.information._neighbours._ksg import standardise
from estimators.information._neural._bounds import BOUNDS, bound_value, contributions, objective

LARGEST_TEST = 1024  # rows of which all pairs are scored at the end


class NeuralBound(Spec):
    """A variational lower bound on mutual information, from a critic network.

    Half of the rows train the critic, a quarter decides when to stop, and the bound is evaluated on
    the last quarter, so that its expectation is below the truth whatever the critic learned. The
    bounds are those of

        donsker_varadhan   MINE, Belghazi et al. (2018), eq. 5 (its batch gradient is biased)
        nwj                Nguyen, Wainwright & Jordan (2010), f-divergence form
        infonce            van den Oord et al. (2018); at most log(batch_size) in training and
                           log(rows / 4) in the answer
        smile              Song & Ermon (2020), eq. 14, with the ratio clipped at exp(clip)

    Args:
        bound: one of these names.
        hidden: widths of the hidden layers, static.
        steps: the largest number of updates, static.
        batch_size: joint draws of an update; all their pairs are scored.
        patience: evaluations in a row (one every 100 steps) without gain before it stops.
        learning_rate: of Adam.
        clip: of "smile".

    Example:
        >>> import jax
        >>> from estimators import information
        >>> x, noise = jax.random.normal(jax.random.key(0), (2, 2000, 1))
        >>> spec = information.NeuralBound("infonce", steps=500)
        >>> estimate = spec.estimate(x, x + noise, key=jax.random.key(1))
        >>> bool(0.2 < estimate.value < 0.45)  # the truth is log(2) / 2 = 0.35
        True

    When it fails: with few rows. At n = 500 the critic learns its half by heart in three columns
    and more, and the bound on the others is far below the truth, below zero even, where MIST and
    KSG see something. It trains anew for every data set: thousands of times the cost of MIST.
    The standard error takes the critic as given. The training is driven from the host: it
    cannot be jitted.
    """

    bound: str = eqx.field(static=True, default="infonce")
    hidden: tuple[int, ...] = eqx.field(static=True, default=(64, 64))
    steps: int = eqx.field(static=True, default=2000)
    batch_size: int = eqx.field(static=True, default=128)
    patience: int = eqx.field(static=True, default=5)
    learning_rate: float | Float[Array, ""] = 1e-3
    clip: float | Float[Array, ""] = 5.0

    def __check_init__(self):
        checks.one_of("bound", self.bound, BOUNDS)
        for name in ("steps", "batch_size", "patience"):
            checks.integer(name, getattr(self, name), at_least=2 if name == "batch_size" else 1)
        checks.positive("learning_rate", self.learning_rate)
        checks.positive("clip", self.clip)
        if not self.hidden or min(self.hidden) < 1:
            raise ValueError(f"hidden must be widths of at least 1; got {self.hidden}")

    def estimate(
        self, x: Real[ArrayLike, "n dx"], y: Real[ArrayLike, "n dy"], *, key: Key[Array, ""]
    ) -> Estimate:
        """Train a critic on `x (n, dx)` and `y (n, dy)`; the bound in nats.

        Raises:
            ValueError: for fewer than 16 rows, different numbers of rows, a constant column or
                a value that is not finite.
        """
        x, y = as_pair(x, y, at_least=16, why="4 for the evaluation")
        split, start, run = jax.random.split(checks.as_key(key), 3)
        order = jax.random.permutation(split, x.shape[0])
        x_scaled, y_scaled = standardise(x)[order], standardise(y)[order]
        half, quarter = x.shape[0] // 2, x.shape[0] // 4
        parts = [slice(0, half), slice(half, half + quarter), slice(half + quarter, None)]
        train, held_out, test = ((x_scaled[part], y_scaled[part]) for part in parts)

        critic = _critic(start, x.shape[1] + y.shape[1], self.hidden)
        critic = jax.tree.map(lambda a: a.astype(x.dtype) if eqx.is_inexact_array(a) else a, critic)
        size = min(self.batch_size, half)
        result = training.minimise(
            _loss(self.bound, size),
            critic,
            {"pairs": train, "clip": jnp.asarray(self.clip, x.dtype)},
            key=run,
            steps=self.steps,
            optimiser=_adam(float(self.learning_rate)),
            validation={"pairs": held_out, "clip": jnp.asarray(self.clip, x.dtype)},
            validation_loss=_validation_loss(self.bound),
            patience=self.patience,
        )
        value, error = _evaluate(result.parameters, *test, self.clip, self.bound)
        return conclude(value, error, x, y, status_of(x, y))


def _critic(key, width: int, hidden: tuple[int, ...]):
    sizes = (width, *hidden, 1)
    keys = jax.random.split(key, len(sizes) - 1)
    return tuple(
        eqx.nn.Linear(a, b, key=k) for a, b, k in zip(sizes[:-1], sizes[1:], keys, strict=True)
    )


def critic_scores(critic, x: Float[Array, "m dx"], y: Float[Array, "k dy"]) -> Float[Array, "m k"]:
    """The critic at every pair of rows."""
    first, *rest = critic
    # The first layer is linear: what it makes of x and of y adds up over pairs.
    cut = x.shape[1]
    of_x = x @ first.weight[:, :cut].T
    of_y = y @ first.weight[:, cut:].T + first.bias[None]
    hidden = of_x[:, None, :] + of_y[None, :, :]
    for layer in rest:
        hidden = jax.nn.relu(hidden) @ layer.weight.T + layer.bias[None, None]
    return hidden[..., 0]


# One function object for each setting: `training.minimise` then compiles it once.
@functools.cache
def _loss(bound: str, size: int):
    def loss(critic, data, key):
        x, y = training.batch(data["pairs"], key, size)
        return -objective(critic_scores(critic, x, y), bound, data["clip"])

    return loss


@functools.cache
def _validation_loss(bound: str):
    def loss(critic, data, key):
        x, y = (side[:LARGEST_TEST] for side in data["pairs"])
        return -objective(critic_scores(critic, x, y), bound, data["clip"])

    return loss


@functools.cache
def _adam(rate: float):
    return optax.adam(rate)


@functools.partial(jax.jit, static_argnames="bound")
def _evaluate(critic, x, y, clip, bound):
    parts = -(-x.shape[0] // LARGEST_TEST)
    size = x.shape[0] // parts

    def one(part):
        scores = critic_scores(critic, *part)
        return bound_value(scores, bound, clip), jnp.var(contributions(scores, bound, clip), ddof=1)

    cut = [side[: parts * size].reshape(parts, size, -1) for side in (x, y)]
    values, variances = jax.lax.map(one, tuple(cut))
    return jnp.mean(values), jnp.sqrt(jnp.mean(variances) / (parts * size))
