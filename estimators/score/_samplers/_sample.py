"""`sample`: run any sampler with any model over any schedule, all of it one compiled program."""

from collections.abc import Callable, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Key, Real

from estimators._core import Stored, checks
from estimators.score._models import (
    ScoreModel,
    as_model,
)
from estimators.score._samplers._one_step import Heun
from estimators.score._samplers._sampler import Sampler
from estimators.score._schedules import as_schedule
from estimators.score._teleport._teleport import Landing, Teleport

Guidance = Callable[[Float[Array, "*batch d"], Float[Array, "*batch d"], Float[Array, ""]], Array]


class Samples(Stored):
    """What `sample` returns.

    Attributes:
        samples: `(*batch, d)`, at the last level.
        evaluations: how often the model was evaluated for each of them.
        landing: where teleportation set down and what it is certified to cost, or None.
        trajectory: `(levels, *batch, d)`, every level that was stepped on, or None.
    """

    samples: Float[Array, "*batch d"]
    landing: Landing | None
    trajectory: Float[Array, "levels *batch d"] | None
    evaluations: int = eqx.field(static=True)


def sample(
    model: ScoreModel,
    start: Real[ArrayLike, "*batch d"],
    sigmas: Sequence[float] | Real[ArrayLike, " levels"],
    *,
    sampler: Sampler | None = None,
    teleport: Teleport | str | None = None,
    guidance: Guidance | None = None,
    key: Key[Array, ""] | None = None,
    trajectory: bool = False,
) -> Samples:
    """Carry points from noise `sigmas[0]` down the schedule, by the model's flow.

    Args:
        model: any score model.
        start: `(*batch, d)`, points at noise `sigmas[0]`: `sigmas[0] * normal`, usually.
        sigmas: `(levels,)`, strictly decreasing; see `edm_schedule`. If the last is zero the
            result is clean, else it is noised by the last level. It must be known when
            compiled.
        sampler: `Heun()` unless given.
        teleport: `Teleport(...)` replaces the first levels by a closed form, before the
            sampler starts; "auto" is the model's own, where it carries one.
        guidance: `(clean, x, sigma) -> clean`, applied to every denoised point: a pull towards
            a class, a range, an observation. See `guided` for observations. A function object
            that is new at every call compiles anew.
        key: needed by samplers that add noise.
        trajectory: also return every level on the way.

    Returns:
        A `Samples`; `evaluations` counts the model's, which is what sampling costs.

    Raises:
        ValueError: for a schedule that does not decrease, a start of the wrong width, a landing
            outside the schedule, or a missing key.

    Example:
        >>> import jax
        >>> from estimators import score
        >>> points = jax.random.normal(jax.random.key(0), (1000, 2)).at[:500, 0].add(9.0)
        >>> mixture = score.Mixture(2).fit(points, key=jax.random.key(1))
        >>> noise = 80.0 * jax.random.normal(jax.random.key(2), (500, 2))
        >>> result = score.sample(
        ...     mixture, noise, score.edm_schedule(18), sampler=score.MultistepDPM(),
        ...     teleport=score.Teleport(score.Gaussian().fit(points), to_sigma=20.0),
        ... )
        >>> result.evaluations, result.samples.shape
        (15, (500, 2))
    """
    model = as_model("model", model)
    levels = as_schedule("sigmas", sigmas)
    x = checks.as_queries("start", start, model.dimension)
    sampler = Heun() if sampler is None else sampler
    if not isinstance(sampler, Sampler):
        raise ValueError(f"sampler must be one, score.Heun() for example; got {sampler!r:.60}")
    if key is not None:
        key = checks.as_key(key)
    elif sampler.stochastic:
        raise ValueError(f"key must be given: {type(sampler).__name__} adds noise; got None")
    landing = None
    if teleport is not None:
        teleport = _as_teleport(teleport, model)
        landing = teleport.land(levels)
        x = teleport.carry(x, landing.from_sigma, landing.to_sigma)
        levels = levels[landing.index :]
    denoise = _Denoiser(model, guidance)
    positive = levels[levels > 0]
    to_zero = positive.size < levels.size
    samples, path, evaluations = _run(
        denoise, sampler, x, positive.astype(x.dtype), key, to_zero=to_zero, keep=trajectory
    )
    return Samples(samples, landing, path, evaluations)


