"""Save fitted estimators and read them back: `save(path, fitted)`, `load(path)`."""

from estimators._core._io import load as load, save as save
