"""What becomes of a promised coverage when the world changes, and how do I notice?

The noise of a stream triples half-way. A threshold that was calibrated once is then too small;
thresholds that learn from each miss recover, and a test by betting says that something changed.
300 streams, so that every number has a standard error.

Run: python examples/conformal_drift.py
"""

import jax
import jax.numpy as jnp

from estimators import conformal

COVERAGE, PAST, CHANGE, STREAMS = 0.9, 300, 500, 300

ONLINE = {
    "ACI": conformal.ACI(COVERAGE, step=0.03, window=200),
    "PID": conformal.ConformalPID(COVERAGE),
}
test = conformal.ExchangeabilityTest(threshold=20.0)  # a false alarm, ever: at most 1 in 20


def one_stream(key):
    """Coverage before and after the change, and when the alarm went."""
    of_errors, of_ties = jax.random.split(key)
    spread = jnp.where(jnp.arange(PAST + 2 * CHANGE) < PAST + CHANGE, 1.0, 3.0)
    scores = jnp.abs(spread * jax.random.normal(of_errors, (PAST + 2 * CHANGE,)))
    past, scores = scores[:PAST], scores[PAST:]
    covered = {"calibrated once": scores <= conformal.conformal_quantile(past, COVERAGE)}
    for name, spec in ONLINE.items():
        covered[name] = spec.run(scores, state=spec.init(past)).covered
    halves = {name: hit.reshape(2, CHANGE).mean(1) for name, hit in covered.items()}
    return halves, test.run(scores, key=of_ties).alarm


halves, alarms = jax.jit(jax.vmap(one_stream))(jax.random.split(jax.random.key(0), STREAMS))
results = {}
print(f"{STREAMS} streams, {COVERAGE:.0%} asked for     before the change     after it")
for name, shares in halves.items():
    mean, error = shares.mean(0), shares.std(0) / STREAMS**0.5
    results[name] = mean, error
    text = "     ".join(f"{m:.4f} ± {e:.4f}" for m, e in zip(mean, error, strict=True))
    print(f"  {name:<30}     {text}")

early, caught = (alarms >= 0) & (alarms < CHANGE), alarms >= CHANGE
results["alarms"] = early.mean(), caught.mean()
delay = jnp.median(alarms[caught]) - CHANGE
print(f"False alarms in {early.mean():.1%} of the streams (at most 5 % are promised);")
print(f"the change was noticed in {caught.mean():.1%}, half of the times within {delay:.0f} steps.")
