"""A fitted density inside numpyro: as a distribution, a pytree, and a prior under NUTS."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.diagnostics import effective_sample_size
from numpyro.infer import MCMC, NUTS

from estimators import compat, density


@pytest.fixture(autouse=True)
def _ranks_as_numpyro_has_them():
    """It relies on NumPy's rank promotion, which the other tests refuse."""
    with jax.numpy_rank_promotion("allow"):
        yield


def fit(n=60):
    mixing = jnp.array([[1.0, 0.6], [0.0, 0.8]])
    points = jax.random.normal(jax.random.key(0), (n, 2)) @ mixing + jnp.array([3.0, -1.0])
    return density.KDE("scott").fit(points)


def moments(fitted):
    """Exact mean and covariance of the estimate."""
    weights = jnp.exp(fitted.log_weights)
    centres = fitted.points @ fitted.factor.T + fitted.location
    mean = weights @ centres
    centred = centres - mean
    return mean, (centred.T * weights) @ centred + fitted.factor @ fitted.factor.T


def test_log_prob_sample_and_shapes():
    fitted = fit()
    law = compat.numpyro.distribution(fitted)
    assert isinstance(law, dist.Distribution)
    assert (law.batch_shape, law.event_shape, law.event_dim) == ((), (2,), 1)
    assert law.support is dist.constraints.real_vector
    assert not law.has_rsample
    x = jax.random.normal(jax.random.key(1), (3, 4, 2))
    np.testing.assert_array_equal(law.log_prob(x), fitted.log_density(x))
    key = jax.random.key(2)
    draws = law.sample(key, (5, 3))
    assert draws.shape == law.shape((5, 3)) == (5, 3, 2)
    assert law.sample(key).shape == (2,)
    assert law.sample(key, (0,)).shape == (0, 2)
    old = law.sample(jax.random.PRNGKey(2), (5, 3))
    np.testing.assert_array_equal(draws, old)
    repeated = law.expand((7,)).to_event(1)
    assert repeated.log_prob(repeated.sample(key)).shape == ()


def test_it_is_a_pytree_of_its_arrays():
    """One compiled program serves every fit of one shape, and derivatives pass through."""
    traces = []

    @jax.jit
    def log_prob(law, x):
        traces.append(1)
        return law.log_prob(x)

    x = jnp.array([[3.0, -1.0], [0.0, 0.0]])
    for seed in (0, 1):
        points = jax.random.normal(jax.random.key(seed), (30, 2))
        law = compat.numpyro.distribution(density.KDE(0.5).fit(points))
        np.testing.assert_allclose(log_prob(law, x), law.log_prob(x), rtol=1e-5)
    assert len(traces) == 1
    again = jax.tree.unflatten(jax.tree.structure(law), jax.tree.leaves(law))
    np.testing.assert_array_equal(again.log_prob(x), law.log_prob(x))
    np.testing.assert_allclose(jax.vmap(law.log_prob)(x), law.log_prob(x), rtol=1e-5)
    score = jax.grad(lambda x: law.log_prob(x))(x[0])
    np.testing.assert_allclose(score, law.fitted.score(x[0]), rtol=1e-5)


def run(model, *data):
    sampler = MCMC(NUTS(model), num_warmup=300, num_samples=1500, progress_bar=False)
    sampler.run(jax.random.key(1), *data)
    return sampler.get_samples()["theta"]


def within(draws, mean, covariance, errors=4.5):
    """Mean and covariance within so many standard errors, by the chain's effective size."""
    size = effective_sample_size(np.asarray(draws)[None])
    assert (size > 100).all()
    spread = np.sqrt(np.diagonal(covariance))
    assert (np.abs(draws.mean(0) - mean) < errors * spread / np.sqrt(size)).all()
    centred = np.asarray(draws - mean)
    for i, j in ((0, 0), (0, 1), (1, 1)):
        product = centred[:, i] * centred[:, j]
        error = product.std() / np.sqrt(effective_sample_size(product[None]))
        assert abs(product.mean() - covariance[i, j]) < errors * error


def test_nuts_draws_the_prior():
    """Five moments within 4.5 standard errors: false alarm below 1e-4 for normal errors."""
    fitted = fit()

    def model():
        numpyro.sample("theta", compat.numpyro.distribution(fitted))

    within(run(model), *moments(fitted))


def test_nuts_draws_a_posterior():
    """One kernel is a normal prior, and normal data then have a normal posterior."""
    covariance = np.array([[1.0, 0.5], [0.5, 1.0]], np.float32)
    fitted = density.KDE(covariance).fit(jnp.array([[1.0, 2.0]]))

    def model(y):
        theta = numpyro.sample("theta", compat.numpyro.distribution(fitted))
        numpyro.sample("y", dist.Normal(theta[0], 0.5), obs=y)

    gain = covariance[:, 0] / (covariance[0, 0] + 0.25)
    mean = np.array([1.0, 2.0]) + gain * (3.0 - 1.0)
    within(run(model, 3.0), mean, covariance - np.outer(gain, covariance[0]))


def test_nan_is_numpyros_business():
    bad = jnp.array([jnp.nan, 0.0])
    quiet = compat.numpyro.KernelDensity(fit(), validate_args=False)
    assert jnp.isnan(quiet.log_prob(bad))
    strict = compat.numpyro.KernelDensity(fit(), validate_args=True)
    with pytest.warns(UserWarning, match="Out-of-support"):
        strict.log_prob(bad)


def test_without_numpyro_the_error_names_the_extra():
    probe = (
        "import sys; sys.modules['numpyro'] = None\n"
        "from estimators import compat\n"
        "try:\n    compat.numpyro\n"
        "except ImportError as error:\n    print(error)"
    )
    run = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert "estimators[numpyro]" in run.stdout


def test_a_module_that_is_not_there_says_so():
    with pytest.raises(AttributeError, match=r"'estimators\.compat' has no attribute 'torch'"):
        getattr(compat, "torch")  # noqa: B009
