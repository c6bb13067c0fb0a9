"""Teleportation on digits and on a known truth: what it saves, and what it costs in quality.

Two models in 64 dimensions: a mixture of ten full-covariance Gaussians fitted to scikit-learn's
digits, whose exact score is known; and a network trained on 1500 digits. Every quality is
relative to the same model solved finely (241 evaluations from other noise), because against the
data the errors of a coarse solver and of a network can cancel. Rows: no skip; the Gaussian
skip that the certificate chooses at .05 nats; the mixture's skip; and two controls: starting
late from an isotropic Gaussian of matched mean and variance, and starting at sigma_max = 10 with
the evaluations that the skip leaves.

Run: python benchmarks/score.py, which prints the tables of docs/score_benchmark.md (about 10
minutes on 2 cores; `--seeds 1` for a look, `--part` for one of its parts).
"""

import argparse
import statistics
import time
import warnings

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score
from sklearn.neural_network import MLPClassifier

from estimators import score

STEPS, ROWS, TOLERANCE, MIXTURE_SKIP = 18, 2000, 0.05, 1.0
WHAT = f"""Means over seeds with their standard errors; {ROWS} rows a sample, {STEPS} levels from
sigma 80. The distance is the sliced Wasserstein distance to a fine sample of the same model (241
evaluations, other noise), the area that of a classifier which tells the two apart on rows held
out (.5: it cannot). The certificate chooses the skip; the controls start from an isotropic Gaussian
at the same noise, and from sigma 10 with as many evaluations as the skip leaves."""
PARTS = ("quality", "certificate", "training", "speed")
SAMPLERS = {
    "Euler": score.Euler(),
    "Heun": score.Heun(),
    "DPM-Solver++ 2M": score.MultistepDPM(),
    "UniPC": score.UniPC(),
}


def digits():
    """1500 rows to train on, 297 held out, in [-1, 1]."""
    rows = (load_digits().data / 8 - 1).astype(np.float32)
    rows = rows[np.random.default_rng(0).permutation(len(rows))]
    return rows[:1500], rows[1500:]


def classifier_area(x, y, seed):
    """Area under the curve of a network that tells two samples apart, on rows held out."""
    rows, labels = np.concatenate([x, y]), np.repeat([0, 1], [len(x), len(y)])
    order = np.random.default_rng(seed).permutation(len(rows))
    half = len(rows) // 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        judge = MLPClassifier((128,), max_iter=60, alpha=1e-2, random_state=seed)
        judge.fit(rows[order[:half]], labels[order[:half]])
    said = judge.predict_proba(rows[order[half:]])[:, 1]
    return roc_auc_score(labels[order[half:]], said)


def judged(got, reference, seed):
    """Sliced Wasserstein distance and classifier area against the reference."""
    distance = score.sliced_wasserstein(got, reference, key=jax.random.key(0), directions=500)
    return float(distance.value), classifier_area(np.asarray(got), np.asarray(reference), seed)


def fine(model, key):
    """A sample by 241 evaluations."""
    levels = score.edm_schedule(121)
    return score.sample(model, score.initial_noise(ROWS, model, levels, key=key), levels).samples


def late_start(model, gaussian, levels, sampler, key):
    """An isotropic Gaussian of the data's mean and mean variance, noised, instead of the skip."""
    spread = np.sqrt(levels[0] ** 2 + float(jnp.mean(gaussian.eigenvalues)))
    start = gaussian.mean[None] + spread * jax.random.normal(key, (ROWS, gaussian.dimension))
    return score.sample(model, start, levels, sampler=sampler)


def runs(model, gaussian, mixture, held, sampler, key):
    """Every way to sample, by name."""
    levels = score.edm_schedule(STEPS)
    start = score.initial_noise(ROWS, model, levels, key=key)
    by_gaussian = score.Teleport(gaussian, certificate=held, tolerance=TOLERANCE)
    landing = by_gaussian.land(levels)
    skipped = score.sample(model, start, levels, sampler=sampler, teleport=by_gaussian)
    tail = levels[landing.index :]
    short = score.edm_schedule(len(tail) - 1, sigma_max=10.0)
    of_short = score.initial_noise(ROWS, model, short, key=key)
    found = {
        "no skip": score.sample(model, start, levels, sampler=sampler),
        f"Gaussian skip to {landing.to_sigma:.2f}": skipped,
        "isotropic start there": late_start(model, gaussian, tail, sampler, key),
        "from sigma 10, as many": score.sample(model, of_short, short, sampler=sampler),
    }
    if mixture is not None:
        by_mixture = score.Teleport(mixture, to_sigma=MIXTURE_SKIP)
        result = score.sample(model, start, levels, sampler=sampler, teleport=by_mixture)
        found[f"mixture skip to {by_mixture.land(levels).to_sigma:.2f}"] = result
    return found


