"""Gaussian, mixture and empirical scores beside numpy and scikit-learn."""

from typing import Any

import numpy as np

from benchmarks.cases import _mixtures as mixtures
from benchmarks.harness.case import Case, Contender, Growth

SIGMA, RANK = 0.5, 32
HIGHEST: dict[str, Any] = {"precision": "highest"}


def decaying(n, d, m=1):
    """Normal rows whose modes decay as 1/k, turned, and m queries."""
    generator = np.random.default_rng(0)
    turn = np.linalg.qr(generator.normal(size=(d, d)))[0]
    spread = 1 / np.sqrt(1 + np.arange(d))
    points, x = ((generator.normal(size=(rows, d)) * spread) @ turn for rows in (n, m))
    return {"points": points.astype(np.float32), "x": x.astype(np.float32)}


def our_fit(rank=None):
    """Mean and modes; the largest eigenvalues are returned."""

    def prepare(data):
        import jax.numpy as jnp

        from estimators import score

        points = jnp.asarray(data["points"])
        spec = score.Gaussian(rank)
        return lambda: spec.fit(points).eigenvalues

    return prepare


def numpy_fit(data):
    """Covariance and eigenvectors."""
    points = data["points"]

    def call():
        centred = points - points.mean(0)
        values, vectors = np.linalg.eigh(centred.T @ centred / np.float32(len(points) - 1))
        return values[::-1], vectors

    return call


def scikit_learn_fit(solver, rank=None):
    """Principal components."""

    def prepare(data):
        from sklearn.decomposition import PCA

        points = data["points"]
        return lambda: PCA(rank, svd_solver=solver, random_state=0).fit(points).explained_variance_

    return prepare


def gram(data):
    """The product of the rows with themselves."""
    import jax
    import jax.numpy as jnp

    points = jnp.asarray(data["points"])
    product = jax.jit(lambda rows: jnp.matmul(rows.T, rows, **HIGHEST))
    return lambda: product(points)


def our_score(data):
    """The score of the fitted Gaussian at noise .5."""
    import jax.numpy as jnp

    from estimators import score

    fitted, x = score.Gaussian().fit(data["points"]), jnp.asarray(data["x"])
    return lambda: fitted.score(x, SIGMA)


def numpy_score(data):
    """One matrix for one noise level, kept."""
    points, x = data["points"], data["x"]
    mean = points.mean(0)
    covariance = np.cov(points.T) + SIGMA**2 * np.eye(points.shape[1])
    precision = np.linalg.inv(covariance).astype(np.float32)
    return lambda: -(x - mean) @ precision


def two_products(data):
    """Into the modes and back."""
    import jax
    import jax.numpy as jnp

    x, d = jnp.asarray(data["x"]), data["x"].shape[1]
    basis = jnp.eye(d, dtype=x.dtype)

    @jax.jit
    def products(x, basis):
        return jnp.matmul(jnp.matmul(x, basis, **HIGHEST), basis.T, **HIGHEST)

    return lambda: products(x, basis)


def our_denoiser(data):
    """Means of the points under their kernel weights."""
    import jax.numpy as jnp

    from estimators import score

    fitted, x = score.Empirical().fit(data["points"]), jnp.asarray(data["x"])
    return lambda: fitted.denoise(x, SIGMA)


def numpy_denoiser(data):
    """The matrix of all pairs, its softmax, and a product."""
    points, x = data["points"], data["x"]

    def call():
        squares = (x**2).sum(1)[:, None] + (points**2).sum(1) - 2 * x @ points.T
        logits = squares / np.float32(-2 * SIGMA**2)
        weights = np.exp(logits - logits.max(1, keepdims=True))
        return weights @ points / weights.sum(1, keepdims=True)

    return call


def denoiser_bound(data):
    """Two products and one exponential a pair."""
    from benchmarks.density import roofline

    (n, d), m = data["points"].shape, len(data["x"])
    return roofline(n, m, 2 * d, np.float32)


def first(result):
    """The first of several results."""
    return np.asarray(result[0])


