"""Regions for several columns on simulated data, against their guarantees."""

import jax
import jax.numpy as jnp
import pytest
from promises import judge

from estimators import conformal

pytestmark = pytest.mark.validation

COVERAGE = 0.8


def outcomes(key, n, columns=2):
    """Skewed errors that grow with x and go together: `(n, columns)` each."""
    of_x, of_noise, of_all = jax.random.split(key, 3)
    x = jax.random.uniform(of_x, (n, columns))
    own = jax.random.exponential(of_noise, (n, columns))
    common = jax.random.normal(of_all, (n, 1))
    return x, x + (0.1 + x) * (own + common)


def size(x):
    """A guess of the errors' size that is wrong."""
    return 0.3 + 0.5 * x


def about(key, spec, shape=None, n=60, columns=2):
    """Calibrate on n rows, predict one; `shape` makes of x a scale or a covariance."""
    x, y = outcomes(key, n + 1, columns)
    given = None if shape is None else shape(x)
    local = given is not None and given.shape[0] == n + 1 and given.ndim > 1
    of_rows, of_new = ([given[:n]], [given[n:]]) if local else ([given], [])
    calibrated = spec.calibrate(x[:n], y[:n], *of_rows)
    return calibrated, calibrated.contains(x[n:], y[n:], *of_new)[0]


def ellipsoid(**options):
    return lambda key: about(key, conformal.ConformalEllipsoid(COVERAGE), **options)


def box(method, **options):
    return lambda key: about(key, conformal.ConformalBox(COVERAGE, method=method), **options)


def curve(key, n):
    """Outcomes along a parabola that x moves."""
    x, free = jax.random.normal(key, (2, n, 2))
    return x, jnp.stack([free[:, 0], free[:, 0] ** 2 + x[:, 0] + 0.1 * free[:, 1]], 1)


def directional(fitted, n):
    """Networks that are trained once, and calibrated on n rows each time."""

    def run(key):
        x, y = curve(key, n + 1)
        calibrated = fitted.calibrate(x[:n], y[:n])
        return calibrated, calibrated.contains(x[n:], y[n:])[0]

    return run


def test_ellipsoids_and_boxes():
    """4000 calibration sets each; see `judge` for what is broken and how often by chance."""
    methods = {
        "ellipsoid, covariance of the first half": ellipsoid(),
        "ellipsoid, given covariance": ellipsoid(shape=lambda x: jnp.eye(2)),
        "ellipsoid, covariance of each row": ellipsoid(
            shape=lambda x: jax.vmap(jnp.diag)(size(x) ** 2)
        ),
        "ellipsoid, 5 columns": ellipsoid(columns=5),
        "box, scale of the first half": box("scaled"),
        "box, scale of each row": box("scaled", shape=size),
        "box, Bonferroni": box("bonferroni"),
        "box, Bonferroni, 5 columns": box("bonferroni", columns=5),
        "box, copula": box("copula"),
        "box, copula, 20 rows": box("copula", n=20),
        "box, copula, scale of each row": box("copula", shape=size),
        "box, copula, 5 columns": box("copula", columns=5),
    }
    assert not judge("several columns", methods)


def test_directional_quantiles():
    """The networks have learned little in 60 steps, and hardly anything in one."""
    methods = {}
    for steps in (1, 60):
        spec = conformal.DirectionalQuantiles(
            COVERAGE, width=8, depth=1, steps=steps, batch_size=32, directions=8, points=24
        )
        fitted = spec.fit(*curve(jax.random.key(0), 200), key=jax.random.key(1))
        for n in (19, 60):
            name = f"directional quantiles, {steps} steps, {n} rows"
            methods[name] = directional(fitted, n)
    assert not judge("directional quantiles of a representation", methods)
