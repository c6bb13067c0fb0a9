"""Every conformal method on simulated data, against its own guarantee: the table of the docs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.stats import norm
from promises import judge

from estimators import conformal

pytestmark = pytest.mark.validation

N, COVERAGE = 60, 0.8
LEVELS = jnp.asarray([0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95])


def rows(key, n, power=1.0):
    """x uniform to a power, and y with skewed noise that grows: `(n,)` each."""
    of_x, of_noise = jax.random.split(key)
    x = jax.random.uniform(of_x, (n,)) ** power
    return x, x + (0.1 + x) * jax.random.exponential(of_noise, (n,))


def size(x):
    """A guess of the noise's size that is wrong."""
    return 0.3 + 0.5 * x


def within(ends, y):
    """Whether the outcome of the one new row is inside."""
    return (ends[0][0] <= y[0]) & (y[0] <= ends[1][0])


def split(key, spec=None, scale=False, **where):
    """Calibrate on 60 rows, predict one. `where` makes of x what thresholds depend on."""
    of_rows, of_new, of_point = jax.random.split(key, 3)
    (x, y), (new_x, new_y) = rows(of_rows, N), rows(of_new, 1, where.pop("power", 1.0))
    calibration = {name: value(x) if callable(value) else value for name, value in where.items()}
    new = {name: value(new_x) for name, value in where.items() if callable(value)}
    if "points" in where:
        new["key"] = of_point
    scales = [size(x)] * scale, [size(new_x)] * scale
    spec = spec or conformal.SplitRegression(COVERAGE)
    calibrated = spec.calibrate(x, y, *scales[0], **calibration)
    return calibrated, within(calibrated.interval(new_x, *scales[1], **new), new_y)


def quantiles(key, **options):
    """Two predicted ends, and the middle where it is asked for."""
    of_rows, of_new = jax.random.split(key)
    (x, y), (new_x, new_y) = rows(of_rows, N), rows(of_new, 1)
    spec = conformal.ConformalizedQuantileRegression(COVERAGE, **options)
    sides = options.get("scaling") == "sides"
    calibrated = spec.calibrate(x, x + size(x), y, *[x + 0.2 * size(x)] * sides)
    middle = [new_x + 0.2 * size(new_x)] * sides
    return calibrated, within(calibrated.interval(new_x, new_x + size(new_x), *middle), new_y)


def estimated_ratio(key):
    """Weights from a classifier of 300 rows of each law."""
    of_rows, of_new, of_source, of_target = jax.random.split(key, 4)
    (x, y), (new_x, new_y) = rows(of_rows, N), rows(of_new, 1, 0.5)
    source, target = rows(of_source, 300)[0], rows(of_target, 300, 0.5)[0]
    ratio = conformal.LogisticRatio().fit(source[:, None], target[:, None]).ratio
    spec = conformal.SplitRegression(COVERAGE)
    calibrated = spec.calibrate(x, y, weights=ratio(x[:, None]))
    return calibrated, within(calibrated.interval(new_x, weights=ratio(new_x[:, None])), new_y)


def system(key):
    """The interval of a predictive system."""
    of_rows, of_new = jax.random.split(key)
    (x, y), (new_x, new_y) = rows(of_rows, N), rows(of_new, 1)
    calibrated = conformal.ConformalPredictiveSystem(COVERAGE).calibrate(x, y, size(x))
    return calibrated, within(calibrated.interval(new_x, size(new_x)), new_y)


def distributional(key, kind):
    """Normal quantiles, where the law is exponential."""
    of_rows, of_new = jax.random.split(key)
    (x, y), (new_x, new_y) = rows(of_rows, N), rows(of_new, 1)

    def model(x):
        return x[:, None] + size(x)[:, None] * norm.ppf(LEVELS)[None]

    spec = conformal.DistributionalConformal(COVERAGE, kind=kind)
    calibrated = spec.calibrate(model(x), LEVELS, y)
    return calibrated, within(calibrated.interval(model(new_x)), new_y)