def table(title, model, gaussian, mixture, held, seeds):
    """One model's table: means over the seeds, with standard errors."""
    print(f"\n## {title}\n")
    at = held.skip_sigma(TOLERANCE)
    print(f"Certified: {TOLERANCE} nats from sigma {at:.2f} on.")
    references = [fine(model, jax.random.key(1000 + seed)) for seed in range(seeds)]
    floor = [
        judged(fine(model, jax.random.key(2000 + seed)), references[seed], seed)
        for seed in range(seeds)
    ]
    print(f"Two fine samples: distance {told(floor, 0)}, area {told(floor, 1)}.\n")
    print("| sampler | start | evaluations | saved | sliced Wasserstein | classifier area |")
    print("|--|--|--|--|--|--|")
    for name, sampler in SAMPLERS.items():
        results: dict = {}
        for seed in range(seeds):
            every = runs(model, gaussian, mixture, held, sampler, jax.random.key(seed))
            for how, result in every.items():
                quality = judged(result.samples, references[seed], seed)
                results.setdefault(how, (result.evaluations, []))[1].append(quality)
        whole = results["no skip"][0]
        for how, (evaluations, values) in results.items():
            saved = f"{1 - evaluations / whole:.0%}"
            line = f"{told(values, 0)} | {told(values, 1)}"
            print(f"| {name} | {how} | {evaluations} | {saved} | {line} |", flush=True)


def told(values, which):
    """Mean and standard error over seeds."""
    column = [value[which] for value in values]
    error = statistics.stdev(column) / len(column) ** 0.5 if len(column) > 1 else float("nan")
    return f"{statistics.mean(column):.3f} ± {error:.3f}"


