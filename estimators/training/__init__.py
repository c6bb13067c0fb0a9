"""The one training loop: an optax optimiser in compiled chunks, resumable bit for bit.

    result = training.minimise(loss, parameters, data, key=key, steps=5000, progress=True)
    result.parameters, result.status, result.history.training

`minimise` runs `loss(parameters, data, key)` down with any optax optimiser. Inside a chunk of
steps everything is compiled and stays on the device; between chunks the host prints progress,
evaluates a validation loss, stops early, writes a checkpoint and heeds Ctrl-C. Training leaves
with parameters that are good, and says in `status` why it left.

| name | what it is |
|---|---|
| `minimise` | the loop |
| `Result`, `TrainingInfo`, `History` | what it returns |
| `STATUS` | the four ways in which training ends |
| `batch` | random rows of a pytree of arrays, to be drawn inside a loss |
| `mean_over_rows` | a loss from that of one row; over a mesh where the data are `sharding.Rows` |
| `Report`, `Printer` | what a progress callable receives, and the one that ships |
"""

from estimators.training._batch import batch
from estimators.training._loop import minimise
from estimators.training._mean_over_rows import MeanOverRows, mean_over_rows
from estimators.training._progress import Printer, Report
from estimators.training._result import STATUS, History, Result, TrainingInfo

__all__ = [
    "STATUS",
    "History",
    "MeanOverRows",
    "Printer",
    "Report",
    "Result",
    "TrainingInfo",
    "batch",
    "mean_over_rows",
    "minimise",
]
