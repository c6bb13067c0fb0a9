"""How much of a model's score simpler scores explain, and whether two halves teach the same."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Key, Real

from estimators._core import Stored, checks
from estimators._core._blocks import map_blocks
from estimators.score._models import (
    ScoreModel,
    as_model,
)


class Explained(Stored):
    """How well one model explains another, at each noise level.

    Attributes:
        sigmas: `(L,)`.
        of_score: `(L,)`, mean over rows of `1 - |s - t|^2 / |s|^2`, s the model's score and t
            the simpler one's: the published figure, dominated by the noise term.
        of_score_error: its standard error.
        of_denoiser: `(L,)`, `1 - E|D - E|^2 / E|D - mean(D)|^2` of the denoisers: centred, the
            informative one.
        of_denoiser_error: its standard error.
        loss: `(L,)`, mean squared denoising error of the model, on the rows.
        simple_loss: `(L,)`, that of the simpler one.
    """

    sigmas: Float[Array, " L"]
    of_score: Float[Array, " L"]
    of_score_error: Float[Array, " L"]
    of_denoiser: Float[Array, " L"]
    of_denoiser_error: Float[Array, " L"]
    loss: Float[Array, " L"]
    simple_loss: Float[Array, " L"]


class Agreement(Stored):
    """How alike two models are, at each noise level.

    Attributes:
        sigmas: `(L,)`.
        cosine: `(L,)`, mean cosine of the angle between the two denoisers' corrections D - x.
        cosine_error: its standard error over the rows.
        difference: `(L,)`, root mean square of the difference of the denoised points, relative
            to their spread about the mean.
        difference_error: its standard error.
    """

    sigmas: Float[Array, " L"]
    cosine: Float[Array, " L"]
    cosine_error: Float[Array, " L"]
    difference: Float[Array, " L"]
    difference_error: Float[Array, " L"]


def explained_variance(
    model: ScoreModel,
    simple: ScoreModel,
    points: Real[ArrayLike, "n d"],
    sigmas: Real[ArrayLike, " L"],
    *,
    key: Key[Array, ""],
) -> Explained:
    """How much of a model's score a simpler one explains, on noised rows.

    Args:
        model: a learned denoiser, or the truth.
        simple: a Gaussian, a mixture, the empirical score.
        points: `(n, d)`, rows that neither was fitted to.
        sigmas: `(L,)`, noise levels, positive.
        key: for the noise, the same at every level.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from estimators import score
        >>> points = jax.random.normal(jax.random.key(0), (600, 2)).at[:300, 0].add(5.0)
        >>> mixture = score.Mixture(2).fit(points[::2], key=jax.random.key(1))
        >>> gaussian = score.Gaussian().fit(points[::2])
        >>> sigmas = jnp.array([1.0, 30.0])
        >>> found = score.explained_variance(
        ...     mixture, gaussian, points[1::2], sigmas, key=jax.random.key(2)
        ... )
        >>> bool(found.loss[0] < found.simple_loss[0]), bool(found.of_score[1] > 0.99)
        (True, True)

    Reference: Wang & Vastola 2024, sec. 4, for `of_score`.
    """
    model, simple = as_model("model", model), as_model("simple", simple)
    points = checks.as_points("points", points, dimension=model.dimension, at_least=2)
    sigmas = _levels(sigmas, points)
    return _explained(model, simple, points, sigmas, checks.as_key(key))


@eqx.filter_jit
def _explained(model, simple, points, sigmas, key):
    noise = jax.random.normal(key, points.shape, points.dtype)
    root = jnp.sqrt(jnp.asarray(points.shape[0], points.dtype))

    def level(sigma):
        def block(part):
            clean, noise = part
            x = clean + sigma * noise
            return x, model.denoise(x, sigma), simple.denoise(x, sigma)

        x, of_model, of_simple = map_blocks(block, (points, noise))
        apart = jnp.sum((of_model - of_simple) ** 2, -1)
        share = apart / jnp.sum((of_model - x) ** 2, -1)
        spread = jnp.sum((of_model - jnp.mean(of_model, 0, keepdims=True)) ** 2, -1)
        ratio = jnp.mean(apart) / jnp.mean(spread)
        residual = (apart - ratio * spread) / jnp.mean(spread)
        return (
            1 - jnp.mean(share),
            jnp.std(share, ddof=1) / root,
            1 - ratio,
            jnp.std(residual, ddof=1) / root,
            jnp.mean(jnp.sum((of_model - points) ** 2, -1)),
            jnp.mean(jnp.sum((of_simple - points) ** 2, -1)),
        )

    return Explained(sigmas, *jax.lax.map(level, sigmas))


def split_half_agreement(
    first: ScoreModel,
    second: ScoreModel,
    points: Real[ArrayLike, "n d"],
    sigmas: Real[ArrayLike, " L"],
    *,
    key: Key[Array, ""],
) -> Agreement:
    """Whether two models trained on disjoint halves of the data have become the same.

    Where they agree they have learned the law; where they do not, their rows.

    Args:
        first: trained on one half.
        second: trained on the other.
        points: `(n, d)`, rows that neither has seen.
        sigmas: `(L,)`, noise levels, positive.
        key: for the noise.

    Reference: Kadkhodaie, Guth, Simoncelli & Mallat, Generalization in diffusion models arises
    from geometry-adaptive harmonic representations (arXiv 2310.02557).
    """
    first, second = as_model("first", first), as_model("second", second)
    points = checks.as_points("points", points, dimension=first.dimension, at_least=2)
    return _agreement(first, second, points, _levels(sigmas, points), checks.as_key(key))


@eqx.filter_jit
def _agreement(first, second, points, sigmas, key):
    noise = jax.random.normal(key, points.shape, points.dtype)
    root = jnp.sqrt(jnp.asarray(points.shape[0], points.dtype))

    def level(sigma):
        def block(part):
            clean, noise = part
            x = clean + sigma * noise
            return x, first.denoise(x, sigma), second.denoise(x, sigma)

        x, one, other = map_blocks(block, (points, noise))
        inner = jnp.sum((one - x) * (other - x), -1)
        norms = jnp.linalg.norm(one - x, axis=-1) * jnp.linalg.norm(other - x, axis=-1)
        cosine = inner / norms
        middle = 0.5 * (one + other)
        spread = jnp.sum((middle - jnp.mean(middle, 0, keepdims=True)) ** 2, -1)
        apart = jnp.sum((one - other) ** 2, -1)
        ratio = jnp.mean(apart) / jnp.mean(spread)
        # The error of a ratio's root, by the delta method.
        residual = (apart - ratio * spread) / jnp.mean(spread)
        difference = jnp.sqrt(ratio)
        error = jnp.std(residual, ddof=1) / (root * jnp.where(difference > 0, 2 * difference, 1))
        return jnp.mean(cosine), jnp.std(cosine, ddof=1) / root, difference, error

    return Agreement(sigmas, *jax.lax.map(level, sigmas))


def _levels(sigmas, points):
    return checks.positive("sigmas", checks.as_vector("sigmas", sigmas)).astype(points.dtype)
