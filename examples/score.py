"""Which way is up-hill at noise level sigma, and from which noise on does a Gaussian know it?

Data of two clusters in eight dimensions. Compares two scores with the true one on fresh noised
rows: the Gaussian approximation, and the empirical score, which is that of a kernel density
whose bandwidth is sigma. Then carries noise to lower noise by the closed-form transport.

Run: python examples/score.py
"""

import jax
import jax.numpy as jnp

from estimators import density, score

D, CENTRE = 8, 2.0  # the first coordinate is +-CENTRE, plus unit noise everywhere


def sample(n, key):
    """Draw from the two clusters."""
    of_sign, of_noise = jax.random.split(key)
    sign = jax.random.rademacher(of_sign, (n,), jnp.float32)
    return jax.random.normal(of_noise, (n, D)).at[:, 0].add(CENTRE * sign)


def true_score(x, sigma):
    """Score of the two clusters after noise of standard deviation sigma."""
    variance = 1 + sigma**2
    pull = CENTRE * jnp.tanh(CENTRE * x[:, 0] / variance)
    return (-x).at[:, 0].add(pull) / variance


points = sample(1000, jax.random.key(0))
gaussian = score.Gaussian().fit(points)
results = {}
print("squared error over squared norm of the true score, on 2000 fresh rows\n")
print("sigma    Gaussian              empirical")
for sigma in (0.3, 0.5, 1.0, 2.0, 4.0):
    noise = sigma * jax.random.normal(jax.random.key(2), (2000, D))
    x = sample(2000, jax.random.key(1)) + noise
    truth = true_score(x, sigma)
    empirical = density.KDE(bandwidth=sigma).fit(points)
    line = f"{sigma:<5}"
    for name, estimate in (("Gaussian", gaussian.score(x, sigma)), ("KDE", empirical.score(x))):
        of_rows = jnp.sum((estimate - truth) ** 2, -1) / jnp.mean(jnp.sum(truth**2, -1))
        error = jnp.std(of_rows) / jnp.sqrt(2000.0)
        results[name, sigma] = float(of_rows.mean())
        line += f"   {of_rows.mean():8.5f} ± {error:.5f}"
    print(line)

start = 80.0 * jax.random.normal(jax.random.key(3), (2000, D))
landed = gaussian.transport(start, from_sigma=80.0, to_sigma=2.0)
back = gaussian.transport(landed, from_sigma=2.0, to_sigma=80.0)
results["return"] = float(jnp.max(jnp.abs(back - start)))
results["spread"] = float(jnp.std(landed[:, 1]))
print(
    f"\nTransport from sigma = 80 to 2 in one step: spread of the second coordinate "
    f"{results['spread']:.2f} ± {results['spread'] / 4000**0.5:.2f} (truth {5**0.5:.2f});"
)
print(f"and back again, exact to {results['return']:.0e}.")
