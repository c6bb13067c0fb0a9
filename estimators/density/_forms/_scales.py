"""Mixtures of scales: every point carries a narrow and a wide kernel, in learned proportions."""

import dataclasses
import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from estimators._core import checks
from estimators.density._fitted import FittedKDE, as_fitted, leave_one_out, rows_of

STEPS = 200


def mix_scales(fitted: FittedKDE, multipliers: Sequence[float] = (0.5, 1.0, 2.0)) -> FittedKDE:
    """Replace each kernel by a mixture of kernels of several widths.

    The shares of the widths are the same for all points and maximise the leave-one-out
    likelihood, by expectation-maximisation on the densities that each width alone gives to
    each row. A wide component keeps rows far from all others from deciding the bandwidth; a
    narrow one serves the dense parts.

    Args:
        fitted: any kernel density estimate of n points.
        multipliers: k positive numbers, the widths as multiples of the present ones.

    Returns:
        The estimate with `k n` kernels; evaluating it costs k times as much.

    Raises:
        ValueError: for multipliers that are not positive.

    Example:
        >>> import jax
        >>> from estimators import density
        >>> points, new = jax.random.t(jax.random.key(0), 2.0, (2, 1000, 2))
        >>> plain = density.KDE("loo").fit(points)
        >>> mixed = density.mix_scales(plain, (0.25, 0.5, 1.0, 4.0))
        >>> bool(mixed.log_density(new).mean() > plain.log_density(new).mean())
        True

    When it fails: it cannot tell where to be narrow; `KDE(widths="nearest")` can.
    """
    as_fitted("fitted", fitted)
    try:  # numbers of numpy: they are known while the rest is traced
        given = np.asarray(multipliers, float)
    except (TypeError, ValueError):
        raise ValueError(f"multipliers must be known numbers; got {multipliers!r}") from None
    if given.ndim != 1 or not given.size:
        raise ValueError(f"multipliers must have shape (k,), k >= 1; got shape {given.shape}")
    checks.positive("multipliers", given)
    mixed = _mix_scales(fitted, tuple(given.tolist()))
    log_likelihood = mixed.info.log_likelihood
    if checks.is_concrete(log_likelihood) and not bool(jnp.isfinite(log_likelihood)):
        raise ValueError("fitted must have distinct rows, to choose the shares of the widths by")
    return mixed


@functools.partial(jax.jit, static_argnums=1)
def _mix_scales(fitted: FittedKDE, multipliers) -> FittedKDE:
    count = len(multipliers)
    n, dtype = fitted.points.shape[0], fitted.points.dtype
    widths = jnp.ones(n, dtype) if fitted.widths is None else fitted.widths
    alone = jnp.stack(
        [leave_one_out(dataclasses.replace(fitted, widths=widths * m)) for m in multipliers]
    )
    rows = rows_of(fitted)
    # A row may own several kernels; its weight is that of all of them.
    shares = jnp.exp(fitted.log_weights).reshape(-1, rows.shape[0]).sum(0)
    shares = jnp.where(jnp.all(jnp.isneginf(alone), 0), 0, shares)
    alone = jnp.where(jnp.isneginf(alone), jnp.finfo(dtype).min / 4, alone)

    def step(_, log_mixture):
        weighed = jax.nn.log_softmax(log_mixture[:, None] + alone, axis=0)
        mixture = jnp.exp(weighed) @ shares
        return jnp.log(mixture / jnp.sum(mixture))

    start = jnp.full(count, -jnp.log(count), dtype)
    log_mixture = jax.lax.fori_loop(0, STEPS, step, start)
    mean = jnp.sum(shares * jax.nn.logsumexp(log_mixture[:, None] + alone, axis=0))
    info = dataclasses.replace(fitted.info, log_likelihood=mean / jnp.sum(shares))
    return dataclasses.replace(
        fitted,
        info=info,
        points=jnp.tile(fitted.points, (count, 1)),
        widths=jnp.concatenate([widths * m for m in multipliers]),
        log_weights=jnp.concatenate([fitted.log_weights + log for log in log_mixture]),
        rows=rows,
    )