def densest(key, score):
    """A normal density, where the law is exponential."""
    of_rows, of_new = jax.random.split(key)
    (x, y), (new_x, new_y) = rows(of_rows, N), rows(of_new, 1)
    grid = jnp.linspace(-4.0, 14.0, 201)

    def on_grid(x):
        return norm.logpdf(grid[None], x[:, None], size(x)[:, None])

    def at(x, y):
        return norm.logpdf(y, x, size(x))

    spec = conformal.HighestDensitySet(COVERAGE, score=score)
    if score == "density":
        calibrated = spec.calibrate(at(x, y))
        return calibrated, calibrated.contains(at(new_x, new_y))[0]
    calibrated = spec.calibrate(on_grid(x), grid, y)
    return calibrated, calibrated.contains(on_grid(new_x), grid, new_y)[0]


def ridge_fit(x, y, weight):
    """Coefficients of a line through weighted rows."""
    design = jnp.stack([jnp.ones_like(x), x], 1)
    gram = (design * weight[:, None]).T @ design + 1e-3 * jnp.eye(2)
    return jnp.linalg.solve(gram, (design * weight[:, None]).T @ y)


def predict(coefficients, x):
    """The line at x."""
    return coefficients[0] + coefficients[1] * x


def cross(key, folds, method="plus", **options):
    """A line fitted without each fold."""
    of_rows, of_new = jax.random.split(key)
    (x, y), (new_x, new_y) = rows(of_rows, N), rows(of_new, 1)
    fold = np.arange(N) % folds
    out = jnp.asarray(fold[None] != np.arange(folds)[:, None], x.dtype)
    models = jax.vmap(ridge_fit, (None, None, 0))(x, y, out)
    held_out = predict(models[fold].T, x)
    spec = conformal.CrossConformal(COVERAGE, method=method, **options)
    calibrated = spec.calibrate(held_out, y, fold)
    if method == "base":
        ends = calibrated.interval(full_model=predict(ridge_fit(x, y, jnp.ones(N)), new_x))
    else:
        ends = calibrated.interval(predict(models.T[:, None], new_x[:, None]))
    return calibrated, within(ends, new_y)


def cross_quantiles(key, folds=6):
    """A band about a line, fitted without each fold."""
    of_rows, of_new = jax.random.split(key)
    (x, y), (new_x, new_y) = rows(of_rows, N), rows(of_new, 1)
    fold = np.arange(N) % folds
    out = jnp.asarray(fold[None] != np.arange(folds)[:, None], x.dtype)
    models = jax.vmap(ridge_fit, (None, None, 0))(x, y, out)
    held_out, new = predict(models[fold].T, x), predict(models.T[:, None], new_x[:, None])
    spec = conformal.CrossConformalQuantileRegression(COVERAGE)
    calibrated = spec.calibrate(held_out - 0.2, held_out + 0.6, y, fold)
    return calibrated, within(calibrated.interval(new - 0.2, new + 0.6), new_y)


def bootstrap(key, aggregate):
    """30 lines, each of a bootstrap sample."""
    of_rows, of_new, of_sample = jax.random.split(key, 3)
    (x, y), (new_x, new_y) = rows(of_rows, N), rows(of_new, 1)
    drawn = jax.random.randint(of_sample, (30, N), 0, N)
    counts = jax.vmap(lambda sample: jnp.bincount(sample, length=N))(drawn)
    models = jax.vmap(ridge_fit, (None, None, 0))(x, y, counts.astype(x.dtype))
    spec = conformal.JackknifeAfterBootstrap(COVERAGE, aggregate=aggregate)
    calibrated = spec.calibrate(predict(models.T[:, None], x[:, None]), y, counts.T > 0)
    return calibrated, within(
        calibrated.interval(predict(models.T[:, None], new_x[:, None])), new_y
    )


