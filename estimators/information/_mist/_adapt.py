"""A network that goes on learning, on data sets that look like a user's own."""

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Key

from estimators import training
from estimators._core import checks
from estimators.information._mist import _calibrate, _train
from estimators.information._mist._features import features
from estimators.information._mist._mist import MIST, ROWS

Draw = Callable[[Key[Array, ""]], tuple[Any, Any, Any]]


def adapt(
    mist: MIST,
    draw: Draw,
    *,
    key: Key[Array, ""],
    data_sets: int = 4000,
    steps: int = 1000,
    learning_rate: float = 3e-4,
    progress: bool | None = None,
) -> MIST:
    """Train an estimator further on data sets of known information, and calibrate it on them.

    Mutual information does not change when x, or y, goes through a map that can be undone. A map
    that was fitted to a user's own data therefore turns pairs of known information into pairs
    that look like these data, of the same information (Gritsai et al. 2025, section 5).

    Args:
        mist: the estimator to start from; it stays as it is.
        draw: from a key to `(x, y, information)`: `(n, dx)`, `(n, dy)` and a number of nats. It is
            compiled, so shapes may not depend on the key; n at most 512.
        key: draws the data sets, and the batches of training.
        data_sets: how many; three quarters train, an eighth decides which network of the
            training is kept, an eighth calibrates its quantiles.
        steps: updates of 256 data sets.
        learning_rate: the largest one; it falls to zero.
        progress: whether a line of progress is shown; None is only where a person looks on.

    Returns:
        An estimator whose quantiles are calibrated over what `draw` draws, for data of about
        this number of rows and columns. For others it is not calibrated.

    Raises:
        ValueError: if the shapes are not what `MIST` can be asked about, if fewer than 2000 data
            sets are asked for, or if the information of a data set is not finite or is negative.

    Example:
        >>> import jax
        >>> from estimators import information
        >>> def draw(key):
        ...     of_x, of_noise, of_size = jax.random.split(key, 3)
        ...     x, noise = jax.random.normal(of_x, (2, 64, 1))
        ...     size = jax.random.uniform(of_size, minval=0.3, maxval=3.0)
        ...     return x, x + size * noise, 0.5 * jax.numpy.log1p(size**-2)
        >>> mist = information.adapt(
        ...     information.MIST(), draw, key=jax.random.key(0), data_sets=2000, steps=50
        ... )
        >>> x, y, truth = draw(jax.random.key(1))
        >>> bool(abs(mist.estimate(x, y).value - truth) < 0.3)
        True

    When it fails: it knows what was drawn. Dependence of another kind than that of the pairs it
    was adapted to can be estimated worse than before.
    """
    key = checks.as_key(key)
    checks.integer("data_sets", data_sets, at_least=2000)
    checks.integer("steps", steps, at_least=1)
    of_data, of_steps = jax.random.split(key)
    read, information = _read(mist, draw, jax.random.split(of_data, data_sets))
    if not bool(jnp.isfinite(read).all() & jnp.isfinite(information).all()):
        raise ValueError("draw gave data or an information that is not finite")
    if not bool((information >= 0).all()):
        raise ValueError(f"draw gave a negative information: {float(information.min()):.3g}")
    kept, decide = 3 * data_sets // 4, 7 * data_sets // 8
    rows = _train.Rows(read, information)
    train, validate, calibrate = (
        jax.tree.map(lambda a, part=part: a[part], rows)
        for part in (slice(kept), slice(kept, decide), slice(decide, None))
    )
    rate = optax.cosine_decay_schedule(learning_rate, steps)
    network = mist.network
    result = training.minimise(
        functools.partial(_train.pinball, size=256),
        network.heads,
        {"rows": train, "scaling": network.scaling},
        key=of_steps,
        steps=steps,
        optimiser=_train.optimiser(rate, 1e-3),
        validation={"rows": validate, "scaling": network.scaling},
        validation_loss=_train.validation_pinball,
        chunk=min(100, steps),
        progress=progress,
    )
    network = eqx.tree_at(lambda n: n.heads, network, result.parameters)
    held_out = _calibrate.DataSets(calibrate.features[:, None], calibrate.information)
    return MIST(_calibrate.calibrated(network, [held_out]), ranks=mist.ranks)


def _read(mist: MIST, draw: Draw, keys) -> tuple[Float[Array, "m F"], Float[Array, " m"]]:
    """Features and information of a data set for each key."""
    x, y, _ = jax.eval_shape(draw, keys[0])
    if x.ndim != 2 or y.ndim != 2 or x.shape[0] > ROWS[-1]:
        raise ValueError(
            f"draw must give an x of shape (n, dx) and a y of shape (n, dy) with n at most "
            f"{ROWS[-1]}; got shapes {x.shape} and {y.shape}"
        )
    # What the estimator refuses to be asked about it cannot learn either.
    jax.eval_shape(lambda key: mist.estimate(*draw(key)[:2]), keys[0])
    count, columns = jnp.asarray(x.shape[0]), jnp.array([x.shape[1], y.shape[1]])

    @jax.jit
    def all_of(keys):
        def one(key):
            x, y, information = draw(key)
            read = features(x.astype(jnp.float32), y.astype(jnp.float32), count, columns)
            return read, jnp.asarray(information, jnp.float32)

        return jax.lax.map(one, keys)

    return all_of(keys)