def quality(seeds):
    """The tables of both models."""
    train, held_out = digits()
    mixture = score.Mixture(10).fit(train, key=jax.random.key(0))
    drawn = mixture.sample(20_000, key=jax.random.key(1))
    gaussian = score.Gaussian().fit(drawn)
    fresh = mixture.sample(2000, key=jax.random.key(2))
    held = score.certificate(gaussian, mixture, fresh, key=jax.random.key(3))
    table("Known truth: a mixture of ten Gaussians", mixture, gaussian, None, held, seeds)
    network = score.ResidualNetwork(64, width=256, depth=3, key=jax.random.key(1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", score.DenoiserWarning)
        model = score.train_denoiser(
            network, train, key=jax.random.key(0), steps=6000, validation=held_out
        )
    assert model.certificate is not None
    table("Digits: a trained network", model, model.gaussian, mixture, model.certificate, seeds)


def certified():
    """The certificate against the divergence itself, where both laws are known."""
    print("\n## Certificate\n")
    print(
        "Divergence of the known truth from the Gaussian of its moments, in nats: by 40 000 draws"
    )
    print("of the two log-densities, and by the certificate, from denoising 4000 rows.\n")
    mixture = score.Mixture(10).fit(digits()[0], key=jax.random.key(0))
    gaussian = score.Gaussian().fit(mixture.sample(200_000, key=jax.random.key(1)))
    fresh = mixture.sample(4000, key=jax.random.key(2))
    held = score.certificate(gaussian, mixture, fresh, key=jax.random.key(3))
    print("| sigma | by simulation | certified |")
    print("|--|--|--|")
    for sigma in (0.1, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0):
        x = mixture.sample(40_000, sigma, key=jax.random.key(4))
        gap = mixture.log_density(x, sigma) - gaussian.log_density(x, sigma)
        error = jnp.interp(sigma, held.sigmas, held.standard_error)
        simulated = f"{gap.mean():.4f} ± {gap.std() / 200:.4f}"
        print(f"| {sigma} | {simulated} | {held.at(sigma):.4f} ± {error:.4f} |")


def training():
    """Preconditionings against the closed forms, by noise level, early and late."""
    print("\n## Preconditioning\n")
    print(
        "Squared denoising error on 297 digits held out, by noise level. A network trains on 1500;"
    )
    print("its Gaussian explains so much of its denoiser (centred), by noise level, in brackets.\n")
    train, held_out = digits()
    sigmas = jnp.asarray([0.1, 0.3, 0.5, 1.0, 1.5, 2.0, 5.0, 10.0])
    print("| model | steps | " + " | ".join(f"{sigma:g}" for sigma in sigmas) + " |")
    print("|--|--|" + "--|" * len(sigmas))
    gaussian = score.Gaussian().fit(train)
    simple = {
        "Gaussian": gaussian,
        "mixture of 10": score.Mixture(10).fit(train, key=jax.random.key(0)),
        "empirical": score.Empirical().fit(train),
    }
    for name, model in simple.items():
        found = score.explained_variance(model, gaussian, held_out, sigmas, key=jax.random.key(4))
        print(f"| {name} | | " + " | ".join(f"{loss:.2f}" for loss in found.loss) + " |")
    for kind in ("edm", "hybrid", "spectral"):
        for steps in (200, 800, 3200):
            network = score.ResidualNetwork(64, width=256, depth=3, key=jax.random.key(1))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", score.DenoiserWarning)
                model = score.train_denoiser(
                    network,
                    train,
                    key=jax.random.key(0),
                    steps=steps,
                    validation=held_out,
                    preconditioning=kind,
                )
            found = score.explained_variance(
                model, gaussian, held_out, sigmas, key=jax.random.key(4)
            )
            cells = [
                f"{loss:.2f} ({share:.2f})"
                for loss, share in zip(found.loss, found.of_denoiser, strict=True)
            ]
            print(f"| network, {kind} | {steps} | " + " | ".join(cells) + " |", flush=True)


def timed(function, repeats=7):
    """Median seconds, after compiling."""
    jax.block_until_ready(function())
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(function())
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def speed():
    """Low-rank scores and fits against their matrix products."""
    print("\n## Speed\n")
    d, rank, batch = 3072, 128, 1024
    rows = jax.random.normal(jax.random.key(0), (20_000, d)) / (1 + jnp.arange(d))[None]
    start = time.perf_counter()
    fitted = jax.block_until_ready(score.Gaussian(rank).fit(rows))
    took = time.perf_counter() - start
    kept = float(fitted.info.explained_variance)
    lines = [f"rank {rank} of 20 000 x {d}, compiling included | {took:.0f} s, {kept:.2%} kept"]
    x = jax.random.normal(jax.random.key(1), (batch, d))
    products = jax.jit(lambda x, u: (x @ u) @ u.T)
    floor = timed(lambda: products(x, fitted.basis))
    taken = timed(lambda: fitted.score(x, 0.5))
    what = f"score of rank {rank}, {batch} x {d}, over its two matrix products"
    lines.append(f"{what} | {taken / floor:.1f} times")
    small, k, r, rows = 64, 10, 64, 256
    bases = jax.random.normal(jax.random.key(2), (k, d, r)) / d**0.5
    mixture = score.FittedMixture(
        jnp.full(k, -jnp.log(k)),
        jax.random.normal(jax.random.key(3), (k, d)),
        jnp.linalg.qr(bases)[0],
        jnp.ones((k, r)),
        jnp.full(k, 0.1),
        score.MixtureInfo(jnp.zeros(()), jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32)),
    )
    y = jax.random.normal(jax.random.key(4), (rows, d))
    plain = jax.jit(_by_einsum)
    ratio = timed(lambda: plain(mixture, y)) / timed(lambda: mixture.score(y, 0.5))
    what = f"score of {k} components of rank {r}, {rows} x {d}: (m, K, d) arrays over this one"
    lines.append(f"{what} | {ratio:.1f} times")
    network = score.ResidualNetwork(small, width=1024, depth=3, key=jax.random.key(5))
    gaussian = score.Gaussian().fit(jax.random.normal(jax.random.key(6), (500, small)))
    model = score.LearnedDenoiser(network, gaussian, None, None, "edm")
    levels = score.edm_schedule(40)
    noise = score.initial_noise(512, model, levels, key=jax.random.key(7))
    whole = timed(lambda: score.sample(model, noise, levels, sampler=score.UniPC()).samples, 5)
    bare = timed(lambda: _evaluations(model, noise, levels[:-1].astype(np.float32)), 5)
    what = "UniPC, 40 evaluations of a network of 1024 x 3: sampler over the evaluations"
    lines.append(f"{what} | {whole / bare - 1:+.0%}")
    print("| what | measured |\n|--|--|")
    print("\n".join(f"| {line} |" for line in lines))


@jax.jit
def _evaluations(model, x, sigmas):
    """As many evaluations one after the other, in one program."""
    return jax.lax.scan(lambda x, sigma: (model.denoise(x, sigma), None), x, sigmas)[0]


def _by_einsum(mixture, x):
    """The mixture's score at noise .5, written down plainly."""
    apart = x[:, None] - mixture.means[None]
    projected = jnp.einsum("mkd,kdr->mkr", apart, mixture.basis, precision="highest")
    of_modes = mixture.eigenvalues[None] + 0.25
    of_floor = mixture.floor[None] + 0.25
    squares = jnp.sum(projected**2 / of_modes, -1)
    rest = (jnp.sum(apart**2, -1) - jnp.sum(projected**2, -1)) / of_floor
    d, rank = mixture.basis.shape[1:]
    logs = jnp.sum(jnp.log(of_modes), -1) + (d - rank) * jnp.log(of_floor)
    share = jax.nn.softmax(mixture.log_weights[None] - 0.5 * (squares + rest + logs))
    within = jnp.einsum(
        "mkr,kdr->mkd",
        (1 / of_modes - 1 / of_floor[..., None]) * projected,
        mixture.basis,
        precision="highest",
    )
    return -jnp.sum(share[..., None] * (apart / of_floor[..., None] + within), 1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--part", choices=PARTS, action="append")
    options = parser.parse_args()
    print("# What teleportation saves\n")
    print(f"Made by `python benchmarks/score.py --seeds {options.seeds}`. {WHAT}")
    parts = options.part or PARTS
    if "quality" in parts:
        quality(options.seeds)
    if "certificate" in parts:
        certified()
    if "training" in parts:
        training()
    if "speed" in parts:
        speed()
