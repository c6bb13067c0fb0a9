"""Quantile models of the target to aggregate: boosted trees, a linear model, neighbours.

Each is `fit_predict(x, y, new, levels, seed) -> (len(new), levels)`. They are scikit-learn's;
the aggregation and the intervals made of them are this library's.
"""

import warnings

import numpy as np

MOST_LINEAR_ROWS = 1500


def boosted_trees(x, y, new, levels, seed):
    """Histogram gradient boosting on the pinball loss, one model a level."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    columns = []
    for level in levels:
        model = HistGradientBoostingRegressor(
            loss="quantile",
            quantile=float(level),
            max_iter=80,
            max_leaf_nodes=15,
            min_samples_leaf=20,
            learning_rate=0.08,
            early_stopping=False,  # pyright: ignore[reportArgumentType]
            random_state=seed,
        )
        columns.append(model.fit(x, y).predict(new))
    return np.stack(columns, axis=1)


def linear(x, y, new, levels, seed):
    """Linear quantile regression (a linear programme), on at most 1500 rows."""
    from sklearn.linear_model import QuantileRegressor

    rows = np.random.default_rng(seed).permutation(len(x))[:MOST_LINEAR_ROWS]
    columns = []
    for level in levels:
        with warnings.catch_warnings():
            # HiGHS reports an optimum "with unscaled infeasibilities" on collinear columns.
            warnings.simplefilter("ignore")
            model = QuantileRegressor(quantile=float(level), alpha=1e-4, solver="highs")
            columns.append(model.fit(x[rows], y[rows]).predict(new))
    return np.stack(columns, axis=1)


def neighbours(x, y, new, levels, seed):
    """Quantiles of y over the nearest rows, 2 sqrt(n) of them and at least 20."""
    from sklearn.neighbors import NearestNeighbors

    count = min(len(x), max(20, int(2 * np.sqrt(len(x)))))
    _, index = NearestNeighbors(n_neighbors=count).fit(x).kneighbors(new)
    return np.quantile(y[index], levels, axis=1).T


MODELS = {"boosted trees": boosted_trees, "linear": linear, "nearest neighbours": neighbours}


def predict_all(x, y, new, levels, seed):
    """Predictions of every model fitted on `(x, y)`, `(len(new), models, levels)`."""
    from threadpoolctl import threadpool_limits

    # The trees are small: a second thread gains little, and where another process holds that
    # core OpenMP's barriers wait for it, fifty times over the whole fit.
    with threadpool_limits(limits=1, user_api="openmp"):
        predictions = [model(x, y, new, levels, seed) for model in MODELS.values()]
    return np.stack(predictions, axis=1)


def out_of_fold(x, y, levels, folds, seed):
    """Predictions for every row by models that did not see it, `(n, models, levels)`."""
    fold = np.random.default_rng(seed).permutation(len(x)) % folds
    predictions = np.empty((len(x), len(MODELS), len(levels)))
    for k in range(folds):
        inside = fold == k
        predictions[inside] = predict_all(x[~inside], y[~inside], x[inside], levels, seed)
    return predictions
