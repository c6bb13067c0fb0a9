"""How much do two variables tell about each other, and is it anything at all?

Three pairs of columns of known mutual information: a Gaussian pair, a pair shaped like an X,
and an independent pair. Correlation sees the first only; nearest neighbours see both; a
permutation test says which dependence is more than chance.

Run: python examples/information.py
"""

import jax
import jax.numpy as jnp
import numpy as np

from estimators import data, information

values, columns = data.first_light()
truth = data.first_light_truth()
rows = jnp.asarray(values[:600], jnp.float32)

matrix = information.mutual_information_matrix(rows, key=jax.random.key(0))

results = {}
print("nats; ± is one standard error, brackets a 90 % interval\n")
for i, j in ((2, 3), (0, 1), (0, 4)):
    x, y = rows[:, [i]], rows[:, [j]]
    neighbours = information.KSG(neighbours=5).estimate(x, y)
    copula = information.GaussianCopula().estimate(x, y)
    lower, upper = neighbours.interval(0.9)
    exact = abs(truth.mutual_information(i, j))
    results[columns[i], columns[j]] = exact, neighbours, copula, matrix.p_value[i, j]
    print(f"{columns[i]} and {columns[j]}: truth {exact:.3f}")
    print(f"  correlation        {np.corrcoef(x[:, 0], y[:, 0])[0, 1]:+.3f}")
    print(
        f"  nearest neighbours {neighbours.value:.3f} ± {neighbours.standard_error:.3f}"
        f"  [{lower:.3f}, {upper:.3f}]"
    )
    print(f"  Gaussian copula    {copula.value:.3f} ± {copula.standard_error:.3f}")
    print(f"  independent? p =   {matrix.p_value[i, j]:.3f} (of 999 permutations)\n")

pairs = [(i, j) for i in range(6) for j in range(i + 1, 6) if bool(matrix.discovered[i, j])]
print("Dependent pairs of columns, at a false-discovery rate of 5 %:")
print("  " + "; ".join(f"{columns[i]} with {columns[j]}" for i, j in pairs))

# More than one column a side: the response given two columns at once.
both, response = rows[:300][:, jnp.array([2, 4])], rows[:300, [5]]
test = information.permutation_test(both, response, key=jax.random.key(1), permutations=99)
print(f"length and angle together with response: {test.observed:.2f} nats, p = {test.p_value:.2f}")
print("  (99 permutations: 0.01 is the smallest that there is)")
