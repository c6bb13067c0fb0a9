"""Sampling by Heun's method from scores in closed form: ten Gaussians, and the data themselves."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from benchmarks.on_device.forms import empirical_denoiser, heun, mixture_denoiser
from benchmarks.on_device.peers import NumpyLike
from benchmarks.on_device.timing import Context, Jax, attempt, timed

COMPONENTS, STEPS = 10, 18
CHECKED = 256  # rows whose samples are compared with float64
# Of the median row: a row on the border of two basins goes either way by rounding.
TOLERANCE = 1e-3


class Model(NamedTuple):
    """A law with a score.

    Attributes:
        name: in the table.
        ours: the fitted model of `estimators`.
        denoiser: `denoiser(library)` is its denoiser in another library.
        needs: of one evaluation at one row.
    """

    name: str
    ours: Any
    denoiser: Callable
    needs: dict[str, float]


def records(context: Context) -> Iterator[dict]:
    """One record for each model and contender."""
    from estimators import score

    rows, n, d = (32, 200, 4) if context.tiny else (10_000, 10_000, 64)
    levels = score.edm_schedule(STEPS)
    noise = np.random.default_rng(1).standard_normal((rows, d), np.float32) * levels[0]
    for model in (mixture(d), empirical(n, d)):
        exact = heun(model.denoiser(NumpyLike(dtype="float64")), noise[:CHECKED], levels)
        sizes = {"rows": rows, "steps": STEPS, "d": d}
        base = {"piece": "sampler", "sizes": {"model": model.name, **sizes}}
        ours = {**base, "library": "estimators", "label": "estimators"}
        yield attempt(ours, lambda model=model, exact=exact: _ours(model, noise, levels, exact))
        for peer in context.peers[:1]:
            record = {**base, "library": peer.name, "label": peer.label}
            yield attempt(
                record,
                lambda model=model, exact=exact, peer=peer: _peer(
                    model, peer, noise, levels, exact
                ),
            )


def _ours(model: Model, noise, levels, exact) -> dict:
    import jax.numpy as jnp

    from estimators import score

    start = jnp.asarray(noise, jnp.float32)
    result, found = timed(lambda: score.sample(model.ours, start, levels).samples, Jax())
    return _told(model, found, np.asarray(result), exact)


def _peer(model: Model, peer, noise, levels, exact) -> dict:
    denoise, start = model.denoiser(peer), peer.array(noise)
    result, found = timed(lambda: heun(denoise, start, levels), peer)
    return _told(model, found, peer.numpy(result), exact)


def _told(model: Model, found, result, exact) -> dict:
    rows, evaluations = len(result), 2 * STEPS - 1
    gap = float(np.median(np.abs(result[: len(exact)] - exact).max(-1)))
    return {
        **found,
        "evaluations": evaluations,
        "rate": rows * STEPS / found["median"],
        "unit": "samples x steps/s",
        "needs": {name: evaluations * rows * need for name, need in model.needs.items()},
        "difference": gap,
        "equal": gap <= TOLERANCE,
    }


def mixture(d: int) -> Model:
    """Ten Gaussians with covariances of full rank, far enough apart to be told apart."""
    import jax.numpy as jnp

    from estimators import score

    generator = np.random.default_rng(2)
    means = 3 * generator.normal(size=(COMPONENTS, d))
    basis = np.linalg.qr(generator.normal(size=(COMPONENTS, d, d)))[0]
    eigenvalues = generator.uniform(0.1, 2.0, (COMPONENTS, d))
    log_weights = np.full(COMPONENTS, -np.log(COMPONENTS))
    arrays = [np.asarray(a, np.float32) for a in (log_weights, means, basis, eigenvalues)]
    zero = jnp.zeros((), jnp.int32)
    ours = score.FittedMixture(
        *map(jnp.asarray, arrays),
        floor=jnp.ones(COMPONENTS),
        info=score.MixtureInfo(jnp.zeros(()), zero, zero),
    )
    # Into the coordinates of every component and out of them.
    needs = {"product": 4.0 * COMPONENTS * d * d, "bytes": 8.0 * d}
    name = f"mixture of {COMPONENTS}"
    return Model(name, ours, lambda library: mixture_denoiser(library, *arrays), needs)


def empirical(n: int, d: int) -> Model:
    """The kernel density of so many points."""
    from estimators import score

    points = np.random.default_rng(3).standard_normal((n, d), np.float32)
    ours = score.Empirical().fit(points)
    needs = {"product": 4.0 * n * d, "exponentials": float(n)}
    return Model(f"{n} points", ours, lambda library: empirical_denoiser(library, points), needs)
