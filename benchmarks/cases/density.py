"""Kernel density estimation beside scikit-learn, scipy, jax.scipy and KeOps."""

import functools

import numpy as np

from benchmarks.harness.case import Case, Contender, Growth

BANDWIDTH = 0.5
CHECKED = 200
BOTH = ("float32", "float64")
# Blocks of more columns round more: nats, for log-densities of -30 to -400.
TOLERANCE = {"float32": 1e-3, "float64": 1e-8}


def points_and_queries(n, m, d):
    """Normal points, whitened so that peers which scale by the covariance mean the same width."""
    generator = np.random.default_rng(0)
    points, queries = generator.normal(size=(n, d)), generator.normal(size=(m, d))
    covariance = np.atleast_2d(np.cov(points.T))
    points = (points - points.mean(0)) @ np.linalg.inv(np.linalg.cholesky(covariance)).T
    return {"points": points, "queries": queries}


def ours(method, dtype):
    """A method of the fitted density at the queries."""

    def prepare(data):
        import jax.numpy as jnp

        from estimators import density

        fitted = density.KDE(BANDWIDTH).fit(data["points"].astype(dtype))
        x = jnp.asarray(data["queries"], dtype)
        return lambda: getattr(fitted, method)(x)

    return prepare


def direct(data):
    """Sums of differences, for the first queries."""
    from benchmarks.density import direct_sum

    return lambda: direct_sum(data["points"], data["queries"][:CHECKED])


def tree(leaf_size=40):
    """scikit-learn at its default tolerance, which it calls exact."""

    def prepare(data):
        from sklearn.neighbors import KernelDensity

        size = min(leaf_size, len(data["points"]))
        fitted = KernelDensity(bandwidth=BANDWIDTH, leaf_size=size).fit(data["points"])
        return lambda: fitted.score_samples(data["queries"])

    return prepare


def scipy_density(data):
    """scipy's, which scales the covariance by the square of the factor."""
    from scipy.stats import gaussian_kde

    fitted = gaussian_kde(data["points"].T, bw_method=BANDWIDTH)
    return lambda: fitted.logpdf(data["queries"].T)


def jax_density(dtype, gradient=False):
    """The same in JAX, compiled; or its gradient at each query."""

    def prepare(data):
        import jax
        import jax.numpy as jnp
        from jax.scipy.stats import gaussian_kde

        points, x = (jnp.asarray(data[key].T, dtype) for key in ("points", "queries"))

        def logs(points, x):
            return gaussian_kde(points, bw_method=BANDWIDTH).logpdf(x)

        if gradient:
            slopes = jax.jit(lambda points, x: jax.grad(lambda x: logs(points, x).sum())(x).T)
            return lambda: slopes(points, x)
        evaluate = jax.jit(logs)
        return lambda: evaluate(points, x)

    return prepare


def keops(dtype):
    """A streaming sum in compiled C++."""

    def prepare(data):
        from benchmarks.density import keops as streaming

        call = streaming(data["points"].astype(dtype), data["queries"].astype(dtype))
        if call is None:
            raise RuntimeError("KeOps does not compile here")
        return call

    return prepare


def products_and_exponentials(dtype, products=1):
    """The least that can be done: the matrix product of that size, and one exponential a pair."""

    def prepare(data):
        from benchmarks.density import roofline

        (n, d), m = data["points"].shape, len(data["queries"])
        return roofline(n, m, products * d, np.dtype(dtype).type)

    return prepare


def best_bandwidth(log_densities, n, d):
    """The factor of largest leave-one-out likelihood; `log_densities(h)` includes the own row."""
    from scipy.optimize import minimize_scalar

    def loss(log_bandwidth):
        h = np.exp(log_bandwidth)
        own = -d * np.log(h * np.sqrt(2 * np.pi))
        total = log_densities(h) + np.log(n)
        return -np.mean(total + np.log1p(-np.exp(np.minimum(own - total, -1e-12))))

    return np.exp(minimize_scalar(loss, bounds=np.log([0.05, 2.0]), options={"xatol": 1e-4}).x)


