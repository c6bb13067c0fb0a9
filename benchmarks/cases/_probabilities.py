"""Who does the sets of classes, and the calibrated probabilities."""

import numpy as np

COVERAGE = 0.9


def class_table(n, classes):
    """Probabilities of 2 n rows, and labels drawn from them."""
    generator = np.random.default_rng(0)
    logits = 2 * generator.normal(size=(2 * n, classes)).astype(np.float32)
    weights = np.exp(logits - logits.max(1, keepdims=True))
    labels = np.argmax(logits + generator.gumbel(size=logits.shape), 1)
    return {"p": weights / weights.sum(1, keepdims=True), "labels": labels}


def our_sets(data):
    """Calibrate on one half; sets of the other."""
    import jax
    import jax.numpy as jnp

    from estimators import conformal

    n = len(data["p"]) // 2
    spec = conformal.ConformalClassification(COVERAGE, conformal.APS())
    call = jax.jit(lambda p, y, new: spec.calibrate(p, y).contains(new))
    arrays = [jnp.asarray(a) for a in (data["p"][:n], data["labels"][:n], data["p"][n:])]
    return lambda: call(*arrays)


def torchcp_sets(data):
    """Scores without draws, and one order statistic."""
    import importlib
    import sys
    import types

    # A part that nothing here calls needs a package that is hard to build.
    stub = types.ModuleType("torchsort")
    stub.__dict__.update(soft_rank=None, soft_sort=None)
    sys.modules.setdefault("torchsort", stub)
    torch = importlib.import_module("torch")
    score = importlib.import_module("torchcp.classification.score").APS(
        score_type="identity", randomized=False
    )
    n = len(data["p"]) // 2
    rows, labels = torch.from_numpy(data["p"]), torch.from_numpy(data["labels"])
    rank = int(np.ceil((n + 1) * COVERAGE - 1e-9))

    def call():
        threshold = torch.kthvalue(score(rows[:n], labels[:n]), rank).values
        return (score(rows[n:]) <= threshold).numpy()

    return call


def mapie_sets(data):
    """Around a classifier that returns the table."""
    from mapie.classification import SplitConformalClassifier
    from sklearn.base import BaseEstimator, ClassifierMixin

    class Table(ClassifierMixin, BaseEstimator):
        def fit(self, x, y):
            return self

        def predict_proba(self, x):
            return x

        def predict(self, x):
            return x.argmax(1)

        def __sklearn_is_fitted__(self):
            return True

    n = len(data["p"]) // 2
    p = data["p"].astype(np.float64)
    p /= p.sum(1, keepdims=True)
    table = Table()
    table.classes_ = np.arange(p.shape[1])

    def call():
        model = SplitConformalClassifier(
            table, confidence_level=COVERAGE, conformity_score="aps", prefit=True
        )
        return model.conformalize(p[:n], data["labels"][:n]).predict_set(p[n:])[1][:, :, 0]

    return call


def set_sizes(contains):
    """Share of the classes in each set."""
    return np.asarray(contains).mean(1)


def scored(n, m):
    """Scores in (0, 1), labels of probability near the score, and new scores."""
    generator = np.random.default_rng(0)
    scores, new = generator.random(n), generator.random(m)
    return {"scores": scores, "labels": (generator.random(n) < scores**2).astype(int), "new": new}


def our_probabilities(name, pick):
    """Calibrate and apply, in one program."""

    def prepare(data):
        import jax
        import jax.numpy as jnp

        from estimators import conformal

        arrays = [jnp.asarray(data[key]) for key in ("scores", "labels", "new")]
        spec = getattr(conformal, name)()
        call = jax.jit(lambda s, y, new: pick(spec.calibrate(s, y).probability(new)))
        return lambda: call(*arrays)

    return prepare


def mapie_venn(data):
    """Its calibrator around a classifier that returns the scores."""
    from mapie.calibration import VennAbersCalibrator
    from sklearn.base import BaseEstimator, ClassifierMixin

    class Scores(ClassifierMixin, BaseEstimator):
        def fit(self, x, y):
            return self

        def predict_proba(self, x):
            return np.column_stack([1 - x[:, 0], x[:, 0]])

        def predict(self, x):
            return (x[:, 0] > 0.5).astype(int)

        def __sklearn_is_fitted__(self):
            return True

    model = Scores()
    model.classes_, model.n_features_in_ = np.arange(2), 1
    x, y, new = data["scores"][:, None], data["labels"], data["new"][:, None]

    def call():
        return VennAbersCalibrator(model, cv="prefit").fit(x, y).predict_proba(new)[:, 1]

    return call


def refits(data):
    """Two isotonic regressions for each new row, as the method is defined."""
    from sklearn.isotonic import IsotonicRegression

    scores, labels = data["scores"], data["labels"]

    def own(value, label):
        model = IsotonicRegression().fit(np.append(scores, value), np.append(labels, label))
        return model.predict([value])[0]

    def call():
        pairs = np.array([[own(value, label) for label in (0, 1)] for value in data["new"]])
        return pairs[:, 1] / (1 - pairs[:, 0] + pairs[:, 1])

    return call


def scikit_learn_isotonic(data):
    """One fit, and its interpolation."""
    from sklearn.isotonic import IsotonicRegression

    def call():
        model = IsotonicRegression(out_of_bounds="clip").fit(data["scores"], data["labels"])
        return model.predict(data["new"])

    return call
