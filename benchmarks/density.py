"""Exact kernel density estimation against its peers: time, memory and agreement in one run.

    python benchmarks/density.py [--repeat 5] [--json FILE] [--cases 0 1 2 3]

Every library gets the same points, queries and bandwidth, and must give the same
log-densities: the table shows the largest difference from a direct float64 sum on 200
queries. Runs are interleaved (each library once, then all again) and the medians compared,
because a shared machine drifts. Compilation is timed apart. scikit-learn's exact tree is run
as often as the others, and its error shown: it is not exact in high dimension. KeOps
(`pip install pykeops`, needs a C++ compiler) is left out, and said to be, where it is missing.

The roofline of a case is a matrix product of its shape, plus one pass of exp and row sum over
as many numbers, each jitted alone, in the same blocks and type.
"""

import argparse
import functools
import json
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np

jax.config.update("jax_enable_x64", True)

from estimators import density  # noqa: E402

CASES = [(10_000, 10_000, 2), (10_000, 10_000, 16), (50_000, 2_000, 64), (100_000, 2_000, 8)]
BANDWIDTH = 0.5


def direct_sum(points, queries):
    """Log-densities by differences, one query at a time."""
    d = points.shape[1]
    result = []
    for query in queries:
        logits = -0.5 * ((points - query) ** 2).sum(1) / BANDWIDTH**2
        top = logits.max()
        result.append(top + np.log(np.exp(logits - top).mean()))
    return np.array(result) - d * np.log(BANDWIDTH * np.sqrt(2 * np.pi))


def contenders(points, queries):
    """Name -> a call that gives the log-densities at the queries."""
    calls = {}
    for dtype in (np.float32, np.float64):
        fitted = density.KDE(BANDWIDTH).fit(points.astype(dtype))
        x = jnp.asarray(queries, dtype)
        calls[f"estimators {dtype.__name__}"] = lambda f=fitted, x=x: np.asarray(f.log_density(x))

    from sklearn.neighbors import KernelDensity

    tree = KernelDensity(bandwidth=BANDWIDTH).fit(points)
    calls["scikit-learn (exact tree)"] = lambda: tree.score_samples(queries)

    # These two scale the data's covariance by a factor. `main` whitens the points, so that the
    # factor is the bandwidth.
    from jax.scipy.stats import gaussian_kde as jax_kde
    from scipy.stats import gaussian_kde

    peer = gaussian_kde(points.T, bw_method=BANDWIDTH)
    calls["scipy"] = lambda: peer.logpdf(queries.T)
    for dtype in (np.float32, np.float64):
        dataset, x = jnp.asarray(points.T, dtype), jnp.asarray(queries.T, dtype)
        evaluate = jax.jit(lambda data, x: jax_kde(data, bw_method=BANDWIDTH).logpdf(x))
        calls[f"jax.scipy {dtype.__name__}"] = lambda e=evaluate, a=dataset, b=x: np.asarray(
            e(a, b)
        )
    for dtype in (np.float32, np.float64):
        call = keops(points.astype(dtype), queries.astype(dtype))
        if call is not None:
            calls[f"KeOps {dtype.__name__}"] = call
        calls[f"roofline {dtype.__name__}"] = roofline(
            len(points), len(queries), points.shape[1], dtype
        )
    return calls


@functools.cache
def keops_module():
    """The `LazyTensor` of KeOps on the CPU, or None."""
    try:
        from pykeops.numpy import LazyTensor
    except Exception as error:  # a broken compiler raises what it likes
        print(f"KeOps is left out: {error}")
        return None
    return LazyTensor


def keops(points, queries):
    """A streaming log-sum-exp by KeOps, compiled C++ over all cores."""
    lazy = keops_module()
    if lazy is None:
        return None
    n, d = points.shape
    x, y = queries / BANDWIDTH, points / BANDWIDTH
    constant = np.log(n) + d * np.log(BANDWIDTH * np.sqrt(2 * np.pi))

    def call():
        squares = ((lazy(x[:, None, :]) - lazy(y[None, :, :])) ** 2).sum(-1)
        return (-squares / 2).logsumexp(axis=1).reshape(-1) - constant

    return call


