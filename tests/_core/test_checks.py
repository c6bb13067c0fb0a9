"""What the boundary says of bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from estimators import density
from estimators._core import checks
from estimators.testing import refuses


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: checks.as_points("points", np.zeros(3, np.float32)), r"points\[:, None\]"),
        (lambda: checks.as_points("points", np.zeros((2, 2, 2), np.float32)), r"\(2, 2, 2\)"),
        (lambda: checks.as_float("x", "text"), "must be an array of numbers; got str 'text'"),
        (lambda: checks.as_float("x", np.zeros(2, complex)), "float32 or float64"),
        (lambda: checks.as_float("x", np.zeros(2, np.float16)), "got float16"),
        (lambda: checks.as_vector("y", np.zeros(2, np.float32), length=3), "length 3"),
        (lambda: checks.as_levels("levels", jnp.array([0.5, 1.0])), "between 0 and 1; got 1.0"),
        (lambda: checks.as_levels("levels", jnp.array([0.5, 0.5])), "increase strictly"),
        (lambda: checks.as_weights("w", jnp.array([1.0, -2.0]), 2, jnp.float32), "got|is -2.0"),
        (lambda: checks.as_weights("w", jnp.zeros(2), 2, jnp.float32), "positive sum"),
        (lambda: checks.one_of("rule", "scot", ["scott"]), "must be one of 'scott'; got 'scot'"),
        (lambda: checks.integer("n", 2.5, at_least=1), "whole number >= 1; got 2.5"),
        (lambda: checks.integer("n", True, at_least=1), "whole number"),
        (lambda: checks.as_key(jax.random.PRNGKey(0)), "new-style key"),
        (lambda: checks.as_key(jax.random.split(jax.random.key(0))), "jax.vmap"),
        (lambda: checks.positive("sigma", -1.0), "positive; got -1.0"),
        (lambda: checks.probability("coverage", 1.0), "between 0 and 1; got 1.0"),
        (lambda: checks.finite("x", jnp.array([[1.0], [jnp.inf]])), r"x\[1, 0\] is inf \(1 of 2"),
    ],
)
def test_message_names_the_argument_and_what_it_was(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_integers_become_the_default_float():
    assert checks.as_float("x", np.arange(3)).dtype == jnp.float32
    assert checks.as_float("x", [1, 2]).dtype == jnp.float32


def test_narrowing_is_said_once(monkeypatch):
    monkeypatch.setattr(checks.as_float, "warned", False)
    with pytest.warns(checks.PrecisionWarning, match="narrowed to float32"):
        checks.as_float("x", np.zeros(2))
    assert checks.as_float("x", np.zeros(2)).dtype == jnp.float32  # a warning is an error here


def test_jit_of_a_method_explains_itself():
    fitted = density.KDE(0.5).fit(jnp.ones((3, 1)))
    with pytest.raises(TypeError, match=r"jax.jit\(FittedKDE.method\)\(fitted, x\)"):
        jax.jit(fitted.log_density)(jnp.ones((1, 1)))
    got = jax.jit(density.FittedKDE.log_density)(fitted, jnp.ones((1, 1)))
    np.testing.assert_allclose(got, fitted.log_density(jnp.ones((1, 1))), rtol=1e-6)


def test_whole_numbers_of_the_host_do_not_wrap_around():
    large = np.array([2**33 + 5, -(2**40)])
    np.testing.assert_allclose(checks.as_float("x", large), large.astype(np.float32))
    np.testing.assert_allclose(checks.as_float("x", large.tolist()), large.astype(np.float32))
    with refuses("x must be an array of numbers"):
        checks.as_float("x", [10**400])
    assert checks.whole_numbers_fit(np.array([-(2**31), 2**31 - 1]))
    assert not checks.whole_numbers_fit(np.array([2**31]))
    inside = jax.jit(lambda t: checks.as_float("x", [t, 1]))(2.0)
    np.testing.assert_array_equal(inside, [2, 1])
