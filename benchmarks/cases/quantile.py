"""Sorting, projecting and scoring quantiles beside numpy, scikit-learn and scoringrules."""

import numpy as np

from benchmarks.harness.bounds import passes
from benchmarks.harness.case import Case, Contender, Growth


def predicted(n, levels, samples=1):
    """Quantiles that cross here and there, outcomes, and samples."""
    generator = np.random.default_rng(0)
    tall = np.sort(generator.normal(size=(n, levels)), 1)
    quantiles = tall + 0.1 * generator.normal(size=tall.shape)
    return {
        "quantiles": quantiles.astype(np.float32),
        "y": generator.normal(size=n).astype(np.float32),
        "levels": (np.arange(levels) + 1) / (levels + 1),
        "samples": generator.normal(size=(n, samples)).astype(np.float32),
    }


def ours(name):
    """A function of the quantiles alone."""

    def prepare(data):
        import jax.numpy as jnp

        from estimators import quantile

        rows, function = jnp.asarray(data["quantiles"]), getattr(quantile, name)
        return lambda: function(rows)

    return prepare


def numpy_sort(data):
    """Along the last axis."""
    return lambda: np.sort(data["quantiles"], -1)


def jax_sort(data):
    """XLA's own."""
    import jax
    import jax.numpy as jnp

    rows, sort = jnp.asarray(data["quantiles"]), jax.jit(lambda rows: jnp.sort(rows, -1))
    return lambda: sort(rows)


def scikit_learn_isotonic(data):
    """Row by row: it takes one at a time."""
    from sklearn.isotonic import isotonic_regression

    return lambda: np.stack([isotonic_regression(row) for row in data["quantiles"]])


def scipy_isotonic(data):
    """The same by scipy."""
    from scipy.optimize import isotonic_regression

    return lambda: np.stack([isotonic_regression(row).x for row in data["quantiles"]])


def our_pinball(data):
    """Losses of all rows and levels, and their means by level, in one program."""
    import jax
    import jax.numpy as jnp

    from estimators import quantile

    y, rows = jnp.asarray(data["y"]), jnp.asarray(data["quantiles"])
    levels = jnp.asarray(data["levels"], jnp.float32)
    mean = jax.jit(lambda *arrays: quantile.pinball_loss(*arrays).mean(0))
    return lambda: mean(y, rows, levels)


def scikit_learn_pinball(data):
    """A call for each level."""
    from sklearn.metrics import mean_pinball_loss

    y, rows = data["y"], data["quantiles"]

    def call():
        return [
            mean_pinball_loss(y, rows[:, k], alpha=level) for k, level in enumerate(data["levels"])
        ]

    return call


def scoringrules_pinball(data):
    """All at once in numpy."""
    from scoringrules import quantile_score

    y, levels = data["y"][:, None], data["levels"].astype(np.float32)
    return lambda: quantile_score(y, data["quantiles"], levels).mean(0)


def our_interval_score(data):
    """One score a row."""
    import jax.numpy as jnp

    from estimators import quantile

    y, rows = jnp.asarray(data["y"]), jnp.asarray(data["quantiles"])
    levels = jnp.asarray(data["levels"], jnp.float32)
    return lambda: quantile.weighted_interval_score(y, rows, levels)


def scoringrules_interval_score(data):
    """By intervals, as its authors define it."""
    from scoringrules import weighted_interval_score

    y, rows, levels = data["y"], data["quantiles"], data["levels"]
    half = len(levels) // 2
    lower, upper = rows[:, :half], rows[:, :half:-1]
    alpha = (2 * levels[:half]).astype(np.float32)
    return lambda: weighted_interval_score(y, rows[:, half], lower, upper, alpha)


def scoringrules_quantile_score(data):
    """As the mean pinball loss; it is the same number."""
    from scoringrules import crps_quantile

    levels = data["levels"].astype(np.float32)
    return lambda: crps_quantile(data["y"], data["quantiles"], levels)


def our_samples_score(data):
    """From sorted samples."""
    import jax.numpy as jnp

    from estimators import quantile

    y, samples = jnp.asarray(data["y"]), jnp.asarray(data["samples"])
    return lambda: quantile.crps_samples(y, samples)


def scoringrules_samples_score(data):
    """The same score, by its default form."""
    from scoringrules import crps_ensemble

    return lambda: crps_ensemble(data["y"], data["samples"])


