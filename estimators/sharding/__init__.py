"""The same estimators over many devices, in one process or many; and on more than memory holds.

    rows = sharding.split(points)            # over all devices; in many processes, each its own
    fitted = density.KDE("scott").fit(rows)  # the same numbers, each device its own rows

Where an estimator takes `Rows` it runs by `jax.shard_map`, with the collectives written out:
nothing is left to the automatic partitioner, which would gather the rows of a blocked sum.

| name | what it is |
|---|---|
| `mesh` | a mesh of one axis over the devices of all processes |
| `split` | lays rows out over a mesh, and fills up what is uneven |
| `Rows`, `Placement`, `Layout` | rows that are split, which is where, over what |
| `whole`, `values_like` | for estimators: `Rows` gathered; one number a row, checked |
| `processes` | run a block as one of many processes |
| `around` | all pairs of rows of a mesh, the rows going round a ring |
| `on_any_process` | what the processes of a run agree on |
| `Blocks` | rows on disk, or made as they are asked for, a block at a time |
"""

from estimators.sharding._agree import on_any_process
from estimators.sharding._blocks import Blocks
from estimators.sharding._layout import Layout, mesh
from estimators.sharding._processes import processes
from estimators.sharding._ring import around
from estimators.sharding._rows import Placement, Rows, split, values_like, whole

__all__ = [
    "Blocks",
    "Layout",
    "Placement",
    "Rows",
    "around",
    "mesh",
    "on_any_process",
    "processes",
    "split",
    "values_like",
    "whole",
]
