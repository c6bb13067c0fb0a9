"""Which way is up-hill at noise level sigma, and from which noise on does a Gaussian know it?

Data of two clusters in eight dimensions. Compares two scores with the true one on fresh noised
rows: the Gaussian approximation, and the empirical score, which is that of a kernel density
whose bandwidth is sigma. Then samples a mixture with and without teleportation: the high noise is
crossed in one step of the Gaussian's closed-form flow, as far down as the certificate allows.

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

model = score.Mixture(2).fit(points, key=jax.random.key(3))
held = score.certificate(gaussian, model, sample(2000, jax.random.key(4)), key=jax.random.key(5))
levels = score.edm_schedule(18)
noise = score.initial_noise(4000, model, levels, key=jax.random.key(6))
fresh = sample(4000, jax.random.key(7))
print("\nsampled by Heun's method; distance to fresh rows of the law")
for name, teleport in (("whole", None), ("skip", score.Teleport(gaussian, certificate=held))):
    result = score.sample(model, noise, levels, teleport=teleport)
    distance = score.sliced_wasserstein(result.samples, fresh, key=jax.random.key(8))
    results[name] = result.evaluations, float(distance.value)
    print(f"{result.evaluations} evaluations: {distance}")
print(result.landing)
