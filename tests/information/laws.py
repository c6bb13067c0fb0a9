"""Laws with known mutual information: `LAWS[name] = (nats, sample(key, n) -> x, y)`."""

import jax
import numpy as np


def normal(rho, d=1):
    def sample(key, n):
        x, noise = jax.random.normal(key, (2, n, d))
        return x, rho * x + np.sqrt(1 - rho**2) * noise

    return -0.5 * d * np.log(1 - rho**2), sample


def crossed(key, n):
    draws, signs = jax.random.split(key)
    x, noise = jax.random.normal(draws, (2, n, 1))
    sign = jax.random.rademacher(signs, (n, 1), x.dtype)
    return x, 0.9 * sign * x + np.sqrt(1 - 0.81) * noise


def additive(key, n):
    x, noise = jax.random.uniform(key, (2, n, 1))
    return x, x + 0.75 * (2 * noise - 1)


def student(key, n):
    draws, scales = jax.random.split(key)
    x, y = jax.random.normal(draws, (2, n, 2))
    scale = jax.random.exponential(scales, (n, 1)) ** -0.5
    return x * scale, y * scale


LAWS = {
    "normal 1x1, rho = 0": normal(0.0),
    "normal 1x1, rho = 0.3": normal(0.3),
    "normal 1x1, rho = 0.5": normal(0.5),
    "normal 1x1, rho = 0.75": normal(0.75),
    "normal 1x1, rho = 0.9": normal(0.9),
    "normal 1x1, rho = 0.95": normal(0.95),
    "normal 3x3, rho = 0.5": normal(0.5, 3),
    "mixture of rho = +-0.9": (0.4088, crossed),
    "uniform + 0.75 uniform": (1 / 3, additive),
    "Student 2x2, 2 df": (0.1931, student),
}
