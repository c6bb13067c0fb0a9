"""Whether methods keep what their guarantees promise, on simulated data: rows of a table."""

import jax
import jax.numpy as jnp
import numpy as np

REPLICATES = 4000


def judge(title, methods, replicates=REPLICATES, batch=500):
    """Print a table of coverage, and return the names of methods that break their promise.

    A method takes a key, simulates calibration rows and one new row, and returns the calibrated
    object, which has a guarantee, and whether the new outcome was covered. Broken means: covered
    less than three Monte-Carlo standard errors below the promise, or, where it is exact, as far
    above. A method that is exact fails by chance with probability .003, another with .001; keys
    are fixed. What is only asymptotic, or holds for weights that are not estimated, is shown and
    not judged.
    """
    print(f"\n**{title}**\n\n| method | promised | covered | error |\n|---|---|---|---|")
    broken = []
    for name, method in methods.items():
        guarantee = method(jax.random.key(1))[0].guarantee
        keys = jax.random.split(jax.random.key(2), replicates)
        hit = jax.lax.map(lambda key, method=method: method(key)[1], keys, batch_size=batch)
        covered = float(jnp.mean(hit.astype(float)))
        error = np.sqrt(covered * (1 - covered) / replicates)
        words, far = f"near {guarantee.coverage:g}", False
        if guarantee.kind != "asymptotic" and "estimated" not in name:
            exact = guarantee.kind == "exact"
            words = f"{'' if exact else 'at least '}{guarantee.at_least:.4f}"
            gap = covered - guarantee.at_least
            far = gap < -3 * error or (exact and gap > 3 * error)
        print(f"| {name} | {words} | {covered:.4f} | {error:.4f} |", flush=True)
        if far:
            broken.append(name)
    return broken
