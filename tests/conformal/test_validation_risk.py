"""Risk control on simulated data, against its own guarantees.

Broken means further from the promise than three Monte-Carlo errors, on the wrong side: by chance
with probability .001 a row, were a method at the very edge of what it promises; keys are fixed.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.stats import norm

from estimators import conformal

pytestmark = pytest.mark.validation

REPLICATES, N, FAILURE = 4000, 200, 0.1
GRID = jnp.linspace(0.0, 1.0, 101)


def judge(title, methods, replicates=REPLICATES):
    """Print promised and measured, and return the names of those that break their promise.

    A method takes a key and returns what is to have a mean in an interval; with it come the
    interval's ends, either of them None.
    """
    print(f"\n**{title}**\n\n| method | promised | measured | error |\n|---|---|---|---|")
    broken = []
    for name, (method, at_least, at_most) in methods.items():
        keys = jax.random.split(jax.random.key(2), replicates)
        values = jax.lax.map(method, keys, batch_size=500).astype(float)
        measured = float(jnp.mean(values))
        error = float(jnp.std(values)) / np.sqrt(replicates)
        words = [f"{'' if at_least is None else f'{at_least:.4f} to '}{at_most:.4f}"]
        print(f"| {name} | {words[0]} | {measured:.4f} | {error:.4f} |", flush=True)
        low = at_least is not None and measured < at_least - 3 * error
        if low or measured > at_most + 3 * error:
            broken.append(name)
    return broken


def expected(loss, spec, n, power=1.0, weighted=False):
    """The loss of a new row at the parameter that was chosen: its mean is what is promised."""

    def method(key):
        of_rows, of_new = jax.random.split(key)
        x = jax.random.uniform(of_rows, (n,))
        new = jax.random.uniform(of_new, ()) ** power
        # Rows of density 2x have x that is the root of a uniform one.
        weights = {"weights": 2 * x} if weighted else {}
        calibrated = spec.calibrate(loss(x[:, None], GRID[None]), GRID, **weights)
        chosen = calibrated.choose(*[2 * new] * weighted)
        return loss(new, chosen.parameter)

    return method


def ramp(x, parameter):
    """Continuous, and 0 at the last parameter."""
    return jnp.clip(2 * (x - parameter), 0, 1)


def step(x, parameter):
    """Miscoverage of a score of `x`."""
    return (x > parameter).astype(float)


def wave(x, parameter):
    """Continuous, but it does not fall in every row."""
    up = 0.15 * (1 + jnp.sin(30 * parameter + 6 * x)) * (1 - parameter)
    return jnp.clip(2 * (x - parameter) + up, 0, 1) * (parameter < 1)


CRC, FALLING = conformal.ConformalRiskControl, 2 / (40 + 1)
EXPECTED = {
    # The grid adds up to a hundredth of slope to what a continuous parameter loses.
    "continuous, n = 40": (expected(ramp, CRC(0.2), 40), 0.2 - FALLING - 0.01, 0.2),
    "continuous, n = 39, risk .05": (expected(ramp, CRC(0.05), 39), 0.0, 0.05),
    "miscoverage, n = 40": (expected(step, CRC(0.2), 40), 0.2 - FALLING - 0.01, 0.2),
    "made to fall, n = 40": (expected(wave, CRC(0.2, monotonise=True), 40), None, 0.2),
    "risk below 1/(n + 1), n = 9": (expected(ramp, CRC(0.05), 9), None, 0.05),
    "shift to 2x, known weights, n = 40": (
        expected(ramp, CRC(0.2), 40, power=0.5, weighted=True),
        None,
        0.2,
    ),
}


@pytest.mark.parametrize("precision", [32, 64])
def test_expected_losses(precision):
    with jax.enable_x64(precision == 64):
        assert not judge(f"expected loss, float{precision}", EXPECTED)


def controlled(law, spec):
    """Whether the risk of the parameter that was chosen is above the one asked for."""

    def method(key):
        uniform = jax.random.uniform(key, (N, 1))
        # Between two parameters that straddle the risk asked for: the later one must be taken.
        risks = jnp.asarray([0.3, 0.101, 0.02, 0.0])
        if law == "binary":
            losses = (uniform < risks[None]).astype(float)
        elif law == "uniform":
            losses = 2 * uniform * risks[None]
        else:  # 1 now and then, small otherwise
            losses = jnp.where(uniform < risks[None] / 2, 1, (risks / 2 / (1 - risks / 2))[None])
            losses = jnp.where(risks[None] > 0, losses, 0)
            losses = jax.lax.cummax(losses, 1, reverse=True)
        calibrated = spec.calibrate(losses, jnp.arange(4.0))
        return risks[calibrated.index] > spec.risk

    return method


BOUNDS = ("hoeffding-bentkus", "waudby-smith-ramdas", "bernstein", "hoeffding")
SETS = {
    f"{bound}, {law} losses": (
        controlled(law, conformal.RiskControllingSets(0.1, FAILURE, bound)),
        None,
        FAILURE,
    )
    for law in ("binary", "uniform", "mixed")
    for bound in BOUNDS
}


def test_controlling_sets_fail_as_seldom_as_promised():
    assert not judge("P(risk > 0.1), n = 200", SETS)


def two_risks(spec):
    """Whether any valid parameter has a risk above the one asked for, of either kind."""
    places = jnp.arange(12.0)
    # Neither is monotone; at half of the parameters one of the two is a little too large.
    first = 0.03 + 0.072 * (jnp.sin(2.1 * places) > 0)
    second = 0.05 + 0.152 * (jnp.cos(1.3 * places) > 0.4)

    def method(key):
        of_one, of_two, of_noise = jax.random.split(key, 3)
        shared = jax.random.normal(of_noise, (N, 1))
        noise = 0.8 * shared + 0.6 * jax.random.normal(of_one, (N, 12))
        binary = (norm.cdf(noise) < first[None]).astype(float)
        continuous = 2 * second[None] * jax.random.uniform(of_two, (N, 12))
        valid = spec.calibrate((binary, continuous), places).valid
        return (valid & ((first > 0.1) | (second > 0.2))).any()

    return method


def family(name, **options):
    return conformal.LearnThenTest((0.1, 0.2), FAILURE, name, **options)


LOOP = jnp.roll(jnp.eye(12), 1, axis=1)
FAMILIES = {
    f"{name}, {bound}": (two_risks(spec(bound)), None, FAILURE)
    for bound in ("hoeffding-bentkus", "waudby-smith-ramdas")
    for name, spec in {
        "bonferroni": lambda bound: family("bonferroni", bound=bound),
        "holm": lambda bound: family("holm", bound=bound),
        "fixed sequence": lambda bound: family("fixed sequence", bound=bound),
        "fixed sequence, 4 starts": lambda bound: family("fixed sequence", bound=bound, starts=4),
        "graph, a loop": lambda bound: family(
            "graph", bound=bound, weights=jnp.full(12, 1 / 12), transitions=LOOP
        ),
    }.items()
}


def test_families_reject_true_hypotheses_as_seldom_as_promised():
    assert not judge("P(a valid parameter has a larger risk), two risks, n = 200", FAMILIES)


def true_hypotheses(test):
    """Whether one of three true hypotheses of eight is rejected; their p-values are uniform and
    dependent, those of the false ones small."""

    def method(key):
        of_noise, of_shared = jax.random.split(key)
        noise = jax.random.normal(of_noise, (8,)) * 0.6 + 0.8 * jax.random.normal(of_shared, ())
        true = jnp.array([0, 0, 1, 0, 1, 0, 1, 0], bool)
        return (test(norm.cdf(noise - 3 * ~true)) & true).any()

    return method


TESTS = {
    "bonferroni": lambda p: conformal.bonferroni_test(p, FAILURE),
    "holm": lambda p: conformal.holm_test(p, FAILURE),
    "fixed sequence": lambda p: conformal.fixed_sequence_test(p, FAILURE),
    "fixed sequence, 4 starts": lambda p: conformal.fixed_sequence_test(p, FAILURE, starts=4),
    "graph, a chain": lambda p: conformal.graphical_test(
        p, FAILURE, weights=jnp.full(8, 1 / 8), transitions=jnp.eye(8, k=1)
    ),
}


def test_tests_of_exact_p_values():
    methods = {name: (true_hypotheses(test), None, FAILURE) for name, test in TESTS.items()}
    assert not judge("P(a true hypothesis is rejected)", methods)