def full(key, spec):
    """The test row in the fit."""
    of_rows, of_new = jax.random.split(key)
    (x, y), (new_x, new_y) = rows(of_rows, 19), rows(of_new, 1)
    fitted = spec.fit(x[:, None], y)
    return fitted, fitted.p_value(new_x[:, None], new_y)[0] > 1 - COVERAGE + 1e-6


def batch(key, spec, event, n=200, m=15, power=1.0, thin=False):
    """Scores of a batch of new rows, against bounds from those of calibration rows."""
    of_rows, of_new, of_thinning = jax.random.split(key, 3)
    (x, y), (new_x, new_y) = rows(of_rows, n), rows(of_new, m, power)
    kept = None
    if thin:
        kept = conformal.thin_to_shift(2 * x, largest=2.0, key=of_thinning).kept
    options = {} if kept is None else {"kept": kept}
    calibrated = spec.calibrate(jnp.abs(y - x), **options)
    return calibrated, event(calibrated, jnp.sort(jnp.abs(new_y - new_x)))


def ordered_mean(key):
    """The mean of 15 new scores, ordered by a reference sample of 100."""
    of_rows, of_new, of_reference, of_draws = jax.random.split(key, 4)
    scores = [jnp.abs(y - x) for x, y in map(rows, (of_rows, of_new, of_reference), (200, 15, 100))]
    spec = conformal.BatchMean(15, COVERAGE, ordering=scores[2], method="envelope", draws=199)
    calibrated = spec.calibrate(scores[0], key=of_draws)
    return calibrated, jnp.mean(scores[1]) <= calibrated.upper


def selected(key, false):
    """Claims y > 1 of 30 new rows: not more than `false` selected in error."""
    of_rows, of_new = jax.random.split(key)
    (x, y), (new_x, new_y) = rows(of_rows, 400), rows(of_new, 30)
    spec = conformal.BatchSelection(test=30, false=false, coverage=COVERAGE)
    calibrated = spec.calibrate(x, y, claim=1.0)
    wrong = calibrated.select(new_x) & (new_y <= 1)
    return calibrated, jnp.sum(wrong) <= false


def clipped(spec):
    """A batch spec for scores that are bounded."""

    def run(key):
        of_rows, of_new = jax.random.split(key)
        scores = [jnp.minimum(jnp.abs(y - x), 1) for x, y in map(rows, (of_rows, of_new), (60, 8))]
        calibrated = spec.calibrate(scores[0])
        statistic = {"maximum": jnp.max, "sum": jnp.sum}.get(
            getattr(spec, "batch_score", None), jnp.mean
        )
        return calibrated, statistic(scores[1]) <= calibrated.upper + 1e-6

    return run


