"""Conformal prediction beside MAPIE, crepes, puncc and TorchCP: the same task, in one process.

Each line is one task on the same float64 arrays: calibration and intervals from predictions that
are there already, so that no model is timed. Medians of several runs, interleaved; a peer that is
not installed is left out. Intervals are compared before anything is timed.

Run: python benchmarks/conformal.py, which prints the tables of docs/conformal_benchmark.md
(about 3 minutes on 2 cores; `--only split cqr` for some lines; `--runs` for more or fewer).
"""

import argparse
import contextlib
import importlib
import statistics
import sys
import time
import tracemalloc
import types
import warnings

import jax
import numpy as np

from estimators import conformal

jax.config.update("jax_enable_x64", True)

COVERAGE = 0.9


class Columns:
    """A fitted scikit-learn regressor that returns a column of its features."""

    def __init__(self, column=0):
        self.column = column

    def fit(self, x, y=None):
        """Nothing to be learned."""
        return self

    def predict(self, x):
        """The column."""
        return x[:, self.column]

    def get_params(self, deep=True):
        """As scikit-learn asks."""
        return {"column": self.column}

    def set_params(self, **_):
        """As scikit-learn asks."""
        return self

    def __sklearn_is_fitted__(self):
        return True

    def __sklearn_tags__(self):
        from sklearn.base import BaseEstimator, RegressorMixin

        return type("Regressor", (RegressorMixin, BaseEstimator), {})().__sklearn_tags__()


