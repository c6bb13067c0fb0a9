"""The compiled part of training: a chunk of steps, and one evaluation."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, Key, PyTree


class Problem(eqx.Module):
    """What stays fixed during training.

    Its arrays are arguments of the compiled chunk, not constants in it: other data of the
    same shapes run the same program.
    """

    loss: Callable
    optimiser: optax.GradientTransformation
    frozen: PyTree
    data: PyTree
    key: Key[Array, ""]

    def objective(self, trainable: PyTree, key: Key[Array, ""]) -> Float[Array, ""]:
        """The loss as a function of what is trained."""
        return evaluate_loss(self.loss, trainable, self.frozen, self.data, key)


class State(eqx.Module):
    """What a step changes.

    Attributes:
        parameters: the trainable leaves.
        good: the last ones whose loss was finite.
        optimiser: state of the optax optimiser.
        step: updates made.
    """

    parameters: PyTree
    good: PyTree
    optimiser: Any
    step: Int[Array, ""]


def evaluate_loss(loss, trainable, frozen, data, key):
    """The loss, checked to be a real scalar."""
    value = jnp.asarray(loss(eqx.combine(trainable, frozen), data, key))
    if value.shape != () or not jnp.issubdtype(value.dtype, jnp.floating):
        raise ValueError(
            f"loss must return a real scalar; got shape {value.shape}, dtype {value.dtype}"
        )
    return value


evaluate = eqx.filter_jit(evaluate_loss)


@eqx.filter_jit(donate="all-except-first")
def advance(
    fixed: tuple[Problem, Int[Array, ""], int], state: State
) -> tuple[State, Float[Array, " chunk"], Bool[Array, ""]]:
    """Steps up to, not including, number `stop`; fewer if one is not finite.

    The number of steps is a traced value, so a shorter last chunk runs the same program, and
    the arithmetic of a step cannot depend on where the chunks begin and end.

    Args:
        fixed: the problem, `stop`, and the length of the loss buffer; not donated.
        state: donated.

    Returns:
        The new state; the losses, NaN where no step was made; whether all steps were finite.
        A step that is not finite is recorded and undone.
    """
    problem, stop, chunk = fixed
    optimiser = optax.with_extra_args_support(problem.optimiser)
    first = state.step

    def running(carry):
        state, _, finite = carry
        return finite & (state.step < stop)

    def step(carry):
        state, losses, _ = carry
        key = jax.random.fold_in(problem.key, state.step)
        value, gradient = jax.value_and_grad(problem.objective)(state.parameters, key)
        updates, optimiser_state = optimiser.update(
            gradient,
            state.optimiser,
            state.parameters,
            value=value,
            grad=gradient,
            value_fn=lambda parameters: problem.objective(parameters, key),
        )
        parameters = optax.apply_updates(state.parameters, updates)
        finite = jnp.isfinite(value) & _all_finite(parameters)
        good = _select(jnp.isfinite(value), state.parameters, state.good)
        moved = State(parameters, good, optimiser_state, state.step + 1)
        stayed = State(state.parameters, good, state.optimiser, state.step)
        losses = losses.at[state.step - first].set(value.astype(losses.dtype))
        return _select(finite, moved, stayed), losses, finite

    losses = jnp.full(chunk, jnp.nan, history_dtype(state.parameters))
    start = state, losses, jnp.asarray(True)
    return jax.lax.while_loop(running, step, start)


def history_dtype(parameters: PyTree):
    """The dtype in which losses are kept: that of the parameters, but no less than float32."""
    return jnp.result_type(jnp.float32, *jax.tree.leaves(parameters))


def _all_finite(tree):
    checks = [jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]
    return jnp.stack(checks).all()


def _select(condition, one, other):
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), one, other)