def linear(n, d, levels):
    """A linear outcome with noise that grows with the first feature."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(n, d))
    y = x.sum(1) + (1 + 0.5 * np.abs(x[:, 0])) * generator.normal(size=n)
    return {"x": x, "y": y, "levels": (np.arange(levels) + 1) / (levels + 1)}


def our_regression(data):
    """All levels at once; their losses on the rows are returned."""
    import jax.numpy as jnp

    from estimators import quantile

    x, y, levels = (jnp.asarray(data[key]) for key in ("x", "y", "levels"))
    return lambda: quantile.LinearQuantiles().fit(x, y, levels).info.history[-1]


def scikit_learn_regression(data):
    """A linear program for each level."""
    from sklearn.linear_model import QuantileRegressor

    def call():
        models = (QuantileRegressor(quantile=level, alpha=0.0) for level in data["levels"])
        return np.stack([model.fit(data["x"], data["y"]).predict(data["x"]) for model in models])

    def losses(found):
        away = data["y"] - found
        level = data["levels"][:, None]
        return np.maximum(level * away, (level - 1) * away).mean(1)

    return lambda: losses(call())


ONCE = "the rows copied once"
CASES = [
    Case(
        name="sort",
        work="Rows of predicted quantiles that cross here and there, sorted.",
        data=predicted,
        sizes=({"n": 100_000, "levels": 19}, {"n": 100_000, "levels": 99}),
        quick={"n": 200, "levels": 9},
        contenders=(
            Contender("estimators", ours("sort_levels"), "float32", 0.0),
            Contender("numpy", numpy_sort, "float32", 0.0),
            Contender("jax.numpy", jax_sort, "float32", 0.0),
            Contender("roofline", passes("quantiles"), "float32"),
        ),
        bound=ONCE,
        compared="largest difference",
        growth=(
            Growth("n", (20_000, 40_000, 80_000, 160_000, 320_000), {"levels": 19}),
            Growth("levels", (8, 16, 32, 64, 128, 256), {"n": 20_000}),
        ),
    ),
    Case(
        name="isotonic projection",
        work="The same rows projected onto those that do not fall, in least squares.",
        data=predicted,
        sizes=({"n": 10_000, "levels": 99},),
        quick={"n": 100, "levels": 9},
        contenders=(
            Contender("estimators", ours("isotonic_levels"), "float32", 1e-5),
            Contender("scikit-learn", scikit_learn_isotonic, "float32", 1e-5),
            Contender("scipy", scipy_isotonic, "float32", 1e-5),
            Contender("roofline", passes("quantiles"), "float32"),
        ),
        bound=ONCE,
        compared="largest difference",
        growth=(
            Growth("n", (5_000, 10_000, 20_000, 40_000, 80_000), {"levels": 19}),
            Growth("levels", (8, 16, 32, 64, 128, 256), {"n": 5_000}),
        ),
    ),
    Case(
        name="pinball loss",
        work="Mean pinball loss at each level.",
        data=predicted,
        sizes=({"n": 100_000, "levels": 19},),
        quick={"n": 200, "levels": 9},
        contenders=(
            Contender("estimators", our_pinball, "float32", 1e-4),
            Contender("scikit-learn", scikit_learn_pinball, "float32", 1e-4),
            Contender("scoringrules", scoringrules_pinball, "float32", 1e-4),
            Contender("roofline", passes("quantiles", "y"), "float32"),
        ),
        bound=ONCE,
        compared="largest difference of a mean loss",
    ),
    Case(
        name="weighted interval score",
        work="One score a row. scoringrules has it by intervals and by levels; by intervals, "
        "version 0.10.0 adds the median where its distance from the outcome belongs.",
        data=predicted,
        sizes=({"n": 100_000, "levels": 19},),
        quick={"n": 200, "levels": 9},
        contenders=(
            Contender("estimators", our_interval_score, "float32", 1e-4),
            Contender("scoringrules", scoringrules_interval_score, "float32", 1e-4, "intervals"),
            Contender("scoringrules", scoringrules_quantile_score, "float32", 1e-4, "levels"),
            Contender("roofline", passes("quantiles", "y"), "float32"),
        ),
        bound=ONCE,
        compared="largest difference of a score",
        growth=(
            Growth("n", (100_000, 200_000, 400_000, 800_000, 1_600_000), {"levels": 19}),
            Growth("levels", (9, 19, 39, 79, 159), {"n": 100_000}),
        ),
    ),
    Case(
        name="ranked probability score of samples",
        work="The continuous ranked probability score of samples of each row.",
        data=predicted,
        sizes=({"n": 10_000, "levels": 1, "samples": 100},),
        quick={"n": 100, "levels": 1, "samples": 10},
        contenders=(
            Contender("estimators", our_samples_score, "float32", 1e-4),
            Contender("scoringrules", scoringrules_samples_score, "float32", 1e-4),
            Contender("roofline", passes("samples", "y"), "float32"),
        ),
        bound="the samples copied once",
        compared="largest difference of a score",
        growth=(Growth("samples", (16, 32, 64, 128, 256), {"n": 10_000, "levels": 1}),),
    ),
    Case(
        name="linear quantile regression",
        work="Linear quantiles at all levels, without a penalty; scikit-learn solves a linear "
        "program for each level.",
        data=linear,
        sizes=({"n": 1_000, "d": 5, "levels": 9}, {"n": 3_000, "d": 10, "levels": 9}),
        quick={"n": 100, "d": 2, "levels": 3},
        contenders=(
            Contender("estimators", our_regression, tolerance=1e-3),
            Contender("scikit-learn", scikit_learn_regression, tolerance=1e-3),
        ),
        bound="none: the number of steps is the algorithm's affair",
        compared="largest difference of a level's mean loss on the rows, over noise of one",
        growth=(
            Growth("n", (2_000, 4_000, 8_000, 16_000, 32_000), {"d": 5, "levels": 9}),
            Growth("d", (2, 4, 8, 16, 32), {"n": 4_000, "levels": 9}),
        ),
    ),
]
