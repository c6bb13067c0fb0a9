"""Who does the conformal intervals and p-values.

Most contenders are those of the script `benchmarks/conformal.py`.
"""

import numpy as np

from benchmarks.harness.bounds import passes
from benchmarks.harness.case import Contender

COVERAGE = 0.9


def taken(script, task, name):
    """The contender of that name out of a script's task."""

    def prepare(data):
        import importlib

        tasks = importlib.import_module(f"benchmarks.{script}")
        for found, call in getattr(tasks, task)(**data):
            if found == name:
                return call
        raise RuntimeError(f"{name} is not among the contenders of {task}")

    return prepare


def sizes_only(**sizes):
    """The script's task makes its own data, from a fixed seed."""
    return sizes


def ends(result):
    """Both ends of intervals, `(m, 2)`."""
    return np.stack([np.asarray(end, np.float64) for end in result], 1)


def of_script(task, library, name="", tolerance=1e-12, variant="", outcome=ends):
    """A contender of `benchmarks/conformal.py`."""
    prepare = taken("conformal", task, name or library)
    return Contender(library, prepare, "float64", tolerance, variant, outcome)


def copied(*lengths):
    """Arrays of so many times n numbers, copied once."""

    def prepare(data):
        arrays = {str(i): np.ones(int(k * data["n"])) for i, k in enumerate(lengths)}
        return passes(*arrays)(arrays)

    return prepare


def shifted_fits(n, m):
    """Predictions x, and outcomes x + 1 with noise: models learn the shift."""
    generator = np.random.default_rng(0)
    x, new = generator.normal(size=n), generator.normal(size=m)
    return {"x": x, "y": x + 1 + generator.normal(size=n), "new": new}


def our_jackknife(data):
    """Models without each row, their predictions, and the intervals, in one program."""
    import jax
    import jax.numpy as jnp

    from estimators import conformal

    x, y, new = (jnp.asarray(data[key]) for key in ("x", "y", "new"))
    fold = np.arange(len(data["x"]))

    @jax.jit
    def call(x, y, new):
        shifts = (jnp.sum(y - x) - (y - x)) / (len(x) - 1)
        calibrated = conformal.CrossConformal(COVERAGE).calibrate(x + shifts, y, fold)
        return calibrated.interval(new[:, None] + shifts[None])

    return lambda: call(x, y, new)


def mapie_jackknife(data):
    """The same model, fitted n times."""
    from mapie.regression import CrossConformalRegressor
    from sklearn.base import BaseEstimator, RegressorMixin
    from sklearn.model_selection import LeaveOneOut

    class Shift(RegressorMixin, BaseEstimator):
        def fit(self, x, y):
            self.shift_ = np.mean(y - x[:, 0])
            return self

        def predict(self, x):
            return x[:, 0] + self.shift_

    x, y, new = data["x"][:, None], data["y"], data["new"][:, None]

    def call():
        model = CrossConformalRegressor(
            Shift(), confidence_level=COVERAGE, method="plus", cv=LeaveOneOut()
        )
        found = model.fit_conformalize(x, y).predict_interval(new)[1]
        return found[:, 0, 0], found[:, 1, 0]

    return call


def rounded_scores(n):
    """Calibration and new scores, some equal."""
    generator = np.random.default_rng(0)
    scores, new = np.round(generator.exponential(size=(2, n)), 3)
    return {"scores": scores, "new": new}


def our_p_values(data):
    """By ranks."""
    import jax.numpy as jnp

    from estimators import conformal

    scores, new = jnp.asarray(data["scores"]), jnp.asarray(data["new"])
    return lambda: conformal.conformal_p_values(scores, new)


def crepes_p_values(data):
    """All pairs."""
    from crepes import ConformalRegressor

    fitted, new = ConformalRegressor().fit(residuals=data["scores"]), data["new"]
    return lambda: fitted.predict_p(y_hat=0 * new, y=new, smoothing=False)


def numpy_p_values(data):
    """A sort and a binary search."""
    scores, new = data["scores"], data["new"]

    def call():
        below = np.searchsorted(np.sort(scores), new, side="left")
        return (len(scores) - below + 1) / (len(scores) + 1)

    return call
