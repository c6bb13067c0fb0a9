"""Everything that is shown runs: the examples, the docstrings, the README."""

import doctest
import importlib
import pkgutil
import re
import runpy
from pathlib import Path

import pytest
import slow

import estimators

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(estimators.__path__, "estimators.")
    if not module.name.endswith("__main__")
)


def density_example(results):
    """The kernel density beats a Gaussian on the X, and loses to the truth in six columns."""
    kernel, error = results[2, "kernel density"]
    assert kernel - results[2, "Gaussian"][0] > 2 * error
    assert abs(results[2, "true density"][0] - kernel) < 0.1
    assert results[2, "classical"] > 0.8 > 0.5 > results[6, "classical"]


def information_example(results):
    """Neighbours find the X, the copula does not, and independence is not rejected."""
    for truth, neighbours, _, _ in results.values():
        assert abs(neighbours.value - truth) < 3 * neighbours.standard_error
    assert results["north", "east"][2].value < 0.05
    assert results["north", "east"][3] <= 0.001
    assert results["north", "angle"][3] > 0.05


def score_example(results):
    """Empirical loses at low noise, and the skip saves evaluations at equal quality."""
    assert results["Gaussian", 0.3] < 0.1 < 10 < results["KDE", 0.3]
    assert results["Gaussian", 4.0] < 1e-3
    whole, skip = results["whole"], results["skip"]
    assert skip[0] < 0.7 * whole[0]
    assert skip[1] < 1.2 * whole[1]


def quantile_example(results):
    """The aggregator beats every model, the average and global weights, and not the truth."""
    learned = ("aggregator", "global weights")
    others = {name for name in results if name not in (*learned, "true quantiles")}
    assert results["true quantiles"] < results["aggregator"] < 1.01 * results["global weights"]
    assert all(results["aggregator"] < results[name] for name in others)


def quantile_stack_example(results):
    """The mixture is no worse than the average, and its outer levels are near their names."""
    assert results["aggregator"][0] < 1.02 * results["plain average"][0]
    # 100 rows after 80 for calibration: a standard deviation of .04 at level .05 or .95.
    shares = results["after the conformal step"][1]
    assert abs(shares[0] - 0.05) < 0.12
    assert abs(shares[-1] - 0.95) < 0.12


def conformal_example(results):
    """Coverage over 1000 data sets is that of the theory, k / (n + 1) = 181 / 201."""
    assert (abs(results["coverage"] - 181 / 201) < 4 * results["error"]).all()
    assert 0.92 < results["within"] < 0.98
    assert not results["few"][1] < float("inf")


def conformal_batch_example(results):
    """Exact statements hold as often as promised (4 errors of 2000 batches), split's does not."""
    one = results.pop("the threshold for one row: 90 of 100 below it")
    assert one < 0.7
    assert results.pop("all 100 errors") == 1
    assert all(0.9 - 0.027 < share < 0.95 for share in results.values())


def conformal_drift_example(results):
    """Before the change all cover; after it what was calibrated once covers as the law says.

    The threshold is near the normal quantile 1.645, and covers P(|Z| < 1.645 / 3) = .416 then.
    """
    early, caught = results.pop("alarms")
    assert early <= 0.05 + 3 * (0.05 * 0.95 / 300) ** 0.5  # 1 in 700
    assert caught > 0.9
    before, after = results.pop("calibrated once")[0]
    assert abs(before - 0.9) < 0.01
    assert abs(after - 0.416) < 0.01
    assert all(abs(mean - 0.9).max() < 0.02 for mean, _ in results.values())


def together_example(results):
    """Together is no worse than the best model, and the calibrated coverage is in its band."""
    best = min(results[name][0] for name in ("boosted", "linear", "neighbours"))
    assert results["true quantiles"][0] < results["together"][0] < 1.02 * best
    coverage, _, band = results["calibrated"]
    assert band.lower <= coverage <= band.upper


def information_adapt_example(results):
    """Adapted, the error is less by three standard errors; the calibration holds (4 of them)."""
    (adapted, error, coverage), (shipped, other, _) = (
        results[name] for name in ("MIST, adapted", "MIST, as shipped")
    )
    assert adapted + 3 * (error**2 + other**2) ** 0.5 < shipped
    assert coverage > 0.9 - 4 * (0.09 / 100 + 0.09 / 250) ** 0.5


