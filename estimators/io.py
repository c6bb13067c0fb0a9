"""Save fitted estimators and read them back: `save(path, fitted)`, `load(path)`."""

from estimators._core._io import load as load
from estimators._core._io import save as save
