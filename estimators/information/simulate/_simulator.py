"""What a simulator is: a law of a pair (X, Y) to draw from, whose information is known."""

import abc
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from estimators._core import Spec, checks


class Information(NamedTuple):
    """Mutual information in nats, and the error of that number."""

    value: Float[Array, ""]
    standard_error: Float[Array, ""]


class Simulator(Spec):
    """A law of a pair (X, Y) with known mutual information.

    The parameters of a law are the leaves of a pytree: a batch of laws is one law with batched
    leaves, `jax.vmap(lambda law, key: law.sample(key, 100))(laws, keys)`, and gradients go
    through them. Samples have the dtype of the parameters.

    A law of your own derives from this class and gives `dimensions`, `_information` and `_draw`.
    """

    @property
    @abc.abstractmethod
    def dimensions(self) -> tuple[int, int]:
        """The numbers of columns `(dx, dy)`: static."""

    @property
    def mutual_information(self) -> Float[Array, ""]:
        """I(X; Y) in nats. NaN where the parameters are not those of a law."""
        return _information(self).value

    @property
    def standard_error(self) -> Float[Array, ""]:
        """Standard error of `mutual_information`, in nats.

        Zero where that is a closed form; else the error of the integration that gave it, which
        does not change from call to call.
        """
        return _information(self).standard_error

    def sample(
        self, key: Key[Array, ""], n: int
    ) -> tuple[Float[Array, "{n} dx"], Float[Array, "{n} dy"]]:
        """Draw n independent pairs: x `(n, dx)` and y `(n, dy)`.

        Args:
            key: a new-style key; one key gives the same pairs again.
            n: number of rows, static.

        Raises:
            ValueError: if `key` is not one new-style key, or n is not a whole number >= 1.
        """
        key = checks.as_key(key)
        return self._draw(key, checks.integer("n", n, at_least=1))

    @abc.abstractmethod
    def _information(self) -> Information:
        """The information and its error, traceable."""

    @abc.abstractmethod
    def _draw(self, key, n: int) -> tuple[Float[Array, "n dx"], Float[Array, "n dy"]]:
        """The samples, traceable; the arguments are checked.

        What takes long to compile is compiled in parts, which laws and tasks then share.
        """


@jax.jit
def _information(law: Simulator) -> Information:
    return law._information()


def exactly(value: Float[Array, ""]) -> Information:
    """Information from a closed form: no error, unless there is no value."""
    return Information(value, 0 * value)


def parameter(name: str, value, dtype=None) -> Float[Array, "..."]:
    """A float array of finite numbers, never of a weak type: that would be one more trace."""
    array = checks.finite(name, checks.as_float(name, value))
    return jnp.asarray(array, array.dtype if dtype is None else dtype)


def parameters(**values) -> tuple[Float[Array, "..."], ...]:
    """Float arrays of one dtype, that of the arrays among them."""
    arrays = {name: checks.finite(name, checks.as_float(name, v)) for name, v in values.items()}
    dtype = jnp.result_type(*arrays.values())
    return tuple(jnp.asarray(array, dtype) for array in arrays.values())


def as_covariance(name: str, matrix, dx: int) -> Float[Array, "d d"]:
    """Check a covariance of `dx` columns of x followed by one or more of y."""
    checks.integer("dx", dx, at_least=1)
    array = parameter(name, matrix)
    if array.ndim != 2 or array.shape[0] != array.shape[1] or array.shape[0] <= dx:
        raise ValueError(
            f"{name} must have shape (dx + dy, dx + dy) with dx = {dx} and dy >= 1; got shape "
            f"{array.shape}"
        )
    positive_definite(name, array)
    return array


def positive_definite(name: str, array: Float[Array, "*batch d d"]) -> None:
    """Refuse, where the values are known, what is not a covariance to working precision.

    By numpy on the host: jax would compile a program for every size.
    """
    if checks.is_concrete(array) and not _positive_definite(np.asarray(array)):
        raise ValueError(
            f"{name} must be symmetric and positive definite, to the precision of {array.dtype}; "
            f"what was given, of shape {array.shape}, is not"
        )


def _positive_definite(matrices: np.ndarray) -> bool:
    variance = np.diagonal(matrices, axis1=-2, axis2=-1)
    difference = np.abs(matrices - np.swapaxes(matrices, -1, -2)).max()
    if not (variance > 0).all() or difference > 1e-5 * np.abs(matrices).max():
        return False
    scale = np.sqrt(variance)
    try:
        factor = np.linalg.cholesky(matrices / (scale[..., :, None] * scale[..., None, :]))
    except np.linalg.LinAlgError:
        return False
    # The limit of `whitening`, which the information goes by.
    limit = 4 * np.sqrt(matrices.shape[-1] * np.finfo(matrices.dtype).eps)
    return bool((np.diagonal(factor, axis1=-2, axis2=-1) > limit).all())
