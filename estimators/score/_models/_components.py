"""Gaussians of low rank plus an isotropic floor, mixed: the one kernel of every analytic score.

Component k is N(mu_k, U_k diag(lam_k) U_k^T + f_k (I - U_k U_k^T)); noise sigma adds
sigma^2 I. Everything asked of it is a function of its modes applied to x - mu_k,

    sum_k R_k [ b_k (x - mu_k) + U_k ((a_k - b_k) U_k^T (x - mu_k)) ],

which is two matrix products with all bases side by side, and no array of shape (m, K, d).
A Gaussian is one component, an isotropic mixture has rank 0. Only the log density goes through
the components one by one (`_squares_outside`).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from estimators._core import product
from estimators._core._blocks import map_blocks

# Columns of all components for which vectors (m, columns) are held at once.
_COLUMNS_AT_ONCE = 1024


class Components(NamedTuple):
    """K Gaussians in d dimensions with r modes each."""

    log_weights: Float[Array, " K"]
    means: Float[Array, "K d"]
    basis: Float[Array, "K d r"]
    eigenvalues: Float[Array, "K r"]
    floor: Float[Array, " K"]

    @property
    def complete(self) -> bool:
        """Whether the bases span everything: then nothing of the floor may be computed, for it
        would be the difference of two equal numbers over sigma^2.
        """
        return self.basis.shape[1] == self.basis.shape[2]


class _Located(NamedTuple):
    """Points as the components see them."""

    x: Float[Array, "m d"]  # relative to the mixture's mean, as are the means
    means: Float[Array, "K d"]
    projected: Float[Array, "m K r"]  # U_k^T (x - mu_k)
    of_modes: Float[Array, "m K r"]  # variances at the noise of each row
    of_floor: Float[Array, "m K"]


def origin(components: Components) -> Float[Array, " d"]:
    """The mixture's mean: products are taken relative to it."""
    return product(jax.nn.softmax(components.log_weights), components.means)


def log_density(components: Components, x, sigma) -> Float[Array, " m"]:
    """Log density of the mixture at each row of `x (m, d)`, noised by `sigma (m,)`."""

    @jax.checkpoint
    def block(rows):
        return jax.nn.logsumexp(_log_joint(components, _locate(components, *rows)), axis=-1)

    return map_blocks(block, (x, sigma))


def log_joint(components: Components, x, sigma) -> Float[Array, "m K"]:
    """Log weight plus log density of each component."""

    @jax.checkpoint
    def block(rows):
        return _log_joint(components, _locate(components, *rows))

    return map_blocks(block, (x, sigma))


def log_responsibilities(components: Components, x, sigma) -> Float[Array, "m K"]:
    """Log probability of each component given the row."""
    return jax.nn.log_softmax(log_joint(components, x, sigma), axis=-1)


def denoise(components: Components, x, sigma) -> Float[Array, "m d"]:
    """Posterior mean of the clean point."""

    @jax.checkpoint
    def block(rows):
        located = _locate(components, *rows)
        share = jax.nn.softmax(_log_joint(components, located), axis=-1)
        modes = components.eigenvalues[None] / located.of_modes
        floor = components.floor[None] / located.of_floor
        pulled = _apply(components, located, share, modes, floor)
        return origin(components)[None] + product(share, located.means) + pulled

    return map_blocks(block, (x, sigma))


def score(components: Components, x, sigma) -> Float[Array, "m d"]:
    """Gradient of `log_density`: not made of the denoiser, whose difference from x it would be
    over sigma^2.
    """

    @jax.checkpoint
    def block(rows):
        located = _locate(components, *rows)
        share = jax.nn.softmax(_log_joint(components, located), axis=-1)
        return -_apply(components, located, share, 1 / located.of_modes, 1 / located.of_floor)

    return map_blocks(block, (x, sigma))


