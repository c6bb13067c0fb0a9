"""Mutual information beside scikit-learn, and beside its formulas over scipy's trees."""

import numpy as np

from benchmarks.harness.case import Case, Contender, Growth

NEIGHBOURS = 3
NO_BOUND = "none: the work depends on how many neighbours a search meets"


def correlated(n, d=1, correlation=0.75):
    """Normal columns, each of one side correlated with its twin of the other."""
    generator = np.random.default_rng(0)
    x, noise = generator.normal(size=(2, n, d))
    return {"x": x, "y": correlation * x + np.sqrt(1 - correlation**2) * noise}


def tree_value(x, y, k=NEIGHBOURS):
    """Kraskov's first estimate (2004, equation 8) by three k-d trees of scipy, as NPEET does."""
    from scipy.spatial import cKDTree
    from scipy.special import digamma

    x, y = (side / side.std(0) for side in (x, y))
    joint = np.hstack([x, y])
    radii = cKDTree(joint).query(joint, k + 1, p=np.inf)[0][:, -1]
    inside = np.nextafter(radii, 0)  # strictly within
    total = digamma(k) + digamma(len(x))
    for side in (x, y):
        # The count includes the point itself, as digamma(n_x + 1) asks.
        counts = cKDTree(side).query_ball_point(side, inside, p=np.inf, return_length=True)
        total -= np.mean(digamma(counts))
    return total


def our_neighbours(dtype):
    """The value alone, as the peers give it."""

    def prepare(data):
        import jax.numpy as jnp

        from estimators import information

        x, y = (jnp.asarray(data[side], dtype) for side in "xy")
        return lambda: information.ksg(x, y, neighbours=NEIGHBOURS)

    return prepare


def of_trees(data):
    """The formula over scipy's trees."""
    return lambda: tree_value(data["x"], data["y"])


def of_scikit_learn(data):
    """Single columns only."""
    from sklearn.feature_selection import mutual_info_regression

    def call():
        return mutual_info_regression(
            data["x"], data["y"][:, 0], n_neighbors=NEIGHBOURS, random_state=0
        )[0]

    return call


def our_copula(data):
    """The value of the Gaussian copula."""
    import jax.numpy as jnp

    from estimators import information

    x, y = (jnp.asarray(data[side]) for side in "xy")
    return lambda: information.gaussian_copula(x, y)


def scipy_copula(data):
    """Ince et al. (2017), equations 9 to 12, with scipy's ranks and digamma."""
    from scipy.special import digamma, ndtri
    from scipy.stats import rankdata

    def call():
        x, y = (ndtri(rankdata(data[side], axis=0) / (len(data[side]) + 1)) for side in "xy")
        n, dx, dy = len(x), x.shape[1], y.shape[1]
        logs = [
            np.linalg.slogdet(np.atleast_2d(np.cov(columns.T)))[1]
            for columns in (x, y, np.hstack([x, y]))
        ]
        i = np.arange(1, dy + 1)
        bias = np.sum(digamma((n - i) / 2) - digamma((n - dx - i) / 2)) / 2
        return (logs[0] + logs[1] - logs[2]) / 2 - bias

    return call


def our_network(data):
    """The shipped network."""
    import jax.numpy as jnp

    from estimators import information

    x, y = (jnp.asarray(data[side], jnp.float32) for side in "xy")
    estimator = information.MIST()
    return lambda: estimator.estimate(x, y).value


SUBSAMPLES, PERMUTATIONS = 99, 199


def our_interval(data):
    """One program for all subsamples."""
    import jax
    import jax.numpy as jnp

    from estimators import information

    x, y = (jnp.asarray(data[side]) for side in "xy")

    def call():
        found = information.subsampling_interval(
            x,
            y,
            key=jax.random.key(0),
            estimator=information.KSG(NEIGHBOURS),
            subsamples=SUBSAMPLES,
        )
        return found.value, found.lower, found.upper

    return call


