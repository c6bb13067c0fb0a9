"""The library's objects in the shapes that other libraries ask for.

    compat.numpyro.distribution(fitted)        # a fitted density as a prior or a likelihood
    compat.sklearn.information_scores          # mutual information as a score_func of SelectKBest

Each module needs the library that it is named after, and is imported when it is first used.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from estimators.compat import numpyro as numpyro
    from estimators.compat import sklearn as sklearn

_MODULES = ("numpyro", "sklearn")

__all__ = ["numpyro", "sklearn"]


def __getattr__(name: str):
    if name in _MODULES:
        return importlib.import_module(f"estimators.compat.{name}")
    raise AttributeError(f"module 'estimators.compat' has no attribute {name!r}")


def __dir__():
    return sorted(__all__)
