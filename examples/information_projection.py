"""Learn the projection of eight columns that tells most about a variable.

The eight columns hide one direction u whose *square* drives y: no linear method sees it, and no
column does on its own. `MIST(ranks="soft")` has a derivative with respect to the data, so the
information of a projection can be maximised by gradient ascent. What is reported at the end comes
from rows that had no part in it.

Run: python examples/information_projection.py
"""

import jax
import jax.numpy as jnp
import optax

from estimators import information, training

keys = jax.random.split(jax.random.key(0), 4)
hidden = jax.random.normal(keys[0], (8,))
hidden = hidden / jnp.linalg.norm(hidden)
points = jax.random.normal(keys[1], (1000, 8))
y = ((points @ hidden) ** 2 + 0.3 * jax.random.normal(keys[2], (1000,)))[:, None]
train, held_out = slice(0, 500), slice(500, None)

objective = information.MIST(ranks="soft")


def loss(direction, data, key):
    """Minus the information of the projection, on a random part of the rows."""
    rows = jax.random.permutation(key, data["points"].shape[0])[:256]
    projected = data["points"][rows] @ (direction / jnp.linalg.norm(direction))
    estimate = data["objective"].estimate(projected[:, None], data["y"][rows])
    return -estimate.value


data = {"points": points[train], "y": y[train], "objective": objective}
starts = jax.random.normal(keys[3], (4, 8))
results = [
    training.minimise(
        loss, start, data, key=jax.random.key(1), steps=150, optimiser=optax.adam(0.05), chunk=50
    )
    for start in starts
]
# Gradient ascent may end on a hill that is not the highest: the training rows choose the start.
directions = [r.parameters / jnp.linalg.norm(r.parameters) for r in results]
mist = information.MIST()
best = max(
    directions, key=lambda d: float(mist.estimate(points[train] @ d[:, None], y[train]).value)
)

results = {"cosine": abs(float(best @ hidden))}
print("information with y, nats, on 500 rows that had no part in the search; 90 % interval")
for name, direction in (
    ("the best single column", None),
    ("the learned projection", best),
    ("the hidden direction", hidden),
):
    if direction is None:
        values = [float(mist.estimate(points[train][:, [j]], y[train]).value) for j in range(8)]
        projected = points[held_out][:, [int(jnp.argmax(jnp.array(values)))]]
    else:
        projected = points[held_out] @ direction[:, None]
    estimate = mist.estimate(projected, y[held_out])
    lower, upper = estimate.interval(0.9)
    results[name] = estimate
    print(f"  {name:<24} {estimate.value:.2f}  [{lower:.2f}, {upper:.2f}]")
print(f"cosine between the learned and the hidden direction: {results['cosine']:.2f}")