def rows(n, seed):
    """Features, predictions and outcomes."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    return x, x + rng.normal(size=n)


def on_device(function, *arrays):
    """A call with arrays where JAX wants them, as those of the others are where they want them."""
    arrays = [jax.device_put(np.ascontiguousarray(array)) for array in arrays]
    return lambda: jax.block_until_ready(function(*arrays))


def split(n=100_000):
    """Split conformal regression, n calibration and n new rows."""
    (mu, y), (new, _) = rows(n, 0), rows(n, 1)
    spec = conformal.SplitRegression(COVERAGE)
    ours = jax.jit(lambda mu, y, new: spec.calibrate(mu, y).interval(new))
    yield "estimators", on_device(ours, mu, y, new)

    def numpy_():
        scores = np.abs(y - mu)
        rank = conformal.conformal_rank(n, COVERAGE)
        threshold = np.partition(scores, rank - 1)[rank - 1]
        return new - threshold, new + threshold

    yield "numpy", numpy_
    with contextlib.suppress(ImportError):
        from mapie.regression import SplitConformalRegressor

        def mapie():
            model = SplitConformalRegressor(Columns(), confidence_level=COVERAGE, prefit=True)
            ends = model.conformalize(mu[:, None], y).predict_interval(new[:, None])[1]
            return ends[:, 0, 0], ends[:, 1, 0]

        yield "MAPIE", mapie
    with contextlib.suppress(ImportError):
        from crepes import ConformalRegressor

        def crepes():
            found = ConformalRegressor().fit(residuals=y - mu)
            return found.predict_int(y_hat=new, confidence=COVERAGE).T

        yield "crepes", crepes
    with contextlib.suppress(ImportError):
        from deel.puncc.api.prediction import BasePredictor
        from deel.puncc.regression import SplitCP

        def puncc():
            model = SplitCP(BasePredictor(Columns(), is_trained=True), train=False)
            model.fit(X_calib=mu[:, None], y_calib=y)
            return model.predict(new[:, None], alpha=1 - COVERAGE)[1:]

        yield "puncc", puncc
    with contextlib.suppress(ImportError):
        yield "TorchCP", torch_task("ABS", [mu[:, None]], y, [new[:, None]])


def quantile_regression(n=100_000):
    """Conformalised quantile regression, n calibration and n new rows."""
    (mu, y), (new, _) = rows(n, 0), rows(n, 1)
    cal, test = np.stack([mu - 1, mu + 1], 1), np.stack([new - 1, new + 1], 1)
    spec = conformal.ConformalizedQuantileRegression(COVERAGE)
    ours = jax.jit(lambda low, high, y, a, b: spec.calibrate(low, high, y).interval(a, b))
    yield "estimators", on_device(ours, *cal.T, y, *test.T)

    def numpy_():
        scores = np.maximum(cal[:, 0] - y, y - cal[:, 1])
        rank = conformal.conformal_rank(n, COVERAGE)
        threshold = np.partition(scores, rank - 1)[rank - 1]
        return test[:, 0] - threshold, test[:, 1] + threshold

    yield "numpy", numpy_
    with contextlib.suppress(ImportError):
        from mapie.regression import ConformalizedQuantileRegressor

        def mapie():
            models = [Columns(0), Columns(1), Columns(2)]
            model = ConformalizedQuantileRegressor(models, confidence_level=COVERAGE, prefit=True)
            model.conformalize(np.column_stack([cal, mu]), y)
            found = model.predict_interval(np.column_stack([test, new]), symmetric_correction=True)
            return found[1][:, 0, 0], found[1][:, 1, 0]

        yield "MAPIE", mapie
    with contextlib.suppress(ImportError):
        from deel.puncc.api.prediction import DualPredictor
        from deel.puncc.regression import CQR

        def puncc():
            pair = DualPredictor([Columns(0), Columns(1)], is_trained=[True, True])
            model = CQR(pair, train=False)
            model.fit(X_calib=cal, y_calib=y)
            return model.predict(test, alpha=1 - COVERAGE)[1:]

        yield "puncc", puncc
    with contextlib.suppress(ImportError):
        yield "TorchCP", torch_task("CQR", [cal], y, [test])


def torch_task(name, calibration, y, new):
    """A TorchCP score, calibrated and applied as its SplitPredictor does."""
    # Parts that nothing here calls need packages that are hard to build.
    sys.modules.setdefault("torchsort", types.ModuleType("torchsort"))
    for function in ("soft_rank", "soft_sort"):
        setattr(sys.modules["torchsort"], function, None)
    torch = importlib.import_module("torch")
    score = getattr(importlib.import_module("torchcp.regression.score"), name)()
    predictor = importlib.import_module("torchcp.regression.predictor").SplitPredictor(
        score, torch.nn.Linear(1, 1)
    )

    def run():
        scores = predictor.calculate_score(torch.from_numpy(calibration[0]), torch.from_numpy(y))
        found = predictor._calculate_conformal_value(scores, 1 - COVERAGE)
        ends = predictor.generate_intervals(torch.from_numpy(new[0]), found)
        return ends[..., 0, 0].numpy(), ends[..., 0, 1].numpy()

    return run


def mondrian(n=100_000, groups=100):
    """A threshold for each of 100 groups, n calibration and n new rows."""
    (mu, y), (new, _) = rows(n, 0), rows(n, 1)
    rng = np.random.default_rng(2)
    own, other = rng.integers(0, groups, (2, n)).astype(np.int32)
    spec = conformal.SplitRegression(COVERAGE)
    ours = jax.jit(
        lambda mu, y, own, new, other: spec.calibrate(mu, y, groups=own, count=groups).interval(
            new, groups=other
        )
    )
    yield "estimators", on_device(ours, mu, y, own, new, other)
    with contextlib.suppress(ImportError):
        from crepes import ConformalRegressor

        def crepes():
            found = ConformalRegressor().fit(residuals=y - mu, bins=own)
            return found.predict_int(y_hat=new, bins=other, confidence=COVERAGE).T

        yield "crepes", crepes


def weighted(n=10_000):
    """A threshold for each new row by its own weight, n x n."""
    rng = np.random.default_rng(0)
    scores, weights, new = rng.exponential(size=(3, n))
    ours = jax.jit(lambda s, w, v: conformal.weighted_conformal_quantiles(s, w, v, COVERAGE))
    yield "estimators", on_device(ours, scores, weights, new)

    def all_pairs():
        order = np.argsort(scores)
        # The law of a new score, row by row: its atoms are the scores and infinity.
        law = np.column_stack([np.tile(weights[order], (n, 1)), new])
        reached = np.cumsum(law / law.sum(1, keepdims=True), 1)
        return np.append(scores[order], np.inf)[(reached < COVERAGE - 1e-12).sum(1)]

    yield "n x m form (numpy)", all_pairs


def p_values(n=10_000):
    """Smoothed p-values, n calibration and n new scores."""
    rng = np.random.default_rng(0)
    scores, new = np.round(rng.exponential(size=(2, n)), 3)
    key = jax.random.key(0)
    ours = jax.jit(lambda s, t: conformal.conformal_p_values(s, t, key=key))
    yield "estimators", on_device(ours, scores, new)
    with contextlib.suppress(ImportError):
        from crepes import ConformalRegressor

        found = ConformalRegressor().fit(residuals=scores)
        yield "crepes", lambda: found.predict_p(y_hat=0 * new, y=new, smoothing=True, seed=0)


def cross(n=5_000, folds=10):
    """CV+ with ten folds, n calibration and n new rows."""
    rng = np.random.default_rng(0)
    fold = np.arange(n) % folds
    (mu, y), by_fold = rows(n, 0), rng.normal(size=(n, 1)) + 0.1 * rng.normal(size=(n, folds))
    spec = conformal.CrossConformal(COVERAGE)
    ours = jax.jit(lambda mu, y, new: spec.calibrate(mu, y, fold).interval(new))
    yield "estimators", on_device(ours, mu, y, by_fold)

    def all_pairs():
        moved = by_fold[:, fold]
        rank = conformal.conformal_rank(n, COVERAGE)
        residuals = np.abs(y - mu)[None]
        below = np.partition(residuals - moved, rank - 1, 1)[:, rank - 1]
        return -below, np.partition(moved + residuals, rank - 1, 1)[:, rank - 1]

    yield "n x m form (numpy)", all_pairs
    with contextlib.suppress(ImportError):
        yield "MAPIE", mapie_cross(mu, y, fold, by_fold)


class ByFold(Columns):
    """The model of a fold: column `1 + k` for new rows, and column 0 for held-out ones."""

    def fit(self, x, y=None):
        """Which fold was left out."""
        # The fold left out is the one whose number is missing.
        left_out = np.setdiff1d(np.arange(10), x[:, -1].astype(int))
        self.column = 1 + int(left_out[0]) if left_out.size else 1  # the model of all rows
        return self

    def predict(self, x):
        """The prediction of that fold's model."""
        return np.where(x[:, -1] >= 0, x[:, 0], x[:, min(self.column, x.shape[1] - 2)])


