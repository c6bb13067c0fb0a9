"""P-values and upper bounds of the risk of every parameter, from a table of losses."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Real

from estimators._core import checks
from estimators.conformal._risk._bounds import BOUNDS, BoundName
from estimators.conformal._risk._choose import check_risk
from estimators.conformal._risk._table import as_losses, reduce_parameters


def risk_p_values(
    losses: Real[ArrayLike, "n parameters"] | Bool[ArrayLike, "n parameters"],
    risk: float | Real[ArrayLike, ""],
    *,
    bound: BoundName = "hoeffding-bentkus",
    failure: float | Real[ArrayLike, ""] = 0.1,
    largest_loss: float = 1.0,
) -> Float[Array, " parameters"]:
    """P-values of the hypotheses that the risk is above `risk`, one for each parameter.

    With losses and risk divided by `largest_loss`, mean m and empirical variance v of n rows,

        hoeffding:            exp(-2 n (risk - m)^2)
        hoeffding-bentkus:    see `hoeffding_bentkus_p_value`
        bernstein:            the p that solves  risk = m + s sqrt(2 v / n) + 7 s^2 / (3 (n - 1)),
                              with s^2 = log(2 / p)
        waudby-smith-ramdas:  1 / max_t prod_{i <= t} (1 + b_i (risk - L_i))

    and 1 at most; b_i = min(1, sqrt(2 log(1 / failure) / (n v_i))), with v_i the variance of the
    rows before i, shrunk to 1/4. If losses are independent, of one law and a mean above `risk`,
    then P(p <= u) <= u for every u.

    Args:
        losses: `(n, parameters)`, in [0, largest_loss].
        risk: in (0, largest_loss).
        bound: see above.
        failure: the level that "waudby-smith-ramdas" bets for; its p-values are valid at any.
        largest_loss: an upper bound on the loss.

    Returns:
        `(parameters,)`.

    Raises:
        ValueError: for another shape, losses outside [0, largest_loss] or NaN, numbers outside
            their interval. Inside jit bad losses give NaN.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> losses = (jnp.arange(200) % 20 == 0)[:, None]
        >>> for bound in ("hoeffding-bentkus", "waudby-smith-ramdas", "bernstein", "hoeffding"):
        ...     p = conformal.risk_p_values(losses, 0.1, bound=bound)[0]
        ...     print(f"{bound:<19} {p:.3f}")
        hoeffding-bentkus   0.022
        waudby-smith-ramdas 0.063
        bernstein           0.338
        hoeffding           0.368

    Reference: Bates, Angelopoulos, Lei, Malik & Jordan 2021, section 3; Maurer & Pontil 2009,
    theorem 4; Waudby-Smith & Ramdas 2024, Estimating means of bounded random variables by
    betting.

    When it fails: bets depend on the order of the rows, which must not depend on their losses.
    "bernstein" needs two rows, and hundreds to be of use.
    """
    if checks.is_concrete(risk):
        check_risk(float(np.asarray(risk)), largest_loss)
    return _of_table("p_values", losses, (risk,), bound, failure, largest_loss)


def risk_upper_bounds(
    losses: Real[ArrayLike, "n parameters"] | Bool[ArrayLike, "n parameters"],
    failure: float | Real[ArrayLike, ""] = 0.1,
    *,
    bound: BoundName = "hoeffding-bentkus",
    largest_loss: float = 1.0,
) -> Float[Array, " parameters"]:
    """Upper confidence bounds of the risk, one for each parameter.

    The least risk whose p-value, as in `risk_p_values`, is at most `failure`, or `largest_loss`.
    By 30 halvings, and never below it. If losses are independent and of one law,
    `P(risk <= bound) >= 1 - failure` for each parameter by itself.

    Args:
        losses: as for `risk_p_values`.
        failure: the largest probability that the bound is below the risk, in (0, 1).
        bound: as there.
        largest_loss: as there.

    Returns:
        `(parameters,)`, in the unit of the losses.

    Raises:
        ValueError: as `risk_p_values`, with the same inside jit.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> losses = (jnp.arange(200) % 20 == 0)[:, None]
        >>> bound = conformal.risk_upper_bounds(losses, 0.1, bound="hoeffding")[0]
        >>> print(f"{bound:.4f} {0.05 + (jnp.log(10.0) / 400) ** 0.5:.4f}")
        0.1259 0.1259

    Reference: as `risk_p_values`.

    When it fails: it is about one parameter. Of many bounds the smallest is too small; see
    `RiskControllingSets` and `LearnThenTest` for a choice among parameters.
    """
    return _of_table("upper", losses, (), bound, failure, largest_loss)


def _of_table(what, losses, arguments, bound, failure, largest_loss):
    chosen = BOUNDS[checks.one_of("bound", bound, tuple(BOUNDS))]
    checks.probability("failure", failure)
    checks.positive("largest_loss", largest_loss)
    table = checks.as_float("losses", losses)
    if table.ndim != 2 or table.shape[1] == 0:
        raise ValueError(
            f"losses must have shape (n, parameters); got shape {table.shape}. Write "
            "losses[:, None] for those of one parameter."
        )
    table, places, _ = as_losses(table, jnp.arange(table.shape[1]), rows=chosen.rows)
    arguments = (*arguments, failure, largest_loss)
    return reduce_parameters(
        getattr(chosen, what), table, places, arguments, largest_loss=largest_loss
    )
