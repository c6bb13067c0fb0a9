"""Turn samples into statements, each with its uncertainty.

Five families on one ground floor: `density`, `information`, `score`, `quantile` and
`conformal`. A family is imported when it is first used, so that `import estimators`
costs no more than `import jax`.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from estimators import (
        compat as compat,
    )
    from estimators import (
        conformal as conformal,
    )
    from estimators import (
        data as data,
    )
    from estimators import (
        density as density,
    )
    from estimators import (
        information as information,
    )
    from estimators import (
        io as io,
    )
    from estimators import (
        quantile as quantile,
    )
    from estimators import (
        report as report,
    )
    from estimators import (
        score as score,
    )
    from estimators import (
        sharding as sharding,
    )
    from estimators import (
        testing as testing,
    )
    from estimators import (
        training as training,
    )

__version__ = "0.1.0"

_ROOMS = (
    "compat",
    "conformal",
    "data",
    "density",
    "information",
    "io",
    "quantile",
    "report",
    "score",
    "sharding",
    "testing",
    "training",
)

__all__ = ["__version__", *_ROOMS]


def __getattr__(name: str):
    if name in _ROOMS:
        return importlib.import_module(f"estimators.{name}")
    raise AttributeError(f"module 'estimators' has no attribute {name!r}")


def __dir__():
    return sorted(__all__)
