"""Every row against every row over a mesh, without gathering them: the rows go round.

Each device keeps its own rows and sees those of the others one device at a time, as they are
passed on along a ring. Memory is that of two parts, and each part travels once around.
"""

from collections.abc import Callable

import jax

from estimators.sharding._layout import Layout


def around(function: Callable, merge: Callable, visitors, layout: Layout):
    """Reduce `function(visitors)` by `merge` over the parts of all devices; inside `shard_map`.

    Args:
        function: from the rows of one device to a pytree.
        merge: of two such pytrees; associative up to rounding.
        visitors: this device's rows, a pytree.
        layout: over which devices they are split.
    """
    count = layout.devices
    on = [(device, (device + 1) % count) for device in range(count)]

    def step(carry, _):
        visitors, found = carry
        visitors = jax.lax.ppermute(visitors, layout.axis, on)
        return (visitors, merge(found, function(visitors))), None

    # The first part seeds the carry, which must vary over devices from the start.
    start = visitors, function(visitors)
    return jax.lax.scan(step, start, length=count - 1)[0][1]