def rescale(components: Components, x, of_modes, of_floor) -> Float[Array, "m d"]:
    """Scale each mode of `x - mu` by `of_modes (m, r)` and the rest by `of_floor (m,)`, for a
    single component.
    """

    @jax.checkpoint
    def block(rows):
        x, of_modes, of_floor = rows
        located = _locate(components, x, jnp.zeros_like(of_floor))
        one = jnp.ones_like(of_floor)[:, None]
        moved = _apply(components, located, one, of_modes[:, None], of_floor[:, None])
        return components.means + moved

    return map_blocks(block, (x, of_modes, of_floor))


def sample(components: Components, n: int, sigma, key: Key[Array, ""]) -> Float[Array, "n d"]:
    """Draw rows: a component, then the symmetric square root of its covariance times noise."""
    of_component, of_noise = jax.random.split(key)
    chosen = jax.random.categorical(of_component, components.log_weights, shape=(n,))
    count, d = components.means.shape
    dtype = components.means.dtype
    noise = jax.random.normal(of_noise, (n, d), dtype)
    centred = components._replace(means=jnp.zeros_like(components.means))

    def block(rows):
        chosen, noise = rows
        share = jax.nn.one_hot(chosen, count, dtype=dtype)
        located = _locate(centred, noise, jnp.full(chosen.shape, sigma, dtype))
        roots = jnp.sqrt(located.of_modes), jnp.sqrt(located.of_floor)
        return components.means[chosen] + _apply(centred, located, share, *roots)

    return map_blocks(block, (chosen, noise))


def _locate(components: Components, x, sigma) -> _Located:
    centre = origin(components)
    x, means = x - centre[None], components.means - centre[None]
    of_means = jnp.einsum("kd,kdr->kr", means, components.basis, precision="highest")
    count, _, rank = components.basis.shape
    projected = (
        product(x, _side_by_side(components)).reshape(x.shape[0], count, rank) - of_means[None]
    )
    variance = sigma[:, None] ** 2
    of_modes = components.eigenvalues[None] + variance[..., None]
    return _Located(x, means, projected, of_modes, components.floor[None] + variance)


def _side_by_side(components: Components):
    count, d, rank = components.basis.shape
    return jnp.moveaxis(components.basis, 0, 1).reshape(d, count * rank)


def _log_joint(components: Components, located: _Located):
    _, d, rank = components.basis.shape
    squares = located.projected**2
    value = jnp.sum(squares / located.of_modes + jnp.log(located.of_modes), -1)
    value = value + d * jnp.log(2 * jnp.pi)
    if not components.complete:
        rest = _squares_outside(components, located)
        value = value + rest / located.of_floor + (d - rank) * jnp.log(located.of_floor)
    return components.log_weights[None] - 0.5 * value


def _squares_outside(components: Components, located: _Located) -> Float[Array, "m K"]:
    """Squared length of what of each row no mode holds, component after component.

    Not the difference of two squared lengths: a mode of large variance would leave nothing of
    it but rounding, over the floor.
    """

    @jax.checkpoint  # else a derivative would store the vectors of all components
    def one(component):
        mean, basis, projected = component
        outside = located.x - mean[None] - product(projected, basis.T)
        return jnp.sum(outside**2, -1)

    count, d, _ = components.basis.shape
    by_component = located.means, components.basis, jnp.moveaxis(located.projected, 1, 0)
    together = min(count, max(1, _COLUMNS_AT_ONCE // d))
    return jax.lax.map(one, by_component, batch_size=together).T


def _apply(components: Components, located: _Located, share, of_modes, of_floor):
    """The sum of the module's docstring, `share (m, K)` its R."""
    if components.complete:
        within = share[..., None] * of_modes * located.projected
        outside = 0
    else:
        of_rest = share * of_floor
        within = share[..., None] * (of_modes - of_floor[..., None]) * located.projected
        outside = jnp.sum(of_rest, -1, keepdims=True) * located.x - product(of_rest, located.means)
    count, _, rank = components.basis.shape
    flat = within.reshape(within.shape[0], count * rank)
    return outside + product(flat, _side_by_side(components).T)