def roofline(n, m, d, dtype, rows=512, columns=1024):
    """The products alone, and the exponentials alone, of n x m pairs in blocks."""
    key = jax.random.key(0)
    blocks = -(-m // rows) * -(-n // columns)
    left, right = (
        jax.random.normal(key, (rows, d), dtype),
        jax.random.normal(key, (columns, d), dtype),
    )

    @jax.jit
    def products(left, right):
        def step(left, _):
            # The next product depends on this one, so that none is left out.
            product = jnp.matmul(left, right.T, precision="highest")
            return left + 1e-30 * product[:, :1], None

        return jax.lax.scan(step, left, None, length=blocks)[0]

    @jax.jit
    def exponentials(logits):
        def step(total, _):
            return total + jnp.sum(jnp.exp(logits - 1e-30 * total[:, None]), -1), None

        return jax.lax.scan(step, logits[:, 0], None, length=blocks)[0]

    logits = -jnp.abs(jax.random.normal(key, (rows, columns), dtype))
    return lambda: (
        jax.block_until_ready(products(left, right)),
        jax.block_until_ready(exponentials(logits)),
    )


def extra_memory(n, d):
    """Megabytes of temporaries and outputs of the compiled densities at n = m."""
    for dtype in (np.float32, np.float64):
        fitted = density.KDE(BANDWIDTH).fit(
            np.random.default_rng(0).normal(size=(n, d)).astype(dtype)
        )
        x = jax.ShapeDtypeStruct((n, d), dtype)
        compiled = jax.jit(density.FittedKDE.log_density).lower(fitted, x).compile()
        memory = compiled.memory_analysis()
        extra = (memory.temp_size_in_bytes + memory.output_size_in_bytes) / 1e6
        print(f"extra memory at n = m = {n}, d = {d}, {dtype.__name__}: {extra:.1f} MB")


def measure(calls, repeat):
    """First call, then medians of wall and CPU seconds over interleaved runs."""
    first, wall, cpu = {}, {name: [] for name in calls}, {name: [] for name in calls}
    results = {}
    for name, call in calls.items():
        start = time.perf_counter()
        results[name] = call()
        first[name] = time.perf_counter() - start
    for _ in range(repeat):
        for name, call in calls.items():
            start, start_cpu = time.perf_counter(), time.process_time()
            call()
            wall[name].append(time.perf_counter() - start)
            cpu[name].append(time.process_time() - start_cpu)
    return {
        name: {
            "first_call": first[name],
            "wall": statistics.median(wall[name]),
            "cpu": statistics.median(cpu[name]),
        }
        for name in calls
    }, results


def main():
    """Run every case and print one table each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--cases", type=int, nargs="*", default=range(len(CASES)))
    options = parser.parse_args()
    report = []
    extra_memory(100_000, 8)
    for n, m, d in (CASES[i] for i in options.cases):
        generator = np.random.default_rng(0)
        points, queries = generator.normal(size=(n, d)), generator.normal(size=(m, d))
        # The peers that whiten must find an identity covariance, so that h means the same.
        points = (points - points.mean(0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(points.T))).T
        times, results = measure(contenders(points, queries), options.repeat)
        exact = direct_sum(points, queries[:200])
        print(f"\nn = {n}, m = {m}, d = {d}; medians of {options.repeat} interleaved runs")
        # "x" is against ours in the same type; peers without one count as float64.
        single = times["estimators float32"]["cpu"]
        print(
            f"{'':28s}{'wall s':>9s}{'CPU s':>9s}{'x wall':>8s}{'x CPU':>8s}"
            f"{'x f32 CPU':>11s}{'error':>10s}"
        )
        for name, row in times.items():
            ours = times["estimators float32" if "float32" in name else "estimators float64"]
            if "roofline" in name:
                row["error"] = float("nan")
            else:
                row["error"] = float(np.abs(results[name][:200] - exact).max())
            row["wall_ratio"], row["cpu_ratio"] = (
                row["wall"] / ours["wall"],
                row["cpu"] / ours["cpu"],
            )
            print(
                f"{name:28s}{row['wall']:9.4f}{row['cpu']:9.4f}{row['wall_ratio']:8.1f}"
                f"{row['cpu_ratio']:8.1f}{row['cpu'] / single:11.1f}{row['error']:10.1e}"
            )
            report.append({"n": n, "m": m, "d": d, "library": name, **row})
    if options.json:
        with open(options.json, "w") as file:
            json.dump(report, file, indent=1)


if __name__ == "__main__":
    main()
