"""Exact kernel density estimation against its peers: time, memory and agreement in one run.

    python benchmarks/density.py [--repeat 5] [--json FILE]

Every library gets the same points, queries and bandwidth, and must give the same
log-densities: the table shows the largest difference from a direct float64 sum on 200
queries. Runs are interleaved (each library once, then all again) and the medians compared,
because a shared machine drifts. Compilation is timed apart.
"""

import argparse
import json
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np

jax.config.update("jax_enable_x64", True)

from estimators import density  # noqa: E402

CASES = [(10_000, 10_000, 2), (10_000, 1_000, 16), (100_000, 200, 8)]
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
    return calls


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
    options = parser.parse_args()
    report = []
    for n, m, d in CASES:
        generator = np.random.default_rng(0)
        points, queries = generator.normal(size=(n, d)), generator.normal(size=(m, d))
        # The peers that whiten must find an identity covariance, so that h means the same.
        points = (points - points.mean(0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(points.T))).T
        times, results = measure(contenders(points, queries), options.repeat)
        exact = direct_sum(points, queries[:200])
        print(f"\nn = {n}, m = {m}, d = {d}; medians of {options.repeat} interleaved runs")
        print(f"{'':28s}{'wall s':>9s}{'CPU s':>9s}{'x wall':>8s}{'x CPU':>8s}{'error':>10s}")
        for name, row in times.items():
            ours = times["estimators float32" if "float32" in name else "estimators float64"]
            row["error"] = float(np.abs(results[name][:200] - exact).max())
            row["wall_ratio"], row["cpu_ratio"] = (
                row["wall"] / ours["wall"],
                row["cpu"] / ours["cpu"],
            )
            print(
                f"{name:28s}{row['wall']:9.4f}{row['cpu']:9.4f}{row['wall_ratio']:8.1f}"
                f"{row['cpu_ratio']:8.1f}{row['error']:10.1e}"
            )
            report.append({"n": n, "m": m, "d": d, "library": name, **row})
    if options.json:
        with open(options.json, "w") as file:
            json.dump(report, file, indent=1)


if __name__ == "__main__":
    main()
