"""How rows lie on devices: a mesh and the axis of it over which they are split."""

import dataclasses
from collections.abc import Callable

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

AXIS = "rows"


@dataclasses.dataclass(frozen=True)
class Layout:
    """A mesh and one of its axes: rows are split over that axis, all else is on every device.

    Attributes:
        mesh: the devices.
        axis: the name of the axis.
    """

    mesh: Mesh
    axis: str

    @property
    def devices(self) -> int:
        """Over how many parts the rows are split."""
        return self.mesh.shape[self.axis]

    @property
    def split(self) -> PartitionSpec:
        """The spec of arrays whose rows are split."""
        return PartitionSpec(self.axis)

    @property
    def whole(self) -> PartitionSpec:
        """The spec of arrays that every device has."""
        return PartitionSpec()

    @property
    def sharding(self) -> NamedSharding:
        """Where arrays whose rows are split lie."""
        return NamedSharding(self.mesh, self.split)

    def run(self, function: Callable, rows, others, out_specs, *, check: bool = True):
        """`function(rows, others)` on every device, with the rows that lie there.

        What it sums over rows it finishes by a collective over `axis`: nothing is left to the
        partitioner, which would gather the rows of a blocked sum.

        Args:
            function: of this device's part of `rows`, and all of `others`.
            rows: a pytree of arrays whose first axis is split.
            others: a pytree of arrays that every device has.
            out_specs: what lies where in the result: `split`, `whole`, or a pytree of them.
            check: whether JAX tracks what differs between devices.
        """
        run = jax.shard_map(
            function,
            mesh=self.mesh,
            in_specs=(self.split, self.whole),
            out_specs=out_specs,
            check_vma=check,
        )
        return run(rows, others)


def mesh(devices=None) -> Mesh:
    """A mesh of one axis, `"rows"`, over the devices of all processes.

    Args:
        devices: which ones; None means `jax.devices()`, every one there is.

    Example:
        >>> from estimators import sharding
        >>> sharding.mesh().axis_names
        ('rows',)
    """
    devices = np.asarray(jax.devices() if devices is None else devices)
    if devices.ndim != 1 or devices.size == 0:
        raise ValueError(
            f"devices must be a list of at least one device; got an array of shape {devices.shape}"
        )
    return Mesh(devices, (AXIS,), axis_types=(AxisType.Auto,))


def as_layout(name: str, mesh, axis: str | None) -> Layout:
    """Check a mesh, and which axis of it splits the rows."""
    if not isinstance(mesh, Mesh):
        raise ValueError(
            f"{name} must be a jax.sharding.Mesh, such as sharding.mesh(); got "
            f"{type(mesh).__name__}"
        )
    if axis is None and len(mesh.axis_names) != 1:
        raise ValueError(
            f"axis must say which of the mesh's axes {mesh.axis_names} splits the rows; got None"
        )
    axis = str(mesh.axis_names[0]) if axis is None else axis
    if axis not in mesh.axis_names:
        raise ValueError(f"axis must be one of the mesh's axes {mesh.axis_names}; got {axis!r}")
    # Over an axis of explicit type every operation outside `shard_map` would need a sharding.
    types = (AxisType.Auto,) * len(mesh.axis_names)
    return Layout(Mesh(mesh.devices, mesh.axis_names, axis_types=types), axis)
