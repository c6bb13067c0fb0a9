"""Rows of the contract for the rooms of `conformal` beyond regression and batches."""

import jax
import jax.numpy as jnp
import numpy as np
from draws import normal, pair, uniform

from estimators import conformal
from estimators.testing import Contract

KEY = jax.random.key(3)
LABELS = np.arange(60) % 4
BINARY = (np.arange(60) * 7 % 10 < 4).astype(int)
GRID = np.linspace(0.0, 1.0, 6, dtype=np.float32)
SEEN = np.arange(60) % 3 > 0


def probabilities(n):
    """Rows of four probabilities; with a NaN all of a row is NaN."""
    return lambda key, dtype: (jax.nn.softmax(jax.random.normal(key, (n, 4), dtype)),)


def times(n):
    return lambda key, dtype: (1.0 + jax.random.exponential(key, (n,), dtype),)


def row(name, fit, data, inputs, methods, **options):
    options = {"differentiable": False, "batched": False} | options
    return Contract(name=name, fit=fit, data=data, inputs=inputs, methods=methods, **options)


def kernel(name, inputs, methods, **options):
    return row(name, None, lambda key, dtype: (), inputs, methods, **options)


ROWS = [
    *(
        row(
            f"ConformalClassification({type(score).__name__})",
            lambda p, s=score: conformal.ConformalClassification(0.8, s).calibrate(p, LABELS),
            probabilities(60),
            probabilities(7),
            {
                "scores": lambda fitted, p: fitted.score.of_all(p),
                "contains": lambda fitted, p: fitted.contains(p),
            },
            batched=True,
            refuses_shapes=False,  # scores are of any rows, one of 28 classes too
            # Inside jit a row that is none has the empty set, which is not a number.
            refuses_nan=False,
        )
        for score in (conformal.LAC(), conformal.APS(), conformal.RAPS(), conformal.TopK())
    ),
    row(
        "ConformalEllipsoid",
        conformal.ConformalEllipsoid(0.8).calibrate,
        pair((40, 2), (40, 2)),
        normal(7, 2),
        {"volume": lambda fitted, x: fitted.volume(x)},
        batched=True,
    ),
    *(
        row(
            f"ConformalBox({method})",
            conformal.ConformalBox(0.8, method=method).calibrate,
            pair((40, 2), (40, 2)),
            normal(7, 2),
            {"bounds": lambda fitted, x: fitted.bounds(x)},
            batched=True,
            differentiable=True,
        )
        for method in ("scaled", "copula")
    ),
    *(
        kernel(
            type(spec).__name__,
            normal(30),
            {"thresholds": lambda _, s, spec=spec: spec.run(s).thresholds},
            # NaN from that score on: the thresholds before it were issued.
            refuses_nan=False,
        )
        for spec in (
            conformal.ACI(0.8, step=0.05, window=10),
            conformal.DtACI(0.8, window=10),
            conformal.AgACI(0.8, window=10),
            conformal.SFOGD(0.8, largest=3.0),
            conformal.SAOCP(0.8, largest=3.0),
            conformal.ConformalPID(0.8, window=10),
            conformal.EnbPI(0.8, window=10),
        )
    ),
    kernel(
        "ConformalRiskControl",
        uniform(40, 6),
        {
            "parameter": lambda _, losses: (
                conformal.ConformalRiskControl(0.5, monotonise=True)
                .calibrate(losses, GRID.astype(losses.dtype))
                .parameter
            )
        },
    ),
    kernel(
        "RiskControllingSets",
        uniform(40, 6),
        {
            "p_values": lambda _, losses: (
                conformal.RiskControllingSets(0.7, monotonise=True)
                .calibrate(losses, GRID.astype(losses.dtype))
                .p_values
            )
        },
    ),
    kernel(
        "LearnThenTest",
        uniform(40, 6),
        {
            "p_values": lambda _, losses: (
                conformal.LearnThenTest(0.7, bound="waudby-smith-ramdas")
                .calibrate(losses, GRID.astype(losses.dtype))
                .p_values
            )
        },
    ),
    row(
        "OutlierDetection",
        conformal.OutlierDetection(0.2).calibrate,
        normal(60),
        normal(7),
        {"detect": lambda fitted, s: fitted.detect(s)},
        refuses_shapes=False,
    ),
    row(
        "ConformalSelection",
        lambda x, y: conformal.ConformalSelection(0.2).calibrate(x, y, claim=0.5),
        pair((60,), (60,)),
        normal(7),
        {"p_values": lambda fitted, x: fitted.select(x, claim=0.5).p_values},
    ),
    kernel(
        "benjamini_hochberg",
        uniform(20),
        {"adjusted": lambda _, p: conformal.benjamini_hochberg(p).adjusted},
    ),
    kernel(
        "ExchangeabilityTest",
        uniform(30),
        {"log_path": lambda _, p: conformal.ExchangeabilityTest().monitor(p).log_path},
        refuses_nan=False,  # as for thresholds
        sample=None,
    ),
    row(
        "ConditionalConformal",
        conformal.ConditionalConformal(0.8).calibrate,
        lambda key, dtype: (
            normal(40)(key, dtype)[0],
            jnp.stack([jnp.ones(40, dtype), normal(40)(jax.random.fold_in(key, 1), dtype)[0]], 1),
        ),
        normal(5, 2),
        {"thresholds": lambda fitted, x: fitted.thresholds(x)},
        batched=True,
    ),
    row(
        "SurvivalLowerBound",
        lambda x, t: conformal.SurvivalLowerBound(0.8, cutoff=1.5).calibrate(x, t, t + 0.5),
        lambda key, dtype: (normal(60)(key, dtype)[0], times(60)(key, dtype)[0]),
        normal(7),
        {"lower_bound": lambda fitted, x: fitted.lower_bound(x)},
        batched=True,
    ),
    kernel(
        "kaplan_meier",
        times(60),
        {"survival": lambda _, t: conformal.kaplan_meier(t, SEEN).at(1.0 + jnp.arange(3.0))},
    ),
    *(
        row(
            type(spec).__name__,
            lambda s, spec=spec: spec.calibrate(s, BINARY),
            normal(60),
            normal(7),
            {"probability": lambda fitted, s: fitted.probability(s)},
            batched=True,
        )
        for spec in (
            conformal.VennAbers(),
            conformal.TemperatureScaling(),
            conformal.PlattScaling(),
            conformal.IsotonicScaling(),
        )
    ),
    kernel(
        "calibration error",
        uniform(60),
        {
            "binned": lambda _, p: conformal.calibration_error(p, BINARY).value,
            "kernel": lambda _, p: (
                conformal.kernel_calibration_error(
                    p, BINARY, bandwidth=0.1, power=2, debias=False
                ).value
            ),
        },
    ),
]
