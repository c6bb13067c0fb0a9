"""The architecture of the MIST paper: attention over the samples of a raw data set.

From its description (Gritsai et al. 2025, arXiv 2511.18945, and the released hyper-parameters):
rows [x, y] are embedded, attend to each other, are condensed by inducing points, and are pooled;
the level of the quantile joins the pooled vector. It is here to be trained and compared: it sees
neither ranks nor which columns are x's, and its answer depends on the order and scale of columns.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from estimators.information._mist._network import LEVELS


class Attention(eqx.Module):
    """One block: queries attend to keys, then a feed-forward layer; both with residuals."""

    attention: eqx.nn.MultiheadAttention
    forward: eqx.nn.MLP
    norms: tuple[eqx.nn.LayerNorm, eqx.nn.LayerNorm]
    dropout: eqx.nn.Dropout

    def __init__(self, width: int, heads: int, inner: int, dropout: float, *, key):
        first, second = jax.random.split(key)
        self.attention = eqx.nn.MultiheadAttention(heads, width, key=first)
        self.forward = eqx.nn.MLP(width, width, inner, 1, jax.nn.gelu, key=second)
        self.norms = eqx.nn.LayerNorm(width), eqx.nn.LayerNorm(width)
        self.dropout = eqx.nn.Dropout(dropout)

    def __call__(self, queries, rows, real, key):
        """`queries (m, width)` attend to those of `rows (n, width)` that are `real (n,)`."""
        mask = jnp.broadcast_to(real[None], (queries.shape[0], rows.shape[0]))
        keys = (None, None) if key is None else jax.random.split(key)
        off = key is None
        seen = self.attention(queries, rows, rows, mask)
        value = jax.vmap(self.norms[0])(queries + self.dropout(seen, key=keys[0], inference=off))
        moved = jax.vmap(self.forward)(value)
        return jax.vmap(self.norms[1])(value + self.dropout(moved, key=keys[1], inference=off))


class SetTransformer(eqx.Module):
    """Quantiles of the information from the rows themselves; the defaults are the paper's.

    Args:
        key: draws the initial weights.
        columns: x and y together are filled up to this many.
        width: of the embedding.
        heads: of every attention.
        full: blocks in which all rows attend to all rows.
        induced: blocks through inducing points.
        inducing: how many of these.
        seeds: vectors that pool the rows.
        dropout: probability, in training.
    """

    embed: tuple[eqx.nn.Linear, eqx.nn.Linear]
    norm: eqx.nn.LayerNorm
    full: list[Attention]
    induced: list[tuple[Attention, Attention]]
    points: list[Array]
    seeds: Array
    pool: list[Attention]
    last: Array
    head: eqx.nn.MLP
    columns: int = eqx.field(static=True)

    def __init__(
        self, *, key: Key[Array, ""], columns: int = 64, width: int = 256, heads: int = 16,
        full: int = 2, induced: int = 2, inducing: int = 32, seeds: int = 10, dropout: float = 0.1,
    ):  # fmt: skip
        keys = iter(jax.random.split(key, 16 + full + 3 * induced))
        self.columns = columns
        self.embed = (
            eqx.nn.Linear(columns, 2 * width, key=next(keys)),
            eqx.nn.Linear(2 * width, width, key=next(keys)),
        )
        self.norm = eqx.nn.LayerNorm(width)

        def block(inner=width):
            return Attention(width, heads, inner, dropout, key=next(keys))

        def vectors(count):
            return jax.random.normal(next(keys), (count, width)) / width**0.5

        self.full = [block() for _ in range(full)]
        self.induced = [(block(4 * width), block(4 * width)) for _ in range(induced)]
        self.points = [vectors(inducing) for _ in range(induced)]
        self.seeds, self.last = vectors(seeds), vectors(1)
        self.pool = [block() for _ in range(3)]
        self.head = eqx.nn.MLP(width + 1, "scalar", width, 3, key=next(keys))

    def __call__(
        self,
        rows: Float[Array, "n columns"],
        real: Float[Array, " n"],
        levels: Float[Array, " levels"] | None = None,
        key: Key[Array, ""] | None = None,
    ) -> Float[Array, " levels"]:
        """Information in nats at each level; with a key, with dropout.

        Nothing keeps the quantiles of this architecture from crossing: they are sorted.
        """
        real = real > 0
        levels = jnp.asarray(LEVELS, rows.dtype) if levels is None else levels
        keys = [None] * 16 if key is None else list(jax.random.split(key, 16))
        first, second = self.embed
        value = jax.vmap(lambda r: second(jax.nn.gelu(first(r))))(rows)
        value = jax.vmap(self.norm)(value)
        for block in self.full:
            value = block(value, value, real, keys.pop())
        for (gather, spread), points in zip(self.induced, self.points, strict=True):
            everything = jnp.ones(points.shape[0], bool)
            summary = gather(points, value, real, keys.pop())
            value = spread(value, summary, everything, keys.pop())
        pooled = self.pool[0](self.seeds, value, real, keys.pop())
        everything = jnp.ones(pooled.shape[0], bool)
        pooled = self.pool[1](pooled, pooled, everything, keys.pop())
        pooled = self.pool[2](self.last, pooled, everything, keys.pop())[0]
        values = jax.vmap(lambda level: self.head(jnp.append(pooled, level)))(levels)
        return values if levels.shape[0] == 1 else jnp.sort(values)


def side_by_side(x, y, columns, width: int):
    """Rows [x, y] without a gap, filled up to `width` columns with zeros: `(n, width)`."""
    gap = jnp.zeros((x.shape[0], max(0, width - x.shape[1] - y.shape[1])), x.dtype)
    joined = jnp.concatenate([x, y, gap], 1)
    # y starts where the columns of x in use end.
    place = jnp.arange(joined.shape[1])
    source = jnp.where(place < columns[0], place, place + x.shape[1] - columns[0])
    taken = jnp.take(joined, jnp.minimum(source, joined.shape[1] - 1), axis=1)
    return jnp.where((place < columns[0] + columns[1])[None], taken, 0)[:, :width]


def streaming_loss(rows: int, width: int, batch: int):
    """Pinball loss of fresh data sets at one random level each: for `training.minimise`."""
    from estimators.information._mist._generator import draw

    def loss(network, data, key):
        simulate, level, drop = jax.random.split(key, 3)
        sets = jax.lax.map(lambda k: draw(k, rows, width), jax.random.split(simulate, batch))
        levels = jax.random.uniform(level, (batch,), minval=0.01, maxval=0.99)

        def one(s, level, key):
            joined = side_by_side(s.x, s.y, s.columns, network.columns)
            real = (jnp.arange(rows) < s.count).astype(joined.dtype)
            predicted = network(joined * real[:, None], real, level[None], key)[0]
            error = s.information - predicted
            return jnp.maximum(level * error, (level - 1) * error)

        return jnp.mean(jax.vmap(one)(sets, levels, jax.random.split(drop, batch)))

    return loss
