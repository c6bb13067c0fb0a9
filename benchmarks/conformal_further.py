"""Sets of classes, online methods, risk bounds and tests beside peers, in one process.

Medians of several runs, interleaved; float32 as classifiers give it, float64 where the peer has no
other. A peer that is not installed is left out.

Run: python benchmarks/conformal_further.py, which prints tables of docs/conformal_benchmark.md
(about 3 minutes on 2 cores; `--only aps aci` for some lines; `--runs` for more or fewer).
"""

import argparse
import contextlib
import importlib
import statistics
import sys
import types
import warnings

import jax
import jax.numpy as jnp
import numpy as np

from estimators import conformal

try:
    from benchmarks.conformal import on_device, seconds
except ImportError:  # run as a script
    from conformal import on_device, seconds

COVERAGE = 0.9


def classes(score, peer, options, n=5_000, count=1_000):
    """Calibrate on n rows of 1000 classes, and n sets."""
    rng = np.random.default_rng(0)
    logits = 2 * rng.normal(size=(2 * n, count)).astype(np.float32)
    probabilities = np.array(jax.nn.softmax(jnp.asarray(logits)))
    labels = np.argmax(logits + rng.gumbel(size=logits.shape), 1)
    spec = conformal.ConformalClassification(COVERAGE, score)
    ours = jax.jit(lambda p, y, new: spec.calibrate(p, y).contains(new))
    yield "estimators", on_device(ours, probabilities[:n], labels[:n], probabilities[n:])
    with contextlib.suppress(ImportError):
        sys.modules.setdefault("torchsort", types.ModuleType("torchsort"))
        for function in ("soft_rank", "soft_sort"):
            setattr(sys.modules["torchsort"], function, None)
        torch = importlib.import_module("torch")
        scores = importlib.import_module("torchcp.classification.score")
        theirs = getattr(scores, peer)(score_type="identity", **options)
        rows, known = torch.from_numpy(probabilities), torch.from_numpy(labels)

        def torchcp():
            found = theirs(rows[:n], known[:n])
            rank = conformal.conformal_rank(n, COVERAGE)
            threshold = torch.kthvalue(found, rank).values
            return (theirs(rows[n:]) <= threshold).numpy()

        yield "TorchCP", torchcp


def online(spec, loop, steps=10_000, series=100):
    """A series of 10 000 scores, and 100 series at once; the loop is timed on 1000 steps."""
    scores = np.abs(np.random.default_rng(0).normal(size=(series, steps))).astype(np.float32)
    one = on_device(lambda s: spec.run(s).thresholds, scores[0])
    many = jax.jit(jax.vmap(lambda s: spec.run(s).thresholds))
    yield "estimators", one
    yield "estimators, 100 series, each", (on_device(many, scores), 1 / series)
    yield "loop (numpy)", (lambda: loop(scores[0, :1000]), steps / 1000)
    state = spec.init(scores[0, :500])

    def stepwise():
        own = state
        for score in scores[0, :100]:
            spec.threshold(own)
            own = spec.update(own, score)
        return own

    yield "estimators, a call for each score", (stepwise, steps / 100)


def quantile_of(window, level):
    """As the peers do: numpy's quantile of the window, a copy of its rank rule."""
    n = len(window)
    rank = np.ceil((n + 1) * level) / n if n else 2.0
    if rank > 1 or level <= 0:
        return np.inf if rank > 1 else -np.inf
    return np.quantile(window, rank, method="inverted_cdf")


def aci_loop(scores, step=0.005, window=500):
    """Gibbs & Candes, equation 2, in a Python loop."""
    level, thresholds = COVERAGE, []
    for t, score in enumerate(scores):
        threshold = quantile_of(scores[max(0, t - window) : t], level)
        level += step * ((score > threshold) - (1 - COVERAGE))
        thresholds.append(threshold)
    return thresholds


def expert_loop(scores, steps=(0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128), window=500):
    """Several steps, weighed by their pinball losses, in a Python loop."""
    levels, logs, thresholds = np.full(len(steps), COVERAGE), np.zeros(len(steps)), []
    for t, score in enumerate(scores):
        past = scores[max(0, t - window) : t]
        weights = np.exp(logs - logs.max())
        weights /= weights.sum()
        thresholds.append(quantile_of(past, float(weights @ levels)))
        reached = np.mean(past < score) if t else 0.0
        losses = np.maximum(COVERAGE * (reached - levels), (COVERAGE - 1) * (reached - levels))
        logs -= 2.7 * losses
        logs = np.log((1 - 1e-3) * np.exp(logs - logs.max()) + 1e-3 / len(steps))
        missed = np.array([score > quantile_of(past, level) for level in levels])
        levels = levels + np.array(steps) * (missed - (1 - COVERAGE))
    return thresholds


def pid_loop(scores, step=0.1, window=100):
    """A quantile tracker with an integrator that saturates, in a Python loop."""
    tracker, missed, thresholds = 0.0, 0, []
    for t, score in enumerate(scores):
        past = scores[max(0, t - window) : t]
        size = past.max() - past.min() if t else 0.0
        angle = (missed - (1 - COVERAGE) * t) * np.log(t + 1) / (0.5 * (t + 1))
        push = np.sign(angle) * np.inf if abs(angle) >= np.pi / 2 else size * np.tan(angle)
        thresholds.append(tracker + push)
        miss = score > thresholds[-1]
        missed += miss
        tracker += step * size * (miss - (1 - COVERAGE))
    return thresholds


