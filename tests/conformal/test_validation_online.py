"""Online methods on scores that drift: the share covered against what is proven of it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from estimators.conformal import (
    ACI,
    SAOCP,
    SFOGD,
    AgACI,
    ConformalPID,
    DtACI,
    EnbPI,
    conformal_quantile,
    rolling_coverage,
)

pytestmark = pytest.mark.validation

REPLICATES, T, PAST, LOCAL, COVERAGE, LARGEST = 2000, 1000, 100, 100, 0.9, 10.0

METHODS = {
    "ACI, step 0.005": ACI(COVERAGE, window=PAST),
    "ACI, step 0.05": ACI(COVERAGE, step=0.05, window=PAST),
    "AgACI": AgACI(COVERAGE, window=PAST),
    "DtACI": DtACI(COVERAGE, window=PAST),
    "SFOGD": SFOGD(COVERAGE, largest=LARGEST),
    "SAOCP": SAOCP(COVERAGE, largest=LARGEST),
    "PID, saturation 0.5": ConformalPID(COVERAGE),
    "PID, saturation 0.1": ConformalPID(COVERAGE, saturation=0.1),
    "EnbPI": EnbPI(COVERAGE, window=PAST),
}

# The size of the scores at each step; the adversary's are of size 1 where it cannot win.
SCALES = {
    "exchangeable": jnp.ones(T),
    "change point: size 1, then 3": jnp.where(jnp.arange(T) < T // 2, 1.0, 3.0),
    "slow drift: size 1 to 3": jnp.linspace(1.0, 3.0, T),
    "adversary: just above the threshold, to 10 at most": jnp.ones(T),
}


def covered(spec, scale, adversary, key):
    """Which steps are covered, after 100 scores of size 1; a spec of None is split conformal."""
    scores = jnp.abs(jax.random.normal(key, (PAST + T,)))
    past, scores = scores[:PAST], jnp.minimum(scores[PAST:] * scale, LARGEST)
    fixed = conformal_quantile(past, COVERAGE)

    def step(state, score):
        threshold = fixed if spec is None else spec.threshold(state)
        ends = jnp.atleast_1d(threshold)
        over = jnp.nextafter(ends[-1], jnp.inf)
        if adversary:
            score = jnp.where((over > 0) & (over <= LARGEST), over, score)
        hit = score <= ends[-1]
        if ends.shape[0] == 2:
            hit = hit & (ends[0] <= score)
        return (None if spec is None else spec.update(state, score)), hit

    return jax.lax.scan(step, None if spec is None else spec.init(past), scores)[1]


@pytest.mark.parametrize("setting", SCALES)
def test_coverage_under_drift(setting):
    """A bound that is proven holds in each of 2000 series, not on average: chance has no part.

    Where there is none, exchangeable scores must be covered to within 0.03 of the target, and those
    that drift within 0.1, by the mean over series less three errors; EnbPI does not react, and no
    method but those with a bound is judged against the adversary. Split conformal must fail
    where the scores change: a test in which it did not would show nothing.
    """
    print(
        f"\n**{setting}**\n\n| method | proven | covered | error | least | most | worst {LOCAL} |"
    )
    print("|---|---|---|---|---|---|---|")
    keys, broken = jax.random.split(jax.random.key(3), REPLICATES), []
    adversary = setting.startswith("adversary")
    room = 0.03 if setting == "exchangeable" else 0.1
    for name, spec in {"split, fixed": None, **METHODS}.items():

        def series(key, spec=spec):
            hits = covered(spec, SCALES[setting], adversary, key)
            return hits.mean(), rolling_coverage(hits, LOCAL).coverage.min()

        run = jax.jit(lambda keys, series=series: jax.lax.map(series, keys, batch_size=200))
        shares, worst = map(np.asarray, run(keys))
        bound = np.inf if spec is None else float(spec.bound(T, spec.init(jnp.ones(PAST))))
        mean, error = shares.mean(), shares.std() / np.sqrt(REPLICATES)
        most = min(COVERAGE + bound, 1.0)
        proven = "-" if np.isinf(bound) else f"{COVERAGE - bound:.4f} to {most:.4f}"
        print(
            f"| {name} | {proven} | {mean:.4f} | {error:.4f} | {shares.min():.3f} | "
            f"{shares.max():.3f} | {worst.mean():.3f} |",
            flush=True,
        )
        if np.isfinite(bound):
            wrong = (np.abs(shares - COVERAGE) > bound + 1e-5).any()
        elif spec is None:
            wrong = setting != "exchangeable" and mean > COVERAGE - 0.1
        else:
            wrong = not adversary and abs(mean - COVERAGE) > room + 3 * error
        if wrong:
            broken.append(name)
    assert not broken
