"""Who fits mixtures of Gaussians, and evaluates them."""

from typing import Any

import numpy as np

COMPONENTS = 5
HIGHEST: dict[str, Any] = {"precision": "highest"}


def clusters(n, d, m=1):
    """Clusters as far from one another, so that nearly every start finds the same maximum."""
    generator = np.random.default_rng(0)
    centres = 40 * np.linalg.qr(generator.normal(size=(d, d)))[0][:COMPONENTS]
    shapes = generator.normal(size=(COMPONENTS, d, d)) / np.sqrt(d) + np.eye(d)

    def draw(rows):
        labels = generator.integers(0, COMPONENTS, rows)
        noise = np.einsum("nd,nde->ne", generator.normal(size=(rows, d)), shapes[labels])
        return centres[labels] + noise

    return {"points": draw(n), "x": draw(m), "centres": centres, "shapes": shapes}


def our_mixture(data):
    """Expectation-maximisation from k-means++; the mean log-likelihood is returned."""
    import jax
    import jax.numpy as jnp

    from estimators import score

    points = jnp.asarray(data["points"])
    spec = score.Mixture(COMPONENTS, tolerance=1e-4, regularisation=1e-8)
    return lambda: spec.fit(points, key=jax.random.key(0)).info.log_likelihood


def scikit_learn_mixture(data):
    """The same by scikit-learn."""
    from sklearn.mixture import GaussianMixture

    points = data["points"]

    def call():
        model = GaussianMixture(COMPONENTS, tol=1e-4, max_iter=200, random_state=0)
        return model.fit(points).lower_bound_

    return call


def our_mixture_density(data):
    """Log-densities of a mixture with given parameters."""
    import jax.numpy as jnp

    from estimators import score

    covariances = np.einsum("kde,kdf->kef", data["shapes"], data["shapes"])
    variances, basis = np.linalg.eigh(covariances)
    zero, code = jnp.zeros(()), jnp.zeros((), jnp.int32)
    fitted = score.FittedMixture(
        jnp.full(COMPONENTS, -np.log(COMPONENTS)),
        jnp.asarray(data["centres"]),
        jnp.asarray(basis[:, :, ::-1].copy()),
        jnp.asarray(variances[:, ::-1].copy()),
        jnp.zeros(COMPONENTS),
        score.MixtureInfo(zero, code, code),
    )
    x = jnp.asarray(data["x"])
    return lambda: fitted.log_density(x, 0.0)


def scikit_learn_mixture_density(data):
    """The same parameters, set by hand."""
    from sklearn.mixture import GaussianMixture

    covariances = np.einsum("kde,kdf->kef", data["shapes"], data["shapes"])
    model = GaussianMixture(COMPONENTS)
    model.weights_ = np.full(COMPONENTS, 1 / COMPONENTS)
    model.means_, model.covariances_ = data["centres"], covariances
    lower = np.linalg.cholesky(covariances)
    model.precisions_cholesky_ = np.stack([np.linalg.inv(factor).T for factor in lower])
    return lambda: model.score_samples(data["x"])


def component_products(data):
    """One product of the queries with d columns for each component."""
    import jax
    import jax.numpy as jnp

    x, d = jnp.asarray(data["x"]), data["x"].shape[1]
    basis = jnp.ones((d, COMPONENTS * d), x.dtype)
    product = jax.jit(lambda x, basis: jnp.matmul(x, basis, **HIGHEST))
    return lambda: product(x, basis)
