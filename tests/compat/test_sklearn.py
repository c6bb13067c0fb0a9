"""Information as a score function of scikit-learn."""

import subprocess
import sys

import numpy as np
import pytest
from sklearn.feature_selection import SelectFdr, SelectKBest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures

from estimators import compat, information
from estimators.compat.sklearn import information_scores

PERMUTATIONS = 99


def scores(X, y, **options):
    return information_scores(X, y, permutations=PERMUTATIONS, **options)


def table(n=150, p=6):
    """Nothing but noise, except that the target is the square of column 1."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, p))
    return X, X[:, 1] ** 2 + 0.3 * rng.normal(size=n)


def test_continuous_target():
    X, y = table()
    values, p_values = scores(X, y)
    assert values.shape == p_values.shape == (6,)
    assert values.dtype == p_values.dtype == np.float64
    assert values.argmax() == 1
    assert p_values[1] == pytest.approx(1 / (1 + PERMUTATIONS))
    u = information.normal_scores(np.stack([X[:, 1], y], 1).astype(np.float32))
    # Normal scores lie symmetrically, so some distances are equal but for their rounding, which
    # differs from one release of jax to the next: a neighbour more or less in a row or two.
    direct = float(information.ksg(u[:, :1], u[:, 1:]))
    assert values[1] == pytest.approx(direct, abs=1 / len(X))


def test_classes_in_a_pipeline():
    X, y = table()
    labels = np.array(["low", "middle", "high"])[np.digitize(y, [0.3, 1.2])]
    selector = SelectKBest(scores, k=1).fit(X, labels)
    assert selector.get_support().tolist() == [False, True, False, False, False, False]
    np.testing.assert_array_equal(selector.pvalues_, scores(X, labels)[1])
    pipeline = make_pipeline(SelectKBest(scores, k=1), PolynomialFeatures(2), LogisticRegression())
    chance = np.unique(labels, return_counts=True)[1].max() / len(labels)
    assert cross_val_score(pipeline, X, labels, cv=3).mean() > chance + 0.2


def test_selection_by_p_values():
    X, y = table()
    assert SelectFdr(scores, alpha=0.1).fit(X, y).get_support()[1]


def test_level_with_discrete_columns_and_classes():
    # 300 independent columns, half of them discrete: P-values at most .1 for 30 on average. They
    # share the target and the null, so count one call as 300 draws only roughly: 10 to 60.
    rng = np.random.default_rng(1)
    X = rng.normal(size=(60, 300))
    X[:, :150] = np.round(X[:, :150])
    _, p_values = information_scores(X, rng.integers(0, 3, 60), permutations=199)
    assert 10 <= (p_values <= 0.1001).sum() <= 60


def test_randomness_and_constant_columns():
    X, y = table()
    X[:, 3] = 7.0
    X[:, 4] = np.round(X[:, 4])
    one, again = scores(X, y), scores(X, y)
    np.testing.assert_array_equal(one, again)
    other = scores(X, y, random_state=1)
    assert one[0][4] != other[0][4]
    assert one[0][0] == other[0][0]  # without ties the values are not random
    assert (one[0][3], one[1][3]) == (0, 1)


def test_close_numbers_are_no_ties_in_64_bits():
    X, y = table()
    near = 1 + 1e-9 * X  # all equal in 32
    np.testing.assert_allclose(scores(near, y), scores(X, y), atol=1e-12)


@pytest.mark.parametrize(("change", "message"), [
    (lambda X, y: (np.where(X > 2, np.nan, X), y), "NaN"),
    (lambda X, y: (X[:-1], y), "inconsistent numbers of samples"),
    (lambda X, y: (X, 0 * y), "y must not be constant"),
    (lambda X, y: (X[:5], y[:5]), "minimum of 7"),
])  # fmt: skip
def test_refusals(change, message):
    with pytest.raises(ValueError, match=message):
        scores(*change(*table()))


def test_it_is_imported_when_it_is_asked_for():
    assert compat.sklearn.information_scores is information_scores
    probe = "import sys; import estimators.compat; print('sklearn' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