CASES = [
    Case(
        name="Gaussian fit",
        work="Mean, covariance and all its eigenvectors.",
        data=decaying,
        sizes=({"n": 20_000, "d": 64}, {"n": 20_000, "d": 512}),
        quick={"n": 200, "d": 8},
        contenders=(
            Contender("estimators", our_fit(), "float32", 1e-4),
            Contender("numpy", numpy_fit, "float32", 1e-4, outcome=first),
            Contender("scikit-learn", scikit_learn_fit("covariance_eigh"), "float32", 1e-4),
            Contender("roofline", gram, "float32"),
        ),
        bound="the product of the rows with themselves, without the eigenvectors",
        compared="difference of an eigenvalue; the largest is 1",
        growth=(
            Growth("n", (8_000, 16_000, 32_000, 64_000, 128_000), {"d": 64}),
            Growth("d", (32, 64, 128, 256, 512), {"n": 4_000}),
        ),
    ),
    Case(
        name="low-rank Gaussian fit",
        work=f"The {RANK} leading modes of many columns.",
        data=decaying,
        sizes=({"n": 5_000, "d": 1_500},),
        quick={"n": 200, "d": 40},
        contenders=(
            Contender("estimators", our_fit(RANK), "float32", 1e-3),
            Contender(
                "scikit-learn", scikit_learn_fit("randomized", RANK), "float32", 1e-3, "randomised"
            ),
            Contender(
                "scikit-learn", scikit_learn_fit("covariance_eigh", RANK), "float32", 1e-3, "exact"
            ),
        ),
        bound="none: how often the rows must be read is the algorithm's affair",
        compared="difference of an eigenvalue; the largest is 1",
    ),
    Case(
        name="Gaussian score",
        work="The score of m rows at one noise level. numpy's form keeps a matrix for that level; "
        "the fitted Gaussian serves every level.",
        data=decaying,
        sizes=({"n": 2_000, "m": 20_000, "d": 256},),
        quick={"n": 100, "m": 50, "d": 8},
        contenders=(
            Contender("estimators", our_score, "float32", 1e-3),
            Contender("numpy", numpy_score, "float32", 1e-3, "one level"),
            Contender("roofline", two_products, "float32"),
        ),
        bound="two matrix products, into the modes and back",
        compared="largest difference of a component",
        growth=(
            Growth("m", (4_000, 8_000, 16_000, 32_000, 64_000), {"n": 1_000, "d": 128}),
            Growth("d", (64, 128, 256, 512, 1_024), {"n": 2_000, "m": 4_000}),
        ),
    ),
    Case(
        name="mixture fit",
        work=f"{mixtures.COMPONENTS} Gaussians with full covariances by expectation-maximisation, "
        "each library from its own start, until a round gains less than 1e-4 nats.",
        data=mixtures.clusters,
        sizes=({"n": 10_000, "d": 8}, {"n": 10_000, "d": 32}),
        quick={"n": 300, "d": 8},
        contenders=(
            Contender("estimators", mixtures.our_mixture, tolerance=5e-3),
            Contender("scikit-learn", mixtures.scikit_learn_mixture, tolerance=5e-3),
        ),
        bound="none: the number of rounds differs",
        compared="difference of the mean log-likelihood, nats",
        growth=(
            Growth("n", (4_000, 8_000, 16_000, 32_000, 64_000), {"d": 8}),
            Growth("d", (8, 16, 32, 64), {"n": 4_000}),
        ),
    ),
    Case(
        name="mixture log-density",
        work=f"Log-densities of m rows under {mixtures.COMPONENTS} given Gaussians.",
        data=mixtures.clusters,
        sizes=({"n": 10, "m": 50_000, "d": 32},),
        quick={"n": 10, "m": 100, "d": 8},
        contenders=(
            Contender("estimators", mixtures.our_mixture_density, tolerance=1e-6),
            Contender("scikit-learn", mixtures.scikit_learn_mixture_density, tolerance=1e-6),
            Contender("roofline", mixtures.component_products),
        ),
        bound="one matrix product for each component",
        compared="largest difference of a log-density, nats",
    ),
    Case(
        name="empirical denoiser",
        work="The mean of n points under their kernel weights, at m rows.",
        data=decaying,
        sizes=({"n": 20_000, "m": 2_000, "d": 64},),
        quick={"n": 200, "m": 50, "d": 8},
        contenders=(
            Contender("estimators", our_denoiser, "float32", 1e-3),
            Contender("numpy", numpy_denoiser, "float32", 1e-3, "n x m form"),
            Contender("roofline", denoiser_bound, "float32"),
        ),
        bound="two matrix products and one exponential a pair, in blocks",
        compared="largest difference of a component",
        growth=(
            Growth("n", (4_000, 8_000, 16_000, 32_000, 64_000), {"m": 2_000, "d": 64}),
            Growth("d", (16, 32, 64, 128, 256), {"n": 8_000, "m": 2_000}),
        ),
    ),
]