class _Denoiser(eqx.Module):
    """The model with its guidance, as samplers call it."""

    model: ScoreModel
    guidance: Guidance | None

    def __call__(self, x, sigma):
        clean = self.model.denoise(x, sigma)
        clean = clean if self.guidance is None else self.guidance(clean, x, sigma)
        return clean.astype(x.dtype)


class _Counting:
    """A denoiser that knows how often it was called since `restart`: while it is traced."""

    def __init__(self, denoise):
        self.denoise = denoise
        self.calls = 0

    def __call__(self, x, sigma):
        self.calls += 1
        return self.denoise(x, sigma)

    def restart(self):
        """Count from zero."""
        self.calls = 0


@eqx.filter_jit
def _run(denoise, sampler: Sampler, x, sigmas, key, *, to_zero: bool, keep: bool):
    """The samples, the levels on the way, and how often the model was evaluated: counted in
    the program itself, not declared.
    """
    sigmas = jnp.asarray(sigmas)
    steps = sigmas.shape[0] - 1
    key = jax.random.key(0) if key is None else key  # never used: the sampler adds no noise
    counting = _Counting(denoise)
    a_step = 0

    def step(carry, level):
        nonlocal a_step
        x, memory = carry
        index, before, after = level
        counting.restart()
        following = sampler.step(counting, x, memory, before, after, jax.random.fold_in(key, index))
        a_step = counting.calls
        return following, following[0] if keep else None

    carry = x, sampler.start(counting, x, sigmas[0])
    to_start = counting.calls
    along = jnp.arange(steps), sigmas[:-1], sigmas[1:]
    (last, memory), path = jax.lax.scan(step, carry, along)
    counting.restart()
    end = sampler.finish(counting, last, memory, sigmas[-1]) if to_zero else last
    evaluations = to_start + a_step * steps + counting.calls
    if not keep:
        return end, None, evaluations
    parts = [x[None], path] + ([end[None]] if to_zero else [])
    return end, jnp.concatenate(parts), evaluations


def _as_teleport(teleport, model) -> Teleport:
    if teleport == "auto":
        own = getattr(model, "teleport", None)
        if own is None:
            raise ValueError(
                f"teleport='auto' needs a model that carries its own (score.train_denoiser makes "
                f"such a model); {type(model).__name__} does not: give score.Teleport(gaussian, "
                "certificate=score.certificate(...))"
            )
        return own
    if not isinstance(teleport, Teleport):
        raise ValueError(f"teleport must be a Teleport, 'auto' or None; got {teleport!r:.60}")
    return teleport


def initial_noise(
    n: int,
    model: ScoreModel,
    sigmas: Sequence[float] | Real[ArrayLike, " levels"],
    *,
    key: Key[Array, ""],
) -> Float[Array, "n d"]:
    """`n` rows of pure noise at the first level of a schedule, to start `sample` from.

    Args:
        n: how many.
        model: for its width and dtype.
        sigmas: the schedule.
        key: for the noise.

    Returns:
        `(n, d)`.

    Example:
        >>> import jax
        >>> from estimators import score
        >>> model = score.Empirical().fit(jax.numpy.ones((5, 3)))
        >>> levels = score.edm_schedule(18)
        >>> score.initial_noise(7, model, levels, key=jax.random.key(0)).shape
        (7, 3)
    """
    checks.integer("n", n, at_least=1)
    levels = as_schedule("sigmas", sigmas)
    shape = n, as_model("model", model).dimension
    floats = [leaf for leaf in jax.tree.leaves(model) if eqx.is_inexact_array(leaf)]
    dtype = jnp.result_type(*floats) if floats else jnp.result_type(float)
    return jnp.asarray(levels[0], dtype) * jax.random.normal(checks.as_key(key), shape, dtype)