def betting(n=10_000, count=1_000):
    """Upper bounds of 1000 risks by betting, 10 000 rows."""
    losses = np.random.default_rng(0).random((n, count), dtype=np.float32) * np.linspace(
        0.05, 1.0, count, dtype=np.float32
    )
    ours = jax.jit(lambda x: conformal.risk_upper_bounds(x, 0.1, bound="waudby-smith-ramdas"))
    yield "estimators", on_device(ours, losses)

    def loop(halvings=30):
        # One of the passes: bets that the past alone decides, and the largest capital so far.
        total, squares = np.full(count, 0.5, np.float32), np.full(count, 0.25, np.float32)
        capital, best = np.zeros(count, np.float32), np.zeros(count, np.float32)
        for i, row in enumerate(losses):
            mean, variance = total / (i + 1), squares / (i + 1)
            bet = np.minimum(1, np.sqrt(2 * np.log(10) / (n * variance)))
            capital += np.log1p(-bet * (row - 0.5))
            np.maximum(best, capital, out=best)
            total, squares = total + row, squares + (row - mean) ** 2
        return best

    yield "loop over rows (numpy), 30 halvings", (loop, 30)


def stream(n=10_000):
    """Smoothed p-values of each score among its past, 10 000 scores."""
    scores, key = np.random.default_rng(0).normal(size=n), jax.random.key(0)
    ours = jax.jit(lambda s: conformal.online_p_values(s, key=key))
    yield "estimators", on_device(ours, scores)
    yield "all pairs (numpy)", lambda: np.tril(scores[None] >= scores[:, None]).sum(1)


def venn(n=100_000, new=100_000):
    """Venn-Abers, 100 000 calibration and 100 000 new rows."""
    rng = np.random.default_rng(0)
    scores, others = rng.normal(size=n), rng.normal(size=new)
    labels = (rng.random(n) < 1 / (1 + np.exp(-scores))).astype(int)
    ours = jax.jit(lambda s, y, t: conformal.VennAbers().calibrate(s, y).probability(t).merged)
    yield "estimators", on_device(ours, scores, labels, others)
    with contextlib.suppress(ImportError):
        from sklearn.isotonic import IsotonicRegression

        def refits(rows=5):
            for value in others[:rows]:
                for label in (0, 1):
                    model = IsotonicRegression()
                    model.fit(np.append(scores, value), np.append(labels, label))
                    model.predict([value])

        yield "two refits a row (scikit-learn)", (refits, new / 5)


def discoveries(n=100_000):
    """Benjamini and Hochberg's adjusted p-values, 100 000 of them."""
    p = np.random.default_rng(0).random(n)
    ours = jax.jit(lambda p: conformal.benjamini_hochberg(p).adjusted)
    yield "estimators", on_device(ours, p)
    with contextlib.suppress(ImportError):
        from scipy.stats import false_discovery_control

        yield "scipy", lambda: false_discovery_control(p)


APS, RAPS = {"randomized": False}, {"randomized": False, "penalty": 0.01, "kreg": 5}
TASKS = {
    "lac": lambda: classes(conformal.LAC(), "LAC", {}),
    "aps": lambda: classes(conformal.APS(), "APS", APS),
    "raps": lambda: classes(conformal.RAPS(0.01, 5), "RAPS", RAPS),
    "saps": lambda: classes(conformal.SAPS(0.1), "SAPS", {"randomized": False, "weight": 0.1}),
    "aci": lambda: online(conformal.ACI(COVERAGE), aci_loop),
    "dtaci": lambda: online(conformal.DtACI(COVERAGE), expert_loop),
    "pid": lambda: online(conformal.ConformalPID(COVERAGE), pid_loop),
    "betting": betting,
    "stream": stream,
    "venn": venn,
    "discoveries": discoveries,
}
WORDS = {
    "lac": "LAC, 5000 and 5000 rows of 1000 classes",
    "aps": "APS, the same",
    "raps": "RAPS, the same",
    "saps": "SAPS, the same",
    "aci": "ACI, 10 000 steps, window of 500",
    "dtaci": "DtACI with 8 steps, the same",
    "pid": "PID, the same, window of 100",
}


def measure(name, runs):
    """One table: median and least time, and time over ours."""
    with jax.enable_x64(name in ("stream", "venn", "discoveries")):
        methods = {
            label: entry if isinstance(entry, tuple) else (entry, 1)
            for label, entry in TASKS[name]()
        }
        for function, _ in methods.values():
            function()
        times = {label: [] for label in methods}
        for _ in range(runs):
            for label, (function, factor) in methods.items():
                times[label].append(factor * seconds(function))
    ours = statistics.median(next(iter(times.values())))
    title = WORDS.get(name) or TASKS[name].__doc__
    print(f"\n**{title.strip().rstrip('.')}.**\n")
    print("| method | median ms | least ms | over ours |\n|---|---|---|---|")
    for label, values in times.items():
        middle = statistics.median(values)
        print(f"| {label} | {1e3 * middle:.2f} | {1e3 * min(values):.2f} | {middle / ours:.1f} |")


def main():
    """Print the tables that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--runs", type=int, default=7)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    for name in options.only:
        measure(name, options.runs)


if __name__ == "__main__":
    main()