def information_projection_example(results):
    learned, single = results["the learned projection"], results["the best single column"]
    assert results["cosine"] > 0.95
    assert learned.value > single.value + 0.5


def processes_example(results):
    """Several processes give the numbers of one, to float32; the threshold to the last bit."""
    assert len(results) == 5
    for name, (several, one) in results.items():
        assert abs(several - one) <= (0 if name == "threshold" else 1e-5 * max(1, abs(one)))


JUDGES = {
    "density": density_example,
    "information": information_example,
    "information_adapt": information_adapt_example,
    "information_projection": information_projection_example,
    "score": score_example,
    "quantile": quantile_example,
    "quantile_stack": quantile_stack_example,
    "conformal": conformal_example,
    "conformal_batch": conformal_batch_example,
    "conformal_drift": conformal_drift_example,
    "together": together_example,
    "processes": processes_example,
}


def test_every_example_is_judged():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(JUDGES)


# Training, many estimators, or starting Python twice more.
SLOW = {
    "conformal_batch",
    "information",
    "information_adapt",
    "information_projection",
    "quantile",
    "quantile_stack",
    "processes",
    "score",
}


@pytest.mark.parametrize("name", slow.parameters(JUDGES, SLOW))
def test_example(name, capsys):
    namespace = runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    printed = capsys.readouterr().out
    assert len(printed.splitlines()) >= 4
    assert "nan" not in printed.lower()
    JUDGES[name](namespace["results"])


# Training, choosing among many estimators, or drawing many data sets: slow to compile.
SLOW_EXAMPLES = {
    "estimators.information._neighbours._ross",
    "estimators.density._fast._approximate",
    "estimators.compat.sklearn",
    "estimators.density._fast._stream",
    "estimators.information._inference._permutation",
    "estimators.information._plug_in._adaptive",
    "estimators.information._neighbours._conditional",
    "estimators.conformal._predictive._highest_density",
    "estimators.information._compressed",
    "estimators.information._gaussian._conditional_gaussian",
    "estimators.conformal._conditional._spec",
    "estimators.information._gaussian._total_correlation_gaussian",
    "estimators.density._product._product",
    "estimators.quantile._stacking._out_of_fold",
    "estimators.information.simulate._bimodal",
    "estimators.information.simulate._flow",
    "estimators.conformal._multivariate._directional",
    "estimators.conformal._probability._correctness",
    "estimators.conformal._ratio._kernel",
    "estimators.density._operations._marginal",
    "estimators.density._operations._one_dimension",
    "estimators.density._regime",
    "estimators.information._inference._resampling",
    "estimators.information._plug_in._kde_plug_in",
    "estimators.information.simulate._benchmark",
    "estimators.density._forms._debias",
    "estimators.density._forms._scales",
    "estimators.density._operations._level_sets",
    "estimators.information._inference._matrix",
    "estimators.information._neighbours._mixture_ksg",
    "estimators.score._denoisers._train",
    "estimators.density._kde",
    "estimators.score._denoisers._unet",
    "estimators.information._mist._adapt",
    "estimators.information._neural._neural_bound",
    "estimators.quantile._aggregators._aggregator",
    "estimators.quantile._aggregators._local",
    "estimators.quantile._models._location_scale",
    "estimators.quantile._models._network",
}


@pytest.mark.parametrize("name", slow.parameters(MODULES, SLOW_EXAMPLES))
def test_docstrings(name):
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    failed, _ = doctest.testmod(importlib.import_module(name), optionflags=options)
    assert failed == 0


def test_every_public_class_and_function_is_documented():
    missing = []
    for room in estimators.__all__:
        module = getattr(estimators, room)
        for name in getattr(module, "__all__", ()):
            if callable(getattr(module, name)) and not getattr(module, name).__doc__:
                missing.append(f"{room}.{name}")
    assert not missing


def test_readme():
    readme = ROOT / "README.md"
    blocks = re.findall(r"^```python\n(.*?)^```", readme.read_text(encoding="utf-8"), re.M | re.S)
    assert blocks
    namespace: dict = {"__name__": "readme"}
    for block in blocks:
        exec(compile(block, str(readme), "exec"), namespace)
