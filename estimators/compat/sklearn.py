"""Mutual information as a score function of scikit-learn: `information_scores`."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from estimators._core import checks
from estimators.information._inference._permutation import null_of, p_value
from estimators.information._neighbours._ksg import mean_contribution
from estimators.information._ranks import score_vector

try:
    from sklearn.utils import check_random_state, check_X_y
    from sklearn.utils.multiclass import type_of_target
except ImportError as error:
    raise ImportError(
        "estimators.compat.sklearn needs scikit-learn, which is not installed. Write "
        "pip install 'estimators[sklearn]'"
    ) from error

__all__ = ["information_scores"]


def information_scores(
    X, y, *, neighbours: int = 5, permutations: int = 999, random_state=0
) -> tuple[np.ndarray, np.ndarray]:
    """Mutual information of every column with the target, and its p-value of independence.

    A `score_func` for `SelectKBest`, `SelectPercentile`, `SelectFpr`, `SelectFdr` and
    `SelectFwe`; the last three need p-values, which `mutual_info_regression` and
    `mutual_info_classif` do not give. Every column and the target become normal scores with ties
    broken at random, see `estimators.information.normal_scores`: they may be continuous,
    discrete or both, and classes may be strings. One simulated null distribution of KSG serves all
    columns, see `estimators.information.ksg_null`: the p-values are exact for every n.

    Args:
        X: `(n, p)`, numbers, dense.
        y: `(n,)`, numbers or class labels.
        neighbours: k of KSG.
        permutations: B; the smallest p-value is 1 / (1 + B).
        random_state: seed, `RandomState` or None as everywhere in scikit-learn; it breaks ties
            and draws the permutations. The default makes equal calls give equal results.

    Returns:
        Scores `(p,)` in nats and p-values `(p,)`. A constant column has score 0 and p-value 1.

    Raises:
        ValueError: for what `sklearn.utils.check_X_y` refuses (NaN, different lengths), fewer
            than k + 2 rows, or a constant target.
        ImportError: if scikit-learn is not installed (the extra `sklearn`).

    Reference: Kraskov, Stögbauer & Grassberger (2004), equation 8.

    Example:
        >>> import numpy as np
        >>> from sklearn.feature_selection import SelectFdr
        >>> from estimators.compat.sklearn import information_scores
        >>> rng = np.random.default_rng(0)
        >>> X = rng.normal(size=(200, 4))
        >>> y = X[:, 2] ** 2 + 0.3 * rng.normal(size=200)
        >>> SelectFdr(information_scores, alpha=0.05).fit(X, y).get_support()
        array([False, False,  True, False])

    When it fails: each column is looked at alone; two that say something only together (an
    exclusive or) are not found, and two that say the same are both kept. Of a class label with
    few rows KSG sees little; use `estimators.information.Ross` for the amount.
    """
    checks.integer("neighbours", neighbours, at_least=1)
    checks.integer("permutations", permutations, at_least=1)
    numeric = type_of_target(y, input_name="y").startswith("continuous")
    X, y = check_X_y(X, y, y_numeric=numeric, ensure_min_samples=neighbours + 2)
    X = np.asarray(X, np.float64)
    target = y if numeric else np.unique(y, return_inverse=True)[1]
    if (target == target[0]).all():
        raise ValueError(f"y must not be constant: nothing can be told about it; it is {y[0]}")
    random = check_random_state(random_state)
    # Ranks in numpy: in 32 bits jax would make ties of numbers that differ in 64.
    ranks = np.stack([_random_ranks(column, random) for column in (target, *X.T)], 1)
    seed = random.randint(np.iinfo(np.int32).max)
    values, p_values = _scores(jnp.asarray(ranks), seed, neighbours, permutations)
    constant = (X == X[:1]).all(0)
    values = np.where(constant, 0, np.asarray(values, np.float64))
    return values, np.where(constant, 1, np.asarray(p_values, np.float64))


def _random_ranks(column, random) -> np.ndarray:
    """Ranks from 0, equal values in random order."""
    order = np.lexsort((random.permutation(len(column)), column))
    ranks = np.empty(len(column), np.int32)
    ranks[order] = np.arange(len(column), dtype=np.int32)
    return ranks


@functools.partial(jax.jit, static_argnames=("neighbours", "permutations"))
def _scores(ranks, seed, neighbours, permutations):
    column = score_vector(ranks.shape[0], jnp.result_type(float))
    null = null_of(column, jax.random.key(seed), neighbours, permutations)
    target = column[ranks[:, :1]]

    def one(ranks):
        value = mean_contribution(column[ranks[:, None]], target, neighbours)
        return value, p_value(null, value)

    return jax.lax.map(one, ranks[:, 1:].T)
