"""Which set holds the answer with the coverage that I asked for?

A straight line is fitted to data that are not straight and whose noise is not constant. The
intervals cover all the same: on average over many data sets, which is what is promised. Shown
too: how far one data set may stray, and what happens with too few calibration rows.

Run: python examples/conformal.py
"""

import jax
import jax.numpy as jnp

from estimators import conformal

COVERAGE, CALIBRATION, TEST = 0.9, 200, 500


def draw(n, key):
    """A parabola with noise that grows with x."""
    of_x, of_noise = jax.random.split(key)
    x = jax.random.uniform(of_x, (n,), minval=-2.0, maxval=2.0)
    return x, 0.2 * x**2 + x + (0.2 + jnp.abs(x)) * jax.random.normal(of_noise, (n,))


x, y = draw(500, jax.random.key(0))
slope, intercept = jnp.polyfit(x, y, 1)  # the wrong model, fitted once


def one_data_set(key):
    """Coverage and mean width of two kinds of interval on a fresh data set."""
    of_calibration, of_test = jax.random.split(key)
    x, y = draw(CALIBRATION, of_calibration)
    new_x, new_y = draw(TEST, of_test)
    split = conformal.SplitRegression(coverage=COVERAGE)
    plain = split.calibrate(slope * x + intercept, y).interval(slope * new_x + intercept)
    scaled = split.calibrate(slope * x + intercept, y, 0.2 + jnp.abs(x))
    scaled = scaled.interval(slope * new_x + intercept, 0.2 + jnp.abs(new_x))
    ends = jnp.stack([jnp.stack(plain), jnp.stack(scaled)])  # kind, end, row
    inside = (ends[:, 0] <= new_y[None]) & (new_y[None] <= ends[:, 1])
    return inside.mean(-1), (ends[:, 1] - ends[:, 0]).mean(-1)


coverage, width = jax.jit(jax.vmap(one_data_set))(jax.random.split(jax.random.key(1), 1000))
results = {"coverage": coverage.mean(0), "error": coverage.std(0) / 1000**0.5}
print("1000 data sets, 90 % asked for     coverage          mean width")
for i, name in enumerate(("constant width", "width ~ noise")):
    print(
        f"  {name:<30}   {coverage[:, i].mean():.4f} ± {results['error'][i]:.4f}"
        f"   {width[:, i].mean():.2f} ± {width[:, i].std() / 1000**0.5:.2f}"
    )

band = conformal.coverage_band(CALIBRATION, TEST, COVERAGE)
results["within"] = float(((coverage[:, 0] >= band.lower) & (coverage[:, 0] <= band.upper)).mean())
print(f"One data set should land in {band.lower:.3f} to {band.upper:.3f} (95 %);")
print(f"  {results['within']:.1%} of the 1000 did.")

few = conformal.SplitRegression(coverage=0.99).calibrate(jnp.zeros(50), jnp.ones(50))
results["few"] = few.interval(jnp.zeros(1))
print(f"99 % from 50 rows: [{results['few'][0][0]}, {results['few'][1][0]}], for {few.reason}.")