def mapie_cross(mu, y, fold, by_fold):
    """MAPIE's CV+ on predictions that are there already."""
    from mapie.regression import CrossConformalRegressor
    from sklearn.model_selection import PredefinedSplit

    n, folds = len(y), by_fold.shape[1]
    known = np.column_stack([mu, np.zeros((n, folds)), fold])
    new = np.column_stack([np.zeros(n), by_fold, -np.ones(n)])

    def run():
        model = CrossConformalRegressor(
            ByFold(), confidence_level=COVERAGE, method="plus", cv=PredefinedSplit(fold)
        )
        model.fit_conformalize(known, y)
        ends = model.predict_interval(new)[1]
        return ends[:, 0, 0], ends[:, 1, 0]

    return run


def batch_mean(n=1_000, m=20):
    """An upper bound for the mean score of 20 new rows, 1000 calibration rows."""
    scores = np.random.default_rng(0).beta(2, 5, n)
    for method in ("exact", "envelope"):
        spec = conformal.BatchMean(m, COVERAGE, method=method, upper_bound=1.0)
        run = jax.jit(lambda s, spec=spec: spec.calibrate(s).upper)
        yield f"estimators, {method}", on_device(run, scores)


TASKS = {
    "split": split,
    "cqr": quantile_regression,
    "mondrian": mondrian,
    "weighted": weighted,
    "p-values": p_values,
    "cross": cross,
    "batch mean": batch_mean,
}


def seconds(function) -> float:
    """The time of one call, until its numbers are there."""
    start = time.perf_counter()
    jax.block_until_ready(function())
    return time.perf_counter() - start


def peak(function) -> float:
    """Megabytes of numpy arrays at once, beyond those at the start."""
    tracemalloc.start()
    function()
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found / 1e6


def measure(task, runs: int) -> None:
    """One table: median and least time, and time over ours."""
    methods = dict(task())
    differ = {name: "" for name in methods}
    if task not in (p_values, batch_mean):  # random, or a bound and a looser one
        found = {name: np.asarray(function()) for name, function in methods.items()}
        for name, ends in found.items():
            # TorchCP casts predictions to float32 on its way.
            gap = np.abs(ends - found["estimators"]) > (1e-5 if name == "TorchCP" else 1e-12)
            differ[name] = f"{gap.mean():.1%}"
    for function in [*methods.values()] * 5:
        function()  # so that pages, threads and clocks are awake for all alike
    times = {name: [] for name in methods}
    for _ in range(runs):
        for name, function in methods.items():
            times[name].append(seconds(function))
    ours = statistics.median(next(iter(times.values())))
    print(f"\n**{task.__doc__.strip()}**\n")
    print("| method | median ms | least ms | over ours | ends that differ from ours |")
    print("|---|---|---|---|---|")
    for name, values in times.items():
        middle = statistics.median(values)
        row = name, f"{1e3 * middle:.2f}", f"{1e3 * min(values):.2f}", f"{middle / ours:.1f}"
        print("|", " | ".join((*row, differ[name])), "|")
    if task is cross:
        print("\n| method | MB at once |\n|---|---|")
        for name, function in methods.items():
            if name != "estimators":
                print(f"| {name} | {peak(function):.0f} |")
        print(f"| estimators | {compiled_memory(5_000):.1f} |")
        print(f"| estimators, 100 000 x 100 000 | {compiled_memory(100_000):.1f} |")


def compiled_memory(n: int, folds: int = 10) -> float:
    """Megabytes that the compiled CV+ allocates, results included."""
    spec, fold = conformal.CrossConformal(COVERAGE), np.arange(n) % folds
    vector = jax.ShapeDtypeStruct((n,), np.float64)
    by_fold = jax.ShapeDtypeStruct((n, folds), np.float64)
    compiled = jax.jit(lambda mu, y, new: spec.calibrate(mu, y, fold).interval(new))
    found = compiled.lower(vector, vector, by_fold).compile().memory_analysis()
    return (found.temp_size_in_bytes + found.output_size_in_bytes) / 1e6


def main():
    """Print the tables that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--runs", type=int, default=11)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    for name in options.only:
        measure(TASKS[name], options.runs)


if __name__ == "__main__":
    main()
