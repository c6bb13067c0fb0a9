"""What can be said about the next 100 predictions together?

A model's errors on 500 rows that it has not seen are known. Four statements about the errors of
the next 100 rows are made from them, each to hold with probability 0.9 for the whole batch; then
2000 further data sets say how often each holds. The threshold that covers one row with
probability 0.9 is shown beside them: it is an answer to another question.

Run: python examples/conformal_batch.py
"""

import jax
import jax.numpy as jnp

from estimators import conformal

CALIBRATION, TEST, COVERAGE = 500, 100, 0.9


def errors(key, n):
    """Absolute errors of a model that is wrong, on rows it has not seen."""
    of_x, of_noise = jax.random.split(key)
    x = jax.random.normal(of_x, (n,))
    return jnp.abs(0.3 * x**2 + (0.5 + jnp.abs(x)) * jax.random.normal(of_noise, (n,)))


median = conformal.BatchQuantile(test=TEST, level=0.5, side="two-sided", coverage=COVERAGE)
most = conformal.SimultaneousCoverage(test=TEST, share=0.9, coverage=COVERAGE)
every = conformal.SimultaneousCoverage(test=TEST, share=1.0, coverage=COVERAGE)
mean = conformal.PartitionMean(20, COVERAGE)


@jax.jit
def statements(key):
    """The statements from one data set, and whether each holds for its batch."""
    of_calibration, of_test = jax.random.split(key)
    known, new = errors(of_calibration, CALIBRATION), jnp.sort(errors(of_test, TEST))
    first = jax.random.permutation(jax.random.fold_in(of_test, 1), new)[:20]
    one = conformal.conformal_quantile(known, COVERAGE)
    bounds = {
        "the threshold for one row: 90 of 100 below it": (0.0, one, new[89]),
        "90 of 100 errors": (0.0, most.calibrate(known).threshold, new[89]),
        "all 100 errors": (0.0, every.calibrate(known).threshold, new[99]),
        "the median of 100": (
            median.calibrate(known).lower,
            median.calibrate(known).upper,
            new[49],
        ),
        "the mean of the first 20": (0.0, mean.calibrate(known).upper, first.mean()),
    }
    return {name: (*b, (b[0] <= b[2]) & (b[2] <= b[1])) for name, b in bounds.items()}


print(f"From {CALIBRATION} errors, for a batch of {TEST}, with probability {COVERAGE}:")
many = jax.lax.map(statements, jax.random.split(jax.random.key(1), 2000), batch_size=100)
results, shown = {}, statements(jax.random.key(0))
print(f"  {'':<46} {'from':>5} {'to':>6} {'was':>6}   holds in")
for name in sorted(shown, key=lambda name: many[name][3].mean()):
    (lower, upper, was, _), share = shown[name], many[name][3].mean()
    results[name] = float(share)
    print(
        f"  {name:<46} {lower:5.2f} {upper:6.2f} {was:6.2f}   "
        f"{share:.3f} ± {jnp.sqrt(share * (1 - share) / 2000):.3f} of 2000 batches"
    )
print(f"All 100 at once: {every.calibrate(errors(jax.random.key(0), 500)).reason}.")