def our_bandwidth(data):
    """The rule "loo"."""
    from estimators import density

    return lambda: density.KDE("loo").fit(data["points"]).info.factor


def tree_bandwidth(data):
    """A search over scikit-learn's densities, the row itself taken out of its sum."""
    from sklearn.neighbors import KernelDensity

    points = data["points"]

    def logs(h):
        return KernelDensity(bandwidth=h).fit(points).score_samples(points)

    return lambda: best_bandwidth(logs, *points.shape)


def scipy_bandwidth(data):
    """The same over scipy's densities."""
    from scipy.stats import gaussian_kde

    points = data["points"]

    def logs(h):
        return gaussian_kde(points.T, bw_method=h).logpdf(points.T)

    return lambda: best_bandwidth(logs, *points.shape)


CASES = [
    Case(
        name="log-density",
        work="Exact log-densities of m queries under n points at one bandwidth.",
        data=points_and_queries,
        sizes=(
            {"n": 10_000, "m": 5_000, "d": 2},
            {"n": 10_000, "m": 5_000, "d": 16},
            {"n": 50_000, "m": 250, "d": 64},
            {"n": 100_000, "m": 250, "d": 8},
        ),
        quick={"n": 300, "m": 200, "d": 2},
        contenders=(
            *(Contender("estimators", ours("log_density", t), t, TOLERANCE[t]) for t in BOTH),
            Contender("exact", direct),
            Contender("scikit-learn", tree(), tolerance=1e-3, variant="tree"),
            Contender("scikit-learn", tree(10**9), tolerance=1e-3, variant="one leaf"),
            Contender("scipy", scipy_density, tolerance=1e-8),
            *(Contender("jax.scipy", jax_density(t), t, TOLERANCE[t]) for t in BOTH),
            *(Contender("KeOps", keops(t), t, TOLERANCE[t]) for t in BOTH),
            *(Contender("roofline", products_and_exponentials(t), t) for t in BOTH),
        ),
        bound="the matrix product of that size, and one exponential a pair, in the same blocks",
        compared="largest error against a direct float64 sum at 200 queries, nats",
        growth=(
            Growth("n", (4_000, 8_000, 16_000, 32_000, 64_000), {"m": 4_000, "d": 8}),
            Growth("m", (2_000, 4_000, 8_000, 16_000, 32_000), {"n": 8_000, "d": 8}),
            Growth("d", (4, 8, 16, 32, 64, 128), {"n": 8_000, "m": 8_000}),
        ),
    ),
    Case(
        name="gradient of the log-density",
        work="The score of the density at m queries; the peer differentiates its log-density.",
        data=points_and_queries,
        sizes=({"n": 20_000, "m": 2_000, "d": 8},),
        quick={"n": 300, "m": 200, "d": 2},
        contenders=(
            *(Contender("estimators", ours("score", t), t, 10 * TOLERANCE[t]) for t in BOTH),
            *(Contender("jax.scipy", jax_density(t, True), t, 10 * TOLERANCE[t]) for t in BOTH),
            *(Contender("roofline", products_and_exponentials(t, 2), t) for t in BOTH),
        ),
        bound="two matrix products of that size, and one exponential a pair",
        compared="largest difference of a component, over data of variance one",
        growth=(Growth("n", (4_000, 8_000, 16_000, 32_000), {"m": 2_000, "d": 8}),),
    ),
    Case(
        name="bandwidth by leave-one-out",
        work="The bandwidth of largest leave-one-out likelihood; peers give densities, and "
        "scipy.optimize searches.",
        data=functools.partial(points_and_queries, m=1),
        sizes=({"n": 2_000, "d": 2}, {"n": 2_000, "d": 8}),
        quick={"n": 300, "d": 2},
        contenders=(
            Contender("estimators", our_bandwidth, tolerance=1e-3),
            Contender("scikit-learn", tree_bandwidth, tolerance=1e-3),
            Contender("scipy", scipy_bandwidth, tolerance=1e-3),
        ),
        bound="none: how many sums a search needs is its own affair",
        compared="difference of the bandwidth, in standard deviations",
        growth=(Growth("n", (1_000, 2_000, 4_000, 8_000), {"d": 8}),),
    ),
]
