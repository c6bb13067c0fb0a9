"""The data set that the report shows first: 2000 rows of six columns, every answer known.

- `north`, `east`: an X-shaped pair; uncorrelated, yet dependent;
- `length`, `weight`: a plain Gaussian pair of correlation 0.75, in different units;
- `angle`: two clusters;
- `response`: rises with `length` and, V-shaped, with `angle`, with more noise on one arm;
  uncorrelated with `angle`, which is its best predictor.

Run `python -m estimators.data._first_light` to draw the file again; a test checks that it is
the file that ships.
"""

import csv
import importlib.resources
from pathlib import Path

import numpy as np

from estimators.data._mixture import MixtureTruth

COLUMNS = ("north", "east", "length", "weight", "angle", "response")
_OFFSET = np.array([0.0, 0.0, 20.0, 1000.0, 0.0, 5.0])
_SCALE = np.array([1.0, 1.0, 2.0, 250.0, 1.0, 1.5])
_ROWS, _SEED = 2000, 20261121


def first_light() -> tuple[np.ndarray, tuple[str, ...]]:
    """The table, `(2000, 6)` float64, and its column names.

    Example:
        >>> from estimators import data
        >>> values, columns = data.first_light()
        >>> values.shape, columns[-1]
        ((2000, 6), 'response')
    """
    resource = importlib.resources.files("estimators.data") / "first_light.csv"
    names, *rows = csv.reader(resource.read_text().splitlines())
    return np.array(rows, dtype=np.float64), tuple(names)


def first_light_truth() -> MixtureTruth:
    """The law that `first_light` was drawn from: a mixture of four Gaussians."""
    means, covariances = [], []
    for cross in (0.9, -0.9):
        for centre, slope, noise in ((-1.2, -1.0, 0.3), (1.2, 1.0, 0.9)):
            # Columns as a linear map of independent normals, in the order of COLUMNS.
            mixing = np.zeros((6, 6))
            mixing[0, 0] = 1.0
            mixing[1, :2] = cross, np.sqrt(1 - cross**2)
            mixing[2, 2] = 1.0
            mixing[3, 2:4] = 0.75, np.sqrt(1 - 0.75**2)
            mixing[4, 4] = 0.5
            mixing[5] = 0.7 * mixing[2] + slope * mixing[4]
            mixing[5, 5] = noise
            means.append(np.array([0.0, 0.0, 0.0, 0.0, centre, slope * centre]))
            covariances.append(mixing @ mixing.T)
    standard = MixtureTruth(np.full(4, 0.25), np.array(means), np.array(covariances))
    return standard.rescaled(-_OFFSET / _SCALE, 1 / _SCALE)


def _write(path: Path) -> None:
    values = first_light_truth().sample(_ROWS, np.random.default_rng(_SEED))
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows([[f"{value:.6g}" for value in row] for row in values])


if __name__ == "__main__":
    _write(Path(__file__).with_name("first_light.csv"))
