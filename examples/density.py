"""How dense is the distribution here, and can that number be believed?

Fits a kernel density to two columns of the data set that ships, then to all six, compares both
with a Gaussian and with the true density on held-out rows, and asks for the regime: whether
many rows carry the estimate at a point, so that it has an error bar, or a few.

Run: python examples/density.py
"""

import jax.numpy as jnp
import numpy as np

from estimators import data, density, score

values, columns = data.first_light()  # 2000 rows, six columns
truth = data.first_light_truth()  # the law they were drawn from
spread = values.std(0)
values = (values / spread).astype(np.float32)  # columns in units of their own spread
truth = truth.rescaled(np.zeros(6), spread)
train, held_out = jnp.asarray(values[:1500]), jnp.asarray(values[1500:])


def mean_and_error(x):
    """Mean over rows and its standard error."""
    x = np.asarray(x, np.float64)
    return x.mean(), x.std(ddof=1) / np.sqrt(len(x))


results = {}
for used in ([0, 1], [0, 1, 2, 3, 4, 5]):
    here, there = train[:, jnp.array(used)], held_out[:, jnp.array(used)]
    kernel = density.KDE(bandwidth="loo").fit(here)
    gaussian = score.Gaussian().fit(here)
    of_rows = {
        "kernel density": kernel.log_density(there),
        "Gaussian": gaussian.log_density(there, sigma=0.0),
        "true density": truth.marginal(used).log_density(np.asarray(there, np.float64)),
    }
    print(f"\n{', '.join(columns[i] for i in used)}: log-likelihood of held-out rows, nats a row")
    for name, value in of_rows.items():
        mean, error = results[len(used), name] = mean_and_error(value)
        print(f"  {name:<15} {mean:8.3f} ± {error:.3f}")

    regime = density.regime(kernel, there)
    share = results[len(used), "classical"] = float(np.mean(regime.label == "classical"))
    error = np.sqrt(share * (1 - share) / len(there))
    print(f"  rows where the value has an error bar: {share:.0%} ± {error:.0%}")
    print(f"  points that carry it, median: {float(jnp.median(regime.effective_points)):.1f}")
    lower, upper = regime.interval(0.95)
    for i in range(3):
        said = regime.reason[i] or f"95 % from {lower[i]:.2f} to {upper[i]:.2f}"
        print(f"  held-out row {i}: {regime.log_density[i]:.2f} nats, {said}")
