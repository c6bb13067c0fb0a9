"""Spec and Fitted: the two kinds of object that every estimator is made of."""

import equinox as eqx


def stored_name(cls: type) -> str:
    """The name of a class in files: package, room and class.

    Not the module, so that a class may move between the files of its room and what was saved
    before is still read.
    """
    module = cls.__module__
    if module.startswith(("estimators.", "equinox.")):
        module = ".".join(module.split(".")[:2])
    return f"{module}.{cls.__qualname__}"


# Every class that a file may hold, by its name: a file says which one it is, and reading it never
# imports what the reader did not.
REGISTRY: dict[str, type] = {stored_name(cls): cls for cls in (eqx.nn.Linear, eqx.nn.Conv2d)}


class Stored(eqx.Module):
    """A frozen pytree of arrays that `estimators.io` can save by name."""

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        REGISTRY[stored_name(cls)] = cls

    def __hash__(self):
        # `jax.jit(fitted.method)` hashes what it is given. Without this message the
        # first thing that a user tries ends in "unhashable type: ArrayImpl".
        name = type(self).__name__
        raise TypeError(
            f"{name} is a pytree of arrays: data to jax.jit, not a constant. Write "
            f"jax.jit({name}.method)(fitted, x), or equinox.filter_jit(fitted.method)(x)."
        )


class Spec(Stored):
    """What is asked for: hyper-parameters and a `fit` (or `estimate`, `calibrate`)."""


class Fitted(Stored):
    """What was learned: arrays, the methods that they can serve, and `info`."""


class Choice(Stored):
    """A name chosen from a list, carried as a pytree without leaves.

    It lets one field hold either a name ("scott") or an array, where a bare string
    would be refused by jax.jit.
    """

    name: str = eqx.field(static=True)

    def __repr__(self):
        return repr(self.name)
