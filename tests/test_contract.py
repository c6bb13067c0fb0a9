"""Every estimator of the library against the contract of `estimators.testing`."""

import jax
import jax.numpy as jnp
import pytest

from estimators import conformal, density, score
from estimators.testing import CHECKS, Contract


def normal(*shape):
    return lambda key, dtype: (jax.random.normal(key, shape, dtype),)


def pair(*shapes):
    def draw(key, dtype):
        keys = jax.random.split(key, len(shapes))
        return tuple(jax.random.normal(k, s, dtype) for k, s in zip(keys, shapes, strict=True))

    return draw


def weighted(key, dtype):
    return (*normal(60, 2)(key, dtype), jax.random.uniform(key, (60,), dtype))


def calibration(key, dtype):
    y, noise, width = (jax.random.normal(k, (40,), dtype) for k in jax.random.split(key, 3))
    return y + noise - jnp.abs(width), y + noise + jnp.abs(width), y


DENSITY = {
    "log_density": lambda fitted, x: fitted.log_density(x),
    "score": lambda fitted, x: fitted.score(x),
}

TABLE = [
    *(
        Contract(
            name=f"KDE({bandwidth!r})",
            data=normal(60, 2),
            fit=density.KDE(bandwidth).fit,
            inputs=normal(7, 2),
            methods=DENSITY,
            sample=lambda fitted, key: fitted.sample(5, key=key),
        )
        for bandwidth in ("scott", "silverman", "loo", 0.4, [0.4, 0.5], [[0.3, 0.1], [0.1, 0.2]])
    ),
    Contract(
        name="KDE(weights)",
        data=weighted,
        fit=density.KDE("loo", covariance="diagonal").fit,
        inputs=normal(7, 2),
        methods=DENSITY,
    ),
    Contract(
        name="regime",
        data=normal(60, 2),
        fit=density.KDE("scott").fit,
        inputs=normal(7, 2),
        methods={"regime": density.regime},
        differentiable=False,  # found by bisection
    ),
    *(
        Contract(
            name=f"Gaussian(rank={rank})",
            data=normal(60, 3),
            fit=score.Gaussian(rank).fit,
            inputs=normal(7, 3),
            methods={
                "score": lambda fitted, x: fitted.score(x, 0.5),
                "denoise": lambda fitted, x: fitted.denoise(x, 0.5),
                "log_density": lambda fitted, x: fitted.log_density(x, 0.5),
                "transport": lambda fitted, x: fitted.transport(x, 2.0, 0.1),
            },
        )
        for rank in (None, 1)
    ),
    Contract(
        name="SplitRegression",
        data=pair((40,), (40,)),
        fit=conformal.SplitRegression(0.9).calibrate,
        inputs=normal(7),
        methods={"interval": lambda fitted, x: fitted.interval(x)},
    ),
    *(
        Contract(
            name=f"ConformalizedQuantileRegression(symmetric={symmetric})",
            data=calibration,
            fit=conformal.ConformalizedQuantileRegression(0.9, symmetric=symmetric).calibrate,
            inputs=lambda key, dtype: tuple(
                jax.random.normal(key, (7,), dtype) + shift for shift in (0.0, 3.0)
            ),
            methods={"interval": lambda fitted, lower, upper: fitted.interval(lower, upper)},
        )
        for symmetric in (True, False)
    ),
    Contract(
        name="conformal_quantile",
        inputs=normal(40),
        methods={"quantile": lambda _, scores: conformal.conformal_quantile(scores, 0.9)},
        batched=False,
    ),
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_contract(row, check):
    if not check(row):
        pytest.skip("does not apply to this row")
