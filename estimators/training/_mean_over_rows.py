"""A loss that is a mean over rows, on one device or shared out over a mesh."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PyTree

from estimators._core import checks
from estimators.sharding import Rows
from estimators.training._batch import rows_of


@dataclasses.dataclass(frozen=True)
class MeanOverRows:
    """The loss that `mean_over_rows` returns; equal where the loss of a row and the size are.

    Attributes:
        loss: of the parameters, one row and its key.
        size: rows drawn for a step; None takes all.
    """

    loss: Callable
    size: int | None

    def __call__(self, parameters: PyTree, data: PyTree, key: Key[Array, ""]) -> Float[Array, ""]:
        """The mean over the rows drawn of `data`, arrays or `sharding.Rows`."""
        of_rows, of_noise = jax.random.split(key)
        if isinstance(data, Rows):
            return _over_mesh(self, parameters, data, of_rows, of_noise)
        n = rows_of(data)
        number = jnp.arange(n)
        if self.size is not None:
            number = jax.random.randint(of_rows, (self.size,), 0, n)
            data = jax.tree.map(lambda leaf: leaf[number], data)
        return jnp.mean(self.of_each(parameters, data, of_noise, jnp.arange(number.size)))

    def of_each(self, parameters, rows, key, place) -> Float[Array, " rows"]:
        """The loss of each row; its key is that of its place in the batch."""

        def one(row, place):
            return self.loss(parameters, row, jax.random.fold_in(key, place))

        return jax.vmap(one)(rows, place)


def mean_over_rows(loss: Callable, size: int | None = None) -> MeanOverRows:
    """A loss for `minimise` that is the mean of `loss(parameters, row, key)` over rows.

    The same on any number of devices: each row has a key of its own, and where `data` are
    `sharding.Rows` the step draws the very rows that it would draw on one device. They are
    brought to where they are needed by one reduce-scatter of a batch; each device takes the
    gradient of its share, and one all-reduce adds them up. Parameters are on every device.

    Args:
        loss: a pure function of the parameters, one row (the pytree of the data, without its
            first axis) and a key. Pass the same function object again to reuse its program.
        size: how many rows a step draws, with replacement; None takes all rows, in order.

    Returns:
        A function of parameters, data and key. Two of the same loss and size are equal.

    Raises:
        ValueError: for a loss that is not callable, or a size below one.

    Example:
        >>> import jax, jax.numpy as jnp, optax
        >>> from estimators import sharding, training
        >>> def loss(slope, row, key):
        ...     return (row["y"] - slope * row["x"]) ** 2
        >>> x = jnp.arange(101.0) / 100
        >>> result = training.minimise(
        ...     training.mean_over_rows(loss, 32),
        ...     jnp.zeros(()),
        ...     sharding.split({"x": x, "y": 3 * x}),  # over all devices there are
        ...     key=jax.random.key(0),
        ...     steps=300,
        ...     optimiser=optax.adam(0.1),
        ... )
        >>> print(result.status, f"{result.parameters:.2f}")
        finished 3.00

    When it fails: a loss that compares rows with each other (a batch normalisation, a
    contrastive bound) is no mean over rows.
    """
    if not callable(loss):
        raise ValueError(f"loss must be a function (parameters, row, key); got {loss!r}")
    if size is not None:
        size = checks.integer("size", size, at_least=1)
    return MeanOverRows(loss, size)


def _over_mesh(mean: MeanOverRows, parameters, data: Rows, of_rows, of_noise):
    placement, layout = data.placement, data.layout
    n, size = placement.count, mean.size

    def all_rows(mine, others):
        values, number = mine
        losses = mean.of_each(others[0], values, of_noise, number)
        return jax.lax.psum(jnp.sum(jnp.where(number >= 0, losses, 0)), layout.axis) / n

    def batch(mine, others):
        values, number = mine
        parameters, drawn = others
        # A device has consecutive rows: the place of one is its number less the first.
        place = drawn - number[0]
        here = (number[0] >= 0) & (place >= 0) & (place < number.size)
        place = jnp.where(here, place, 0)
        here = here & (number[place] == drawn)

        def deliver(leaf):
            mask = here.reshape(-1, *(1 for _ in leaf.shape[1:]))
            sent = jnp.where(mask, leaf[place], jnp.zeros((), leaf.dtype))
            if leaf.dtype == bool:
                return deliver_numbers(sent.astype(jnp.uint8)).astype(bool)
            return deliver_numbers(sent)

        def deliver_numbers(sent):
            return jax.lax.psum_scatter(sent, layout.axis, tiled=True)

        rows = jax.tree.map(deliver, values)
        share = drawn.size // layout.devices
        places = jax.lax.axis_index(layout.axis) * share + jnp.arange(share)
        losses = mean.of_each(parameters, rows, of_noise, places)
        return jax.lax.psum(jnp.sum(jnp.where(places < size, losses, 0)), layout.axis) / size

    mine = data.values, placement.number
    # The loss is the user's: its loops may start from constants, which the check would refuse.
    if size is None:
        return layout.run(all_rows, mine, (parameters, None), layout.whole, check=False)
    drawn = jax.random.randint(of_rows, (size,), 0, n)
    drawn = jnp.pad(drawn, (0, -size % layout.devices))
    return layout.run(batch, mine, (parameters, drawn), layout.whole, check=False)
