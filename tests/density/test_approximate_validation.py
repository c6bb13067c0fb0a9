"""Do approximate sums keep their error as often as they say? A table for docs/validation.md."""

import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from estimators import density

POINTS, QUERIES, ORDERS = 50_000, 512, 10


def gaussian(key, n, d):
    return jax.random.normal(key, (n, d))


def clusters(key, n, d):
    """Ten Gaussian clusters of width .3; their centres have unit variance."""
    which, noise = jax.random.split(key)
    centres = jax.random.normal(jax.random.key(77), (10, d))
    return centres[jax.random.randint(which, (n,), 0, 10)] + 0.3 * jax.random.normal(noise, (n, d))


def manifold(key, n, d):
    """A Gaussian on a random plane, and noise of width .1 off it."""
    on, off = jax.random.split(key)
    plane = jax.random.normal(jax.random.key(78), (2, d))
    return jax.random.normal(on, (n, 2)) @ plane + 0.1 * jax.random.normal(off, (n, d))


LAWS = [
    ("Gaussian", gaussian, 2),
    ("Gaussian", gaussian, 8),
    ("Gaussian", gaussian, 16),
    ("Gaussian", gaussian, 30),
    ("clusters", clusters, 4),
    ("manifold", manifold, 8),
]


def seconds(call):
    jax.block_until_ready(call())
    taken = []
    for _ in range(5):
        start = time.process_time()
        jax.block_until_ready(call())
        taken.append(time.process_time() - start)
    return statistics.median(taken)


@pytest.mark.validation
def test_error_is_kept_as_often_as_stated():
    """The share of answers outside the error, over ten random orders of the points.

    Of one order the answers are dependent; the worst order's share is printed too. What is
    asserted, a mean below .08 where .05 is stated, leaves room for that dependence; the highest
    mean seen is .0025.
    """
    print("\n| law | d | median m | error | work | sampled | fails | worst order | speed |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, law, d in LAWS:
        of_points, of_queries = jax.random.split(jax.random.key(0))
        points, queries = law(of_points, POINTS, d), law(of_queries, QUERIES, d)
        base = density.KDE("scott").fit(points)
        scott = float(jnp.exp(jnp.mean(jnp.log(jnp.diagonal(base.factor)))))
        for multiple in (0.5, 1.0, 2.0, 4.0):
            fitted = density.KDE(scott * multiple).fit(points)
            exact = np.asarray(fitted.log_density(queries))
            index = float(jnp.median(density.regime(fitted, queries[:100]).stable_index))
            of_exact = seconds(lambda f=fitted, q=queries: f.log_density(q))
            for error in (0.02, 0.1):
                fails, works, shares = [], [], []
                for order in range(ORDERS):
                    fast = density.approximate(fitted, key=jax.random.key(order))
                    got = fast.log_density(queries, relative_error=error)
                    off = np.abs(np.expm1(np.asarray(got.log_density) - exact))
                    fails.append(np.mean(off > error))
                    works.append(float(jnp.mean(got.work)))
                    shares.append(float(jnp.mean(got.sampled)))
                    assert float(got.relative_error.max()) <= error
                ratio = of_exact / seconds(
                    lambda f=fast, q=queries, e=error: f.log_density(q, relative_error=e)
                )
                print(
                    f"| {name} | {d} | {index:.3g} | {error} | {np.mean(works):.2f} "
                    f"| {np.mean(shares):.2f} | {np.mean(fails):.4f} | {np.max(fails):.4f} "
                    f"| {ratio:.1f} |",
                    flush=True,
                )
                assert np.mean(fails) <= 0.08