SPLIT = conformal.SplitRegression
BATCH = conformal.BatchQuantile
METHODS = {
    "exchangeable": {
        "split": split,
        "split, scaled": lambda key: split(key, scale=True),
        "split, two ends": lambda key: split(key, SPLIT(COVERAGE, symmetric=False)),
        "split, local, bandwidth 0.2": lambda key: split(
            key, points=lambda x: x[:, None], bandwidth=0.2
        ),
        "CQR": quantiles,
        "CQR, two ends": lambda key: quantiles(key, symmetric=False),
        "CQR-r": lambda key: quantiles(key, scaling="width"),
        "CQR-m": lambda key: quantiles(key, scaling="sides"),
        "predictive system": system,
        "distributional, central": lambda key: distributional(key, "central"),
        "distributional, shortest": lambda key: distributional(key, "shortest"),
        "highest density": lambda key: densest(key, "density"),
        "highest density, by mass": lambda key: densest(key, "mass"),
        "CV+, 6 folds": lambda key: cross(key, 6),
        "CV+, 6 folds, two ends": lambda key: cross(key, 6, symmetric=False),
        "CV-minmax, 6 folds": lambda key: cross(key, 6, "minmax"),
        "CV, 6 folds": lambda key: cross(key, 6, "base"),
        "CV+ for quantiles, 6 folds": cross_quantiles,
        "jackknife+": lambda key: cross(key, N),
        "jackknife-minmax": lambda key: cross(key, N, "minmax"),
        "jackknife": lambda key: cross(key, N, "base"),
        "jackknife+-after-bootstrap, mean": lambda key: bootstrap(key, "mean"),
        "jackknife+-after-bootstrap, median": lambda key: bootstrap(key, "median"),
        "full ridge": lambda key: full(key, conformal.FullConformalRidge(COVERAGE)),
        "full ridge, deleted": lambda key: full(
            key, conformal.FullConformalRidge(COVERAGE, residuals="deleted")
        ),
        "full ridge, studentised": lambda key: full(
            key, conformal.FullConformalRidge(COVERAGE, residuals="studentised")
        ),
        "full nearest neighbours": lambda key: full(
            key, conformal.FullConformalNearestNeighbours(3, COVERAGE)
        ),
    },
    "groups": {
        "split, two groups": lambda key: split(
            key, groups=lambda x: (x > 0.7).astype(int), count=2
        ),
        "split, two groups and equal weights": lambda key: split(
            key, groups=lambda x: (x > 0.7).astype(int), count=2, weights=jnp.ones_like
        ),
    },
    "covariate shift, density ratio 2x": {
        "split, known weights": lambda key: split(key, weights=lambda x: 2 * x, power=0.5),
        "split, estimated weights": estimated_ratio,
        "batch quantile, thinned": lambda key: batch(
            key,
            BATCH(test=15, level=0.5, coverage=COVERAGE, side="two-sided"),
            lambda c, t: (c.lower <= t[7]) & (t[7] <= c.upper),
            power=0.5,
            thin=True,
        ),
    },
    "batches": {
        "quantile .9 of 15": lambda key: batch(
            key, BATCH(test=15, level=0.9, coverage=COVERAGE), lambda c, t: t[13] <= c.upper
        ),
        "median of 15, two-sided": lambda key: batch(
            key,
            BATCH(test=15, level=0.5, coverage=COVERAGE, side="two-sided"),
            lambda c, t: (c.lower <= t[7]) & (t[7] <= c.upper),
        ),
        "quartiles of 15 together": lambda key: batch(
            key,
            conformal.BatchQuantiles(test=15, positions=(4, 12), coverage=COVERAGE, region="box"),
            lambda c, t: (
                (c.lower <= t[jnp.array([3, 11])]) & (t[jnp.array([3, 11])] <= c.upper)
            ).all(),
        ),
        "all of 15": lambda key: batch(
            key,
            conformal.SimultaneousCoverage(test=15, coverage=COVERAGE),
            lambda c, t: t[14] <= c.threshold,
        ),
        "12 of 15": lambda key: batch(
            key,
            conformal.SimultaneousCoverage(test=15, share=0.8, coverage=COVERAGE),
            lambda c, t: t[11] <= c.threshold,
        ),
        "selection, none false": lambda key: selected(key, 0),
        "selection, 2 false at most": lambda key: selected(key, 2),
        "mean of 15, by an ordering": ordered_mean,
        "mean of 15, partition": lambda key: batch(
            key, conformal.PartitionMean(15, COVERAGE), lambda c, t: jnp.mean(t) <= c.upper
        ),
        "mean of 8 bounded, rank sum": clipped(
            conformal.BatchMean(8, COVERAGE, lower_bound=0.0, upper_bound=1.0)
        ),
        "maximum of 8 bounded": clipped(
            conformal.BatchScore(
                8, COVERAGE, lower_bound=0.0, upper_bound=1.0, batch_score="maximum", resolution=256
            )
        ),
    },
}


@pytest.mark.parametrize("setting", METHODS)
def test_every_method_keeps_its_promise(setting):
    """4000 calibration sets each; see `judge` for what is broken and how often by chance."""
    assert not judge(setting, METHODS[setting])
