"""Rows over a mesh: `split` lays them out, estimators take them in place of an array."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, PyTree

from estimators._core import checks
from estimators._core._collect import Part
from estimators.sharding._layout import Layout, as_layout
from estimators.sharding._layout import mesh as all_devices


class Placement(eqx.Module):
    """Where each of many rows lies: on which device, and which one it is.

    Attributes:
        number: `(N,)`, the number of each row, from 0; -1 for one that only fills up.
        count: how many rows are real.
        layout: the mesh, and the axis of it over which they are split.
    """

    number: Int[Array, " N"]
    count: int = eqx.field(static=True)
    layout: Layout = eqx.field(static=True)

    @property
    def present(self) -> Bool[Array, " N"]:
        """Which rows are real."""
        return self.number >= 0

    def part(self, number: Int[Array, " n"]) -> Part:
        """For kernels inside `shard_map`: the rows of this device are these of all."""
        return Part(number, self.count, self.layout.axis)


class Rows(eqx.Module):
    """Rows of an array, or of several, split over the devices of a mesh; made by `split`.

    Estimators that say so take it where they take an array. Devices hold equally many rows; what
    is missing to that is filled up with copies of a row, which no estimator counts. A pytree: it
    passes through `jax.jit`.

    Attributes:
        values: an array `(N, ...)`, or a pytree of such, split over the first axis.
        placement: which of them are real, and where they lie.
    """

    values: PyTree[Array]
    placement: Placement

    @property
    def layout(self) -> Layout:
        """The mesh, and the axis of it over which the rows are split."""
        return self.placement.layout

    @property
    def shape(self) -> tuple[int, ...]:
        """That of the array without what fills it up."""
        return (self.placement.count, *self._array.shape[1:])

    @property
    def dtype(self):
        """That of the array."""
        return self._array.dtype

    @property
    def _array(self) -> Array:
        if not isinstance(self.values, jax.Array):
            raise ValueError(
                f"Rows of several arrays have no one shape: {jax.tree.structure(self.values)}"
            )
        return self.values

    def gather(self) -> Any:
        """The rows in their order, `(count, ...)`, whole on every device."""
        return _gather(self)


def split(rows: PyTree, mesh: Any = None, *, axis: str | None = None) -> Rows:
    """Split rows over the devices of a mesh.

    In a run of several processes each passes the rows that it has read; they need not be equally
    many. The order is that of the processes.

    Args:
        rows: an array `(n, ...)`, or a pytree of arrays that share their n. Floats become float32
            or float64 as everywhere; whole numbers and booleans stay what they are.
        mesh: a `jax.sharding.Mesh`; None means those of all processes (`sharding.mesh()`).
        axis: which axis of the mesh splits the rows; None where it has only one.

    Raises:
        ValueError: for arrays that differ in their rows, a process without rows, or an axis that
            the mesh does not have.

    Example:
        >>> import jax
        >>> from estimators import density, sharding
        >>> points = jax.random.normal(jax.random.key(0), (1001, 2))
        >>> rows = sharding.split(points)
        >>> fitted = density.KDE("scott").fit(rows)
        >>> bool(abs(fitted.log_density(points[0]) - density.KDE("scott").fit(points).log_density(
        ...     points[0])) < 1e-5)
        True
    """
    layout = as_layout("mesh", all_devices() if mesh is None else mesh, axis)
    leaves, structure = jax.tree.flatten(rows)
    leaves = [_as_rows(leaf) for leaf in leaves]
    sizes = {leaf.shape[0] for leaf in leaves}
    if len(sizes) != 1 or 0 in sizes:
        raise ValueError(
            "rows must be arrays (n, ...) that share their n >= 1 on this process; got shapes "
            f"{[leaf.shape for leaf in leaves]}"
        )
    own = leaves[0].shape[0]
    per_process, counts = _room(own, layout)
    index = np.arange(per_process)
    before = sum(counts[: jax.process_index()])
    number = np.where(index < own, before + index, -1).astype(np.int32)

    def place(leaf):
        return jax.make_array_from_process_local_data(layout.sharding, leaf)

    # Copies of a row that is there: a column that is constant stays so.
    filled = [np.concatenate([a, np.repeat(a[:1], per_process - own, 0)]) for a in leaves]
    values = jax.tree.unflatten(structure, [place(leaf) for leaf in filled])
    return Rows(values, Placement(place(number), int(sum(counts)), layout))


def whole(**variables) -> tuple[tuple, Layout | None]:
    """Each variable whole on every device; and the layout, where they were `Rows`.

    Raises:
        ValueError: if one is `Rows` and another is not, or they are split over other devices.
    """
    layouts = {name: v.layout if isinstance(v, Rows) else None for name, v in variables.items()}
    if len(set(layouts.values())) > 1:
        kinds = ", ".join(f"{name} {type(v).__name__}" for name, v in variables.items())
        raise ValueError(
            f"{' and '.join(variables)} must all be Rows over one mesh, or all arrays; got {kinds}"
            f" over {[layout and layout.mesh.devices.size for layout in layouts.values()]} devices"
        )
    layout = next(iter(layouts.values()))
    arrays = variables.values()
    return tuple(arrays if layout is None else (rows.gather() for rows in arrays)), layout


def values_like(name: str, values, of_name: str, rows: Rows) -> Array:
    """Check that one number a row is split as the rows are, and give its array."""
    if not (
        isinstance(values, Rows)
        and values.layout == rows.layout
        and values.shape == (rows.placement.count,)
        and values.values.shape == rows.values.shape[:1]
    ):
        kind = (
            f"Rows of shape {values.shape}" if isinstance(values, Rows) else type(values).__name__
        )
        raise ValueError(
            f"{name} must be split as {of_name} is: sharding.split({name}, mesh), over the same "
            f"mesh and of shape ({rows.placement.count},); got {kind}"
        )
    return values.values


def _as_rows(leaf) -> np.ndarray:
    array = np.asarray(leaf)
    if array.dtype.kind not in "biu" or not checks.whole_numbers_fit(array):
        array = np.asarray(checks.as_float("rows", leaf))
    if array.ndim == 0:
        raise ValueError(f"rows must be arrays (n, ...); got a number, {array}")
    return array


def _room(own: int, layout: Layout) -> tuple[int, list[int]]:
    """Rows that each process makes room for, and the rows that each has."""
    parts = layout.devices
    if jax.process_count() == 1:
        return -(-own // parts) * parts, [own]
    from jax.experimental import multihost_utils

    if len(layout.mesh.axis_names) > 1:
        raise ValueError(
            "mesh must have one axis where there are several processes; got the axes "
            f"{layout.mesh.axis_names}"
        )
    counts = np.asarray(multihost_utils.process_allgather(np.asarray(own))).ravel().tolist()
    here = parts // jax.process_count()
    return -(-max(counts) // here) * here, counts


@jax.jit
def _gather(rows: Rows):
    def local(mine, _):
        values, number = jax.lax.all_gather(mine, rows.layout.axis, tiled=True)
        real = jnp.nonzero(number >= 0, size=rows.placement.count)[0]
        return jax.tree.map(lambda a: a[real], values)

    layout, mine = rows.layout, (rows.values, rows.placement.number)
    # What was gathered is alike everywhere; the check cannot know that.
    return layout.run(local, mine, (), layout.whole, check=False)
