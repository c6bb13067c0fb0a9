"""Denoising score matching on the shared training loop."""

import os
import warnings
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, ArrayLike, Key, Real

from estimators._core import checks
from estimators._core._blocks import map_blocks
from estimators.score._denoisers._learned import (
    PRECONDITIONINGS,
    LearnedDenoiser,
    Scaling,
    precondition,
)
from estimators.score._judgement import suggest_noise
from estimators.score._models import (
    FittedGaussian,
    Gaussian,
)
from estimators.score._teleport import certificate
from estimators.training import Report, batch, minimise

_VALIDATION_DRAWS = 4


class DenoiserWarning(UserWarning):
    """Training diverged, or the network denoises worse than the closed form at some noise."""


def train_denoiser(
    network: Callable,
    points: Real[ArrayLike, "n d"],
    *,
    key: Key[Array, ""],
    steps: int,
    preconditioning: str = "edm",
    validation: Real[ArrayLike, "rows d"] | None = None,
    batch_size: int = 256,
    learning_rate: float = 1e-3,
    averaging: float = 0.999,
    log_sigma_mean: float | None = None,
    log_sigma_spread: float | None = None,
    gaussian: FittedGaussian | None = None,
    patience: int | None = None,
    checkpoint: str | os.PathLike | None = None,
    progress: bool | Callable[[Report], object] | None = None,
) -> LearnedDenoiser:
    """Train a network to denoise at every noise level.

    Minimises `E weight(sigma) |D(x0 + sigma eps, sigma) - x0|^2` with ln sigma normal, by Adam
    with a cosine schedule; what is returned is the running average of the weights. On rows
    held out it then certifies the Gaussian closed form at every noise, which is what
    `sample(..., teleport="auto")` uses, and warns where the network loses to it.

    Args:
        network: `(inputs (m, d), times (m,)) -> (m, d)`, an equinox module: `ResidualNetwork`,
            `UNet`, or your own.
        points: `(n, d)`, one row a sample.
        key: for the split, the batches and the noise.
        steps: updates.
        preconditioning: "edm", "hybrid" or "spectral"; see `LearnedDenoiser`. The spectral ones
            start as the exact Gaussian denoiser and learn in fewer steps; "spectral" can stay
            there along a mode that is both bimodal and of high variance.
        validation: rows of their own; None holds a tenth of `points` out.
        batch_size: rows a step.
        learning_rate: at the start; it falls to zero.
        averaging: decay of the average, for each step.
        log_sigma_mean: mean of ln sigma; None is that of `suggest_noise`.
        log_sigma_spread: its standard deviation; None likewise.
        gaussian: the closed form to build in; None fits all modes of `points`. Give one of low
            rank where columns are many, a shrunken one where rows are hardly more: a mode of no
            variance cannot be learned by "hybrid" and "spectral".
        patience: stop after so many validations, one every hundred steps, without a better one.
        checkpoint: see `training.minimise`.
        progress: see `training.minimise`.

    Raises:
        ValueError: for shapes that do not fit (of rows, or of what the network returns), or an
            argument out of its range.

    Example:
        >>> import jax
        >>> from estimators import score
        >>> points = jax.random.normal(jax.random.key(0), (500, 2))
        >>> network = score.ResidualNetwork(2, width=8, depth=1, key=jax.random.key(1))
        >>> model = score.train_denoiser(network, points, key=jax.random.key(2), steps=20)
        >>> model.score(points[:5], 0.5).shape
        (5, 2)

    Reference: Vincent, A Connection Between Score Matching and Denoising Autoencoders (2011);
    Karras et al. 2022, sec. 5.

    When it fails: few rows. A network that trains long on them returns the rows (see
    `memorised_share`); `split_half_agreement` tells whether two halves teach the same.
    """
    points = checks.as_points("points", points, at_least=4)
    checks.one_of("preconditioning", preconditioning, tuple(PRECONDITIONINGS))
    if log_sigma_spread is not None:
        checks.positive("log_sigma_spread", log_sigma_spread)
    checks.positive("learning_rate", learning_rate)
    checks.probability("averaging", averaging)
    batch_size = checks.integer("batch_size", batch_size, at_least=1)
    steps = checks.integer("steps", steps, at_least=1)
    of_split, of_training, of_certificate = jax.random.split(checks.as_key(key), 3)
    if validation is None:
        order = jax.random.permutation(of_split, points.shape[0])
        held = max(2, points.shape[0] // 10)
        points, validation = points[order[held:]], points[order[:held]]
    else:
        d = points.shape[1]
        validation = checks.as_points("validation", validation, dimension=d, at_least=2)
        validation = validation.astype(points.dtype)
    _try("network", network, points)
    if gaussian is None:
        gaussian = Gaussian().fit(points)
    elif not isinstance(gaussian, FittedGaussian) or gaussian.dimension != points.shape[1]:
        raise ValueError(
            f"gaussian must be a FittedGaussian of {points.shape[1]} columns; got "
            f"{type(gaussian).__name__}"
        )
    scaling = Scaling(gaussian, preconditioning)
    suggested = suggest_noise(gaussian)
    given = (
        (log_sigma_mean, suggested.log_sigma_mean),
        (log_sigma_spread, suggested.log_sigma_spread),
    )
    noise = jnp.asarray([ours if one is None else one for one, ours in given], points.dtype)
    data = {"points": points, "scaling": scaling, "noise": noise}
    adam = optax.adam(optax.cosine_decay_schedule(learning_rate, steps))
    result = minimise(
        _Loss(batch_size),
        {"network": network, "average": network},
        data,
        key=of_training,
        steps=steps,
        optimiser=_averaged(adam, averaging),
        validation={**data, "points": validation},
        validation_loss=_validation_loss,
        patience=patience,
        checkpoint=checkpoint,
        progress=progress,
    )
    trained = result.parameters["average"]
    info = eqx.tree_at(lambda result: result.parameters, result, None)
    model = LearnedDenoiser(trained, gaussian, None, info, preconditioning)
    held_certificate = certificate(gaussian, model, validation, key=of_certificate)
    model = LearnedDenoiser(trained, gaussian, held_certificate, info, preconditioning)
    _warn(model)
    return model


class _Loss(eqx.Module):
    """The loss of one batch: rows and noise drawn anew."""

    batch_size: int = eqx.field(static=True)

    def __call__(self, parameters, data, key):
        of_rows, of_noise = jax.random.split(key)
        rows = batch(data["points"], of_rows, self.batch_size)
        return _weighted_error(parameters["network"], data, rows, of_noise)


def _validation_loss(parameters, data, key):
    """The loss of the averaged network on all rows, each noised several times."""

    def draw(key):
        return _weighted_error(parameters["average"], data, data["points"], key)

    return jnp.mean(jax.lax.map(draw, jax.random.split(key, _VALIDATION_DRAWS)))


def _weighted_error(network, data, rows, key):
    """Weighted squared error of noised rows, block after block."""
    of_level, of_noise = jax.random.split(key)
    count = rows.shape[0]
    # Levels spread evenly over their law: less noise in the loss than independent draws.
    uniform = (jnp.arange(count) + jax.random.uniform(of_level, (count,))) / count
    mean, spread = data["noise"]
    # In float32 the highest draw may round to one, where the normal quantile is infinite.
    edge = jnp.finfo(rows.dtype).eps
    normal = jax.scipy.special.ndtri(jnp.clip(uniform.astype(rows.dtype), edge, 1 - edge))
    sigma = jnp.exp(mean + spread * normal)
    noise = jax.random.normal(of_noise, rows.shape, rows.dtype)
    scaling = data["scaling"]

    @jax.checkpoint
    def block(part):
        rows, noise, sigma = part
        error = precondition(network, scaling, rows + sigma[:, None] * noise, sigma) - rows
        return scaling.weight(sigma) * jnp.mean(error**2, -1)

    return jnp.mean(map_blocks(block, (rows, noise, sigma)))


def _averaged(optimiser: optax.GradientTransformation, decay: float):
    """Train `network`; let `average` follow it, as a pair of parameters of one optimiser."""

    def init(params):
        return optimiser.init(params["network"]), jnp.zeros((), jnp.int32)

    def update(updates, state, params=None, **_):
        assert params is not None  # the training loop passes them
        inner, count = state
        steps, inner = optimiser.update(updates["network"], inner, params["network"])
        moved = optax.apply_updates(params["network"], steps)
        # At first the average forgets faster, or it would remember where training started.
        kept = jnp.minimum(decay, (1 + count) / (10 + count))
        follow = jax.tree.map(
            lambda new, old: ((1 - kept) * (new - old)).astype(old.dtype),
            moved,
            params["average"],
        )
        return {"network": steps, "average": follow}, (inner, count + 1)

    return optax.GradientTransformationExtraArgs(init, update)


def _try(name: str, network, points):
    """Refuse a network that does not fit the rows, before any training."""
    rows = jax.ShapeDtypeStruct((2, points.shape[1]), points.dtype)
    times = jax.ShapeDtypeStruct((2,), points.dtype)
    said = eqx.filter_eval_shape(network, rows, times)
    if getattr(said, "shape", None) != rows.shape:
        raise ValueError(
            f"{name} must map inputs {rows.shape} and times {times.shape} to {rows.shape}; it "
            f"returns {getattr(said, 'shape', type(said).__name__)}"
        )


def _warn(model: LearnedDenoiser):
    assert model.certificate is not None
    assert model.info is not None
    if model.info.status == "diverged":
        warnings.warn(
            f"training diverged after {int(model.info.steps)} steps; the network is that of step "
            f"{int(model.info.best_step)}: take a smaller learning_rate",
            DenoiserWarning,
            stacklevel=3,
        )
        return
    worse = np.asarray(model.certificate.loses_at())
    if worse.size:
        warnings.warn(
            f"the network denoises worse than the Gaussian closed form at {worse.size} of "
            f"{model.certificate.sigmas.size} noise levels, from sigma {worse.min():.3g} to "
            f"{worse.max():.3g}: teleport over them (sample(..., teleport='auto')), or train "
            "longer or at other noise",
            DenoiserWarning,
            stacklevel=3,
        )
