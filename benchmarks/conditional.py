"""Conditional conformal thresholds beside one linear program a row, and MAPIE.

1000 calibration rows, 1000 new ones, 5 and 10 features, float64; answers are compared before
anything is timed. Programs a row are timed on a few rows, in the same process, and given a row.

Run: python benchmarks/conditional.py (about 2 minutes on 2 cores; MAPIE needs cvxpy, and is left
out where one of them is not installed; `--rows`, `--runs` for more or fewer).
"""

import argparse
import statistics
import time

import jax
import numpy as np
from scipy.optimize import linprog

from estimators import conformal

jax.config.update("jax_enable_x64", True)

COVERAGE, N, NEW = 0.9, 1000, 1000


class Zero:
    """A fitted regressor that predicts 0, so that scores are |y|."""

    def fit(self, x, y=None):
        """Nothing to be learned."""
        return self

    def predict(self, x):
        """Zeros."""
        return np.zeros(len(x))

    def __sklearn_is_fitted__(self):
        return True


def draw(d):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N + NEW, d - 1))
    features = np.column_stack([np.ones(N + NEW), x])
    scores = np.abs(rng.normal(size=N + NEW)) * (1 + np.abs(x[:, 0]))
    return scores[:N], features[:N], features[N:]


def ours(scores, features, new, **options):
    points = {"points": features[:, 1:]} if options else {}
    where = {"points": new[:, 1:]} if options else {}
    spec = conformal.ConditionalConformal(COVERAGE, **options)
    return np.asarray(spec.calibrate(scores, features, **points).thresholds(new, **where))


def programs(scores, features, new):
    """One linear program a row: the dual variable of the new row is just below the coverage."""
    found = []
    for row in new:
        solved = linprog(
            -scores,
            A_eq=features.T,
            b_eq=-row * (COVERAGE - 1e-9),
            bounds=(COVERAGE - 1, COVERAGE),
            method="highs",
        )
        found.append(-solved.eqlin.marginals @ row if solved.status == 0 else np.inf)
    return np.array(found)


def mapie(scores, features, new):
    from mapie.conditional_conformal_prediction import ConditionalSplitConformalRegressor

    peer = ConditionalSplitConformalRegressor(
        feature_map=lambda x: np.column_stack([np.ones(len(x)), x]),
        estimator=Zero(),
        confidence_level=COVERAGE,
    )
    peer.conformalize(features[:, 1:], scores)
    _, ends = peer.predict_interval(new[:, 1:])
    return ends[:, 1].reshape(-1)


def median(runs, function, *data, **options):
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        function(*data, **options)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=20, help="rows that the peers solve")
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    few = slice(0, arguments.rows)
    print("| d | method | ms a row | times ours | largest difference |\n|--|--|--|--|--|")
    for d in (5, 10):
        scores, features, new = draw(d)
        expected = ours(scores, features, new)
        base = median(arguments.runs, ours, scores, features, new) / NEW
        print(f"| {d} | estimators, {NEW} rows | {1e3 * base:.3f} | 1 | 0 |", flush=True)
        for name, peer in (("linear program", programs), ("MAPIE", mapie)):
            try:
                got = peer(scores, features, new[few])
            except ImportError as error:
                print(f"| {d} | {name} | not installed: {error} | | |")
                continue
            gap = np.nanmax(np.abs(np.where(got == expected[few], 0, got - expected[few])))
            spent = median(arguments.runs, peer, scores, features, new[few])
            spent /= arguments.rows
            line = f"| {d} | {name} | {1e3 * spent:.3f} | {spent / base:.0f} | {gap:.1e} |"
            print(line, flush=True)
    scores, features, new = draw(3)
    options = {"kernel_bandwidth": 1.0, "penalty": 5e-4}
    ours(scores, features, new, **options)
    spent = median(arguments.runs, ours, scores, features, new, **options) / NEW
    print(f"| 3 | estimators with a kernel, {NEW} rows | {1e3 * spent:.3f} | | |")


if __name__ == "__main__":
    main()
