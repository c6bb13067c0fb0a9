"""Points sorted into cells: boxes of equally many points, of which each holds a random order.

A balanced k-d tree, cut at the median of the widest column down to cells of some hundred
points. A box bounds from above what its points can add to a kernel sum, and any first few of
its points are a uniform sample of it: near cells can be summed, far ones bounded or sampled.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from estimators._core import Stored
from estimators._core._log_sum_exp import PointBlocks


class Cells(Stored):
    """Weighted points in `cells` boxes of `size` points each.

    Attributes:
        points: `(cells, size, d)`, in random order inside a cell.
        log_weights: `(cells, size)`; -inf at the rows that fill up the cells, each of which is
            a copy of a point.
        precision: `(cells, size)`, one over the squared width of each kernel; None where all
            are one.
        lower: `(cells, d)`, the lowest corner of each box.
        upper: `(cells, d)`, the highest.
        column: `(cells - 1,)`, the column that each node of the tree cuts, in heap order.
        cut: `(cells - 1,)`, where it cuts.
    """

    points: Float[Array, "cells size d"]
    log_weights: Float[Array, "cells size"]
    precision: Float[Array, "cells size"] | None
    lower: Float[Array, "cells d"]
    upper: Float[Array, "cells d"]
    column: Int[Array, " nodes"]
    cut: Float[Array, " nodes"]

    @classmethod
    def of(cls, points, log_weights, precision, key: Key[Array, ""], *, at_most: int) -> "Cells":
        """Sort `(n, d)` points into a power of two of cells of at most `at_most` points.

        The size of a cell is a multiple of 8.
        """
        n = points.shape[0]
        depth = max(0, (-(-n // at_most) - 1).bit_length())
        size = -(-n // (8 * 2**depth)) * 8
        row = jnp.arange(size * 2**depth)
        log_weights = jnp.where(row < n, log_weights[row % n], -jnp.inf)
        index, columns, cuts = row[None], [], []
        for _ in range(depth):
            inside = points[index % n]
            column = jnp.argmax(jnp.max(inside, 1) - jnp.min(inside, 1), -1)
            along = jnp.take_along_axis(inside, column[:, None, None], -1)[..., 0]
            order = jnp.argsort(along, -1)
            along = jnp.take_along_axis(along, order, -1)
            half = along.shape[1] // 2
            columns.append(column)
            cuts.append(0.5 * (along[:, half - 1] + along[:, half]))
            index = jnp.take_along_axis(index, order, -1).reshape(-1, half)
        shuffled = jnp.argsort(jax.random.uniform(key, index.shape), -1)
        index = jnp.take_along_axis(index, shuffled, -1)
        inside = points[index % n]
        return cls(
            inside,
            log_weights[index],
            None if precision is None else precision[index % n],
            jnp.min(inside, 1),
            jnp.max(inside, 1),
            jnp.concatenate([jnp.zeros(0, jnp.int32), *columns]).astype(jnp.int32),
            jnp.concatenate([jnp.zeros(0, points.dtype), *cuts]),
        )

    @property
    def blocks(self) -> PointBlocks:
        """The cells as blocks of the streaming log-sum-exp."""
        return PointBlocks(self.points, self.log_weights, None, self.precision)

    def find(self, queries: Float[Array, "m d"]) -> Int[Array, " m"]:
        """The cell on whose side of every cut each query lies."""
        cells = self.points.shape[0]
        node = jnp.zeros(queries.shape[0], jnp.int32)
        for _ in range(cells.bit_length() - 1):
            along = jnp.take_along_axis(queries, self.column[node][:, None], -1)[:, 0]
            node = 2 * node + 1 + (along > self.cut[node])
        return node - (cells - 1)

    def log_bounds(
        self, queries: Float[Array, "m d"]
    ) -> tuple[Float[Array, "m cells"], Float[Array, "m cells"]]:
        """Upper bounds of the log of what each cell, and any one point of it, can add."""

        def one_column(squares, column):
            lower, upper, along = column
            outside = jnp.maximum(lower[None] - along[:, None], along[:, None] - upper[None])
            return squares + jnp.maximum(outside, 0) ** 2, None

        # A column at a time: summed over a short last axis it would take five times as long.
        columns = self.lower.T, self.upper.T, queries.T
        zeros = 0 * (queries[:, :1] + self.lower[:, 0][None])
        squares, _ = jax.lax.scan(one_column, zeros, columns)
        if self.precision is not None:
            squares = squares * jnp.min(self.precision, -1)[None]
        of_cell = jax.nn.logsumexp(self.log_weights, -1)
        of_point = jnp.max(self.log_weights, -1)
        return of_cell[None] - 0.5 * squares, of_point[None] - 0.5 * squares
