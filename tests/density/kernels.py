"""Sums of Gaussian kernels of unequal widths and weights, as a fit and as scipy sees them."""

import dataclasses

import jax.numpy as jnp
import numpy as np
from scipy import stats
from scipy.special import logsumexp

from estimators import density

KERNEL = np.array([[0.5, 0.2, -0.1], [0.2, 0.4, 0.15], [-0.1, 0.15, 0.9]])


def mixture(d=3, n=40, widths=True, dtype=np.float64):
    """Kernels of unequal widths and weights, as arrays and as a fit."""
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(n, d)) * 2 + 10
    weights = generator.dirichlet(np.ones(n))
    width = generator.uniform(0.5, 2.0, n) if widths else np.ones(n)
    kernel = KERNEL[:d, :d]
    location = weights @ centres
    white = np.linalg.solve(np.linalg.cholesky(kernel), (centres - location).T).T
    fitted = dataclasses.replace(
        density.KDE(jnp.asarray(kernel, dtype)).fit(jnp.asarray(centres, dtype)),
        points=jnp.asarray(white, dtype),
        widths=jnp.asarray(width, dtype) if widths else None,
        log_weights=jnp.asarray(np.log(weights), dtype),
        location=jnp.asarray(location, dtype),
    )
    return fitted, centres, width, weights, kernel


def log_mixture(x, centres, width, weights, kernel):
    """Log of the sum, by scipy, one kernel at a time."""
    parts = [
        np.log(w) + stats.multivariate_normal(c, s**2 * kernel).logpdf(x)
        for w, c, s in zip(weights, centres, width, strict=True)
    ]
    return logsumexp(np.stack(parts), axis=0)