def trees_interval(data):
    """The same interval (Politis & Romano 1994) in a loop."""
    x, y = data["x"], data["y"]
    n = len(x)

    def call():
        generator = np.random.default_rng(0)
        value = tree_value(x, y)
        replicates = []
        for _ in range(SUBSAMPLES):
            rows = generator.choice(n, n // 2, replace=False)
            replicates.append(tree_value(x[rows], y[rows]) - value)
        low, high = np.quantile(replicates, [0.05, 0.95], method="inverted_cdf")
        return value, max(value - high, 0.0), value - low

    return call


def _summary(result):
    observed, null = result
    null = np.asarray(null)
    return [float(observed), null.mean(), null.std(), np.mean(null >= observed)]


def our_test(data):
    """One program for all permutations."""
    import jax
    import jax.numpy as jnp

    from estimators import information

    x, y = (jnp.asarray(data[side]) for side in "xy")
    statistic = information.KSG(NEIGHBOURS)

    def call():
        found = information.permutation_test(
            x, y, key=jax.random.key(0), statistic=statistic, permutations=PERMUTATIONS
        )
        return found.observed, found.null

    return call


def trees_test(data):
    """The same in a loop."""
    x, y = data["x"], data["y"]

    def call():
        generator = np.random.default_rng(0)
        null = [tree_value(x, generator.permutation(y)) for _ in range(PERMUTATIONS)]
        return tree_value(x, y), null

    return call


DIFFERENCE = "difference of the value, nats"
CASES = [
    Case(
        name="nearest neighbours, single columns",
        work="Kraskov's first estimate of the mutual information of two columns, k = 3.",
        data=correlated,
        sizes=({"n": 1_000}, {"n": 10_000}, {"n": 50_000}),
        quick={"n": 200},
        contenders=(
            Contender("estimators", our_neighbours("float32"), "float32", 1e-3),
            Contender("estimators", our_neighbours("float64")),
            # It adds noise of 1e-10 standard deviations first.
            Contender("scikit-learn", of_scikit_learn, tolerance=1e-3),
            Contender("scipy", of_trees, variant="k-d trees"),
        ),
        bound=NO_BOUND,
        compared=DIFFERENCE,
        growth=(Growth("n", (2_000, 4_000, 8_000, 16_000, 32_000, 64_000), {}),),
    ),
    Case(
        name="nearest neighbours, many columns",
        work="The same of two sides of d columns. scikit-learn takes single columns only.",
        data=correlated,
        sizes=({"n": 2_000, "d": 3}, {"n": 5_000, "d": 5}),
        quick={"n": 200, "d": 2},
        contenders=(
            Contender("estimators", our_neighbours("float32"), "float32", 1e-3),
            Contender("estimators", our_neighbours("float64")),
            Contender("scipy", of_trees, variant="k-d trees"),
        ),
        bound=NO_BOUND,
        compared=DIFFERENCE,
        growth=(
            Growth("n", (1_000, 2_000, 4_000, 8_000, 16_000), {"d": 3}),
            Growth("d", (2, 4, 8, 16, 32), {"n": 2_000}),
        ),
    ),
    Case(
        name="Gaussian copula",
        work="Mutual information of the Gaussian copula, bias corrected.",
        data=correlated,
        sizes=({"n": 10_000, "d": 5},),
        quick={"n": 200, "d": 2},
        contenders=(
            Contender("estimators", our_copula),
            Contender("scipy", scipy_copula, variant="formula"),
        ),
        bound="none: it is mostly a sort",
        compared=DIFFERENCE,
        growth=(
            Growth("n", (4_000, 8_000, 16_000, 32_000, 64_000), {"d": 5}),
            Growth("d", (2, 4, 8, 16, 32), {"n": 4_000}),
        ),
    ),
    Case(
        name="learned estimate",
        work="An estimate of the shipped network, with its interval. No peer can be installed "
        "beside it.",
        data=correlated,
        sizes=({"n": 500, "d": 2}, {"n": 5_000, "d": 2}),
        quick={"n": 100, "d": 1},
        contenders=(Contender("estimators", our_network, "float32"),),
        bound="none",
        compared="nothing to compare with",
        growth=(
            Growth("n", (512, 1_024, 2_048, 4_096, 8_192), {"d": 2}),
            Growth("d", (1, 2, 4, 8), {"n": 500}),
        ),
    ),
    Case(
        name="interval by subsampling",
        work=f"The estimate from {NEIGHBOURS} neighbours and its 90 % interval from {SUBSAMPLES} "
        "subsamples of half of the rows; each side draws its own.",
        data=correlated,
        sizes=({"n": 500}, {"n": 2_000}),
        quick={"n": 100},
        contenders=(
            Contender("estimators", our_interval, tolerance=0.05),
            Contender("scipy", trees_interval, tolerance=0.05, variant="k-d trees"),
        ),
        bound=NO_BOUND,
        compared="difference of the value or an end of the interval, nats",
        growth=(Growth("n", (500, 1_000, 2_000, 4_000, 8_000), {}),),
    ),
    Case(
        name="permutation test",
        work=f"Independence by {PERMUTATIONS} permutations of the same estimate; each side draws "
        "its own.",
        data=correlated,
        sizes=({"n": 500}, {"n": 2_000}),
        quick={"n": 100},
        contenders=(
            Contender("estimators", our_test, tolerance=0.02, outcome=_summary),
            Contender("scipy", trees_test, tolerance=0.02, variant="k-d trees", outcome=_summary),
        ),
        bound=NO_BOUND,
        compared="difference of the estimate, the null's mean or deviation (nats), or the p-value",
    ),
]
