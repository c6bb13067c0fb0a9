"""The families of data sets of MIST: a law of each can be drawn at random."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from estimators._core import checks
from estimators.information.simulate._additive_uniform import AdditiveUniform
from estimators.information.simulate._correlations import (
    dense_correlation,
    latent_correlation,
    sparse_correlation,
)
from estimators.information.simulate._elementwise import Elementwise
from estimators.information.simulate._normal import Normal
from estimators.information.simulate._simulator import Simulator
from estimators.information.simulate._student import Student
from estimators.information.simulate._transformed import Transformed

# Law, structure of its correlations, map of the columns.
SPLITS = {
    "train": (
        "normal-dense-base",
        "normal-dense-half_cube",
        "normal-dense-asinh",
        "normal-sparse-wiggly",
        "normal-sparse-base",
        "normal-latent-wiggly",
        "normal-latent-base",
        "normal-two_pair-base",
        "student-dense-base",
        "student-dense-wiggly",
        "student-sparse-half_cube",
        "student-sparse-base",
        "student-sparse-asinh",
        "student-two_pair-asinh",
        "student-two_pair-half_cube",
        "additive-uniform-wiggly",
    ),
    "in_meta": (
        "normal-dense-base",
        "normal-latent-wiggly",
        "normal-dense-half_cube",
        "student-dense-base",
        "student-sparse-base",
        "student-sparse-asinh",
    ),
    "out_of_meta": (
        "normal-dense-wiggly",
        "normal-sparse-half_cube",
        "normal-sparse-asinh",
        "student-sparse-wiggly",
        "student-dense-half_cube",
        "additive-uniform-base",
        "additive-uniform-half_cube",
    ),
}


def mist_families(split: str) -> dict[str, Callable[[Key[Array, ""], int], Simulator]]:
    """The families of one of MIST's meta-datasets, each as `draw(key, dimension) -> Simulator`.

    `draw` takes a new-style key and the number of columns of x, static and at least two, which
    is that of y; it works under `jax.vmap` over keys and gives a batch of laws. MIST draws the
    dimension uniformly from 2 to 32 and the number of rows uniformly from 10 to 500. The
    parameters of a law are uniform:

        dense       correlation of all columns in (0, 0.5)
        sparse      1 to d interacting pairs, strength in (0.1, 5)
        two_pair    two interacting pairs, strength in (0.1, 5)
        latent      1 to d interacting pairs, shared in (0, 1), paired in (0.1, 3),
                    within in (0, 1.5), unpaired in (0.1, 5)
        student     degrees of freedom in (1, 10)
        additive    epsilon of each column in (0.1, 2)

    Args:
        split: "train"; "in_meta", the test families that are among them; or "out_of_meta", the
            test families that are not. The latter are new combinations of laws and increasing
            maps: what uses ranks only has seen them all.

    Raises:
        ValueError: for another name; `draw` if the dimension is below two.

    Reference: Gritsai et al. (2025), *MIST: Mutual Information Via Supervised Training*, and its
    published configurations. There a generator is reseeded with one of 10 000 numbers for each
    law; here every key gives another.

    Example:
        >>> import jax
        >>> from estimators.information import simulate
        >>> draw = simulate.mist_families("out_of_meta")["normal-sparse-asinh"]
        >>> laws = jax.vmap(lambda key: draw(key, 4))(jax.random.split(jax.random.key(0), 10))
        >>> x, y = jax.vmap(lambda law, key: law.sample(key, 100))(
        ...     laws, jax.random.split(jax.random.key(1), 10)
        ... )
        >>> print(x.shape, jax.vmap(lambda law: law.mutual_information)(laws).shape)
        (10, 100, 4) (10,)

    When it fails: the information runs up to 40 nats, far more than any estimator can see in
    500 rows: squared errors must be read beside the variance of the truth, about 23.
    """
    names = SPLITS[checks.one_of("split", split, tuple(SPLITS))]
    return {name: functools.partial(_draw, *name.split("-")) for name in names}


def _draw(law: str, structure: str, transformation: str, key, dimension: int) -> Simulator:
    d = checks.integer("dimension", dimension, at_least=2)
    of_law, of_structure = jax.random.split(checks.as_key(key))
    if law == "additive":
        base = AdditiveUniform(_uniform(of_law, 0.1, 2, (d,)))
    elif law == "student":
        base = Student(_correlation(structure, of_structure, d), _uniform(of_law, 1, 10), dx=d)
    else:
        base = Normal(_correlation(structure, of_structure, d), dx=d)
    if transformation == "base":
        return base
    if transformation == "wiggly":
        return Transformed(base, of_x=Elementwise("wiggly_x"), of_y=Elementwise("wiggly_y"))
    return Transformed(base, of_x=Elementwise(transformation), of_y=Elementwise(transformation))


def _correlation(structure: str, key, d: int):
    keys = jax.random.split(key, 5)
    if structure == "dense":
        return dense_correlation(d, d, correlation=_uniform(keys[0], 0, 0.5))
    if structure == "two_pair":
        return sparse_correlation(d, d, interacting=2, strength=_uniform(keys[0], 0.1, 5))
    interacting = jax.random.randint(keys[0], (), 1, d + 1)
    if structure == "sparse":
        strength = _uniform(keys[1], 0.1, 5)
        return sparse_correlation(d, d, interacting=interacting, strength=strength)
    return latent_correlation(
        d,
        d,
        interacting=interacting,
        shared=_uniform(keys[1], 0, 1),
        paired=_uniform(keys[2], 0.1, 3),
        within=_uniform(keys[3], 0, 1.5),
        unpaired=_uniform(keys[4], 0.1, 5),
    )


def _uniform(key, low, high, shape=()):
    dtype = jnp.result_type(float)
    return jax.random.uniform(key, shape, dtype, low, high)
