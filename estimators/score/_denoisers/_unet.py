"""A network for small images: convolutions at two or more scales, with skips between them."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from estimators._core import Stored, checks
from estimators.score._denoisers._networks import FREQUENCIES, features, silent

_TIME = 32


class Block(Stored):
    """Two 3 x 3 convolutions about the noise level, with a skip."""

    first: eqx.nn.Conv2d
    second: eqx.nn.Conv2d
    of_time: eqx.nn.Linear
    skip: eqx.nn.Conv2d

    def __init__(self, inputs: int, outputs: int, key: Key[Array, ""]):
        keys = jax.random.split(key, 4)
        self.first = eqx.nn.Conv2d(inputs, outputs, 3, padding=1, key=keys[0])
        self.second = eqx.nn.Conv2d(outputs, outputs, 3, padding=1, key=keys[1])
        self.of_time = eqx.nn.Linear(_TIME, outputs, key=keys[2])
        self.skip = eqx.nn.Conv2d(inputs, outputs, 1, key=keys[3])

    def __call__(
        self, image: Float[Array, "inputs h w"], time: Float[Array, " time"]
    ) -> Float[Array, "outputs h w"]:
        """One image."""
        hidden = self.first(jax.nn.silu(_normalised(image))) + self.of_time(time)[:, None, None]
        return self.skip(image) + self.second(jax.nn.silu(_normalised(hidden)))


class UNet(Stored):
    """A small U-Net for images that are flattened to rows, channels first.

    Called with `(inputs (m, channels * height * width), times (m,))`.

    Args:
        shape: `(channels, height, width)`; height and width divisible by two to the number of
            widths less one.
        widths: channels at each scale, the finest first.
        key: for the weights.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from estimators import score
        >>> network = score.UNet((1, 8, 8), widths=(8, 16), key=jax.random.key(0))
        >>> print(network(jnp.ones((2, 64)), jnp.zeros(2)).shape)
        (2, 64)

    Reference: Ronneberger, Fischer & Brox, U-Net (2015); Ho, Jain & Abbeel 2020.
    """

    into: eqx.nn.Conv2d
    down: tuple[Block, ...]
    middle: Block
    up: tuple[Block, ...]
    out: eqx.nn.Conv2d
    of_time: eqx.nn.Linear
    shape: tuple[int, int, int] = eqx.field(static=True)

    def __init__(
        self,
        shape: tuple[int, int, int],
        *,
        widths: tuple[int, ...] = (32, 64),
        key: Key[Array, ""],
    ):
        if not widths:
            raise ValueError("widths must name the channels of at least one scale; got ()")
        channels, height, width = shape
        factor = 2 ** (len(widths) - 1)
        if height % factor or width % factor:
            raise ValueError(
                f"shape must have a height and width divisible by {factor} for {len(widths)} "
                f"widths; got {shape}"
            )
        keys = iter(jax.random.split(checks.as_key(key), 2 * len(widths) + 4))
        self.shape = channels, height, width
        self.into = eqx.nn.Conv2d(channels, widths[0], 3, padding=1, key=next(keys))
        before = (widths[0], *widths[:-1])
        self.down = tuple(Block(a, b, next(keys)) for a, b in zip(before, widths, strict=True))
        self.middle = Block(widths[-1], widths[-1], next(keys))
        after = (widths[-1], *widths[:0:-1])
        self.up = tuple(
            Block(a + b, b, next(keys)) for a, b in zip(after, widths[::-1], strict=True)
        )
        self.out = silent(eqx.nn.Conv2d(widths[0], channels, 3, padding=1, key=next(keys)))
        self.of_time = eqx.nn.Linear(2 * FREQUENCIES, _TIME, key=next(keys))

    def __call__(
        self, inputs: Float[Array, "m d"], times: Float[Array, " m"]
    ) -> Float[Array, "m d"]:
        """The network at each row."""
        time = jax.nn.silu(jax.vmap(self.of_time)(features(times)))
        images = inputs.reshape(-1, *self.shape)
        return jax.vmap(self._one)(images, time).reshape(inputs.shape)

    def _one(self, image, time):
        hidden = self.into(image)
        kept = []
        for level, block in enumerate(self.down):
            hidden = block(_halved(hidden) if level else hidden, time)
            kept.append(hidden)
        hidden = self.middle(hidden, time)
        for level, block in enumerate(self.up):
            hidden = _doubled(hidden) if level else hidden
            hidden = block(jnp.concatenate([hidden, kept.pop()]), time)
        return self.out(jax.nn.silu(_normalised(hidden)))


def _halved(image):
    """Means of 2 x 2 pixels."""
    channels, height, width = image.shape
    return image.reshape(channels, height // 2, 2, width // 2, 2).mean((2, 4))


def _doubled(image):
    return jnp.repeat(jnp.repeat(image, 2, axis=1), 2, axis=2)


def _normalised(image):
    """One mean and one variance an image, over all channels (group normalisation of one)."""
    centred = image - jnp.mean(image)
    return centred * jax.lax.rsqrt(jnp.mean(centred**2) + 1e-6)
