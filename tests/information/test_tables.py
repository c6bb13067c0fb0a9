"""The tables in the docstrings of the classical estimators: `pytest -m validation -s`."""

import jax
import numpy as np
import pytest
from laws import LAWS

from estimators import information

REPLICATES = 200
SPECS = (
    information.CanonicalCorrelation(),
    information.Binned(),
    information.AdaptiveBinned(),
    information.KernelDensityPlugIn(),
    information.KernelDensityPlugIn(1.5),
)


def replicate(estimate, name, n):
    """Value, standard error, and 90 % interval over independent data sets of one law."""
    _, sample = LAWS[name]

    @jax.jit
    def run(keys):
        return jax.lax.map(lambda key: estimate(key, *sample(key, n)), keys)

    return tuple(map(np.asarray, run(jax.random.split(jax.random.key(11), REPLICATES))))


def summary(truth, value, error, lower, upper):
    ratio = np.sqrt(np.mean(error**2)) / value.std(ddof=1)
    covered = np.mean((lower <= truth + 1e-6) & (truth <= upper))
    return f"{value.mean() - truth:+.3f} {ratio:.2f} {covered:.2f}"


@pytest.mark.validation
@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("n", [100, 500])
def test_the_tables(spec, n):
    def estimate(_, x, y):
        found = spec.estimate(x, y)
        return found.value, found.standard_error, *found.interval(0.9)

    print(f"\n{spec}, n = {n}: bias, error ratio, coverage")
    for name, (truth, _) in LAWS.items():
        if isinstance(spec, information.AdaptiveBinned) and ("2x2" in name or "3x3" in name):
            continue
        value, error, lower, upper = replicate(estimate, name, n)
        print(f"  {name:24s} {summary(truth, value, error, lower, upper)}")
        assert np.isfinite(value).all()
        assert np.isfinite(error).all()


@pytest.mark.validation
@pytest.mark.parametrize("spec", [information.GaussianCopula(), information.KSG()])
def test_subsampling_intervals(spec):
    def interval(key, x, y):
        found = information.subsampling_interval(
            x, y, key=jax.random.fold_in(key, 1), estimator=spec, subsamples=99
        )
        return found.value, found.standard_error, found.lower, found.upper

    print(f"\n{spec}, n = 200, subsamples of 100: bias, error ratio, coverage")
    names = (
        "normal 1x1, rho = 0", "normal 1x1, rho = 0.75", "normal 3x3, rho = 0.5",
        "mixture of rho = +-0.9",
    )  # fmt: skip
    for name in names:
        truth = LAWS[name][0]
        found = replicate(interval, name, 200)
        print(f"  {name:24s} {summary(truth, *found)}")
        assert np.isfinite(found[0]).all()
