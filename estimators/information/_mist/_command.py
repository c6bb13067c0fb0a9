"""`python -m estimators train-mist`: simulate, train, calibrate, and say how good it is.

Everything is resumable: shards that exist are kept, training goes on from its checkpoint.
"""

import dataclasses
import os
import sys
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np

from estimators import training
from estimators._core import _io, checks
from estimators.information._mist import _calibrate, _simulate, _table, _train
from estimators.information._mist._held_out import as_rows, held_out, joined
from estimators.information._mist._mist import WEIGHTS
from estimators.information._mist._network import expand
from estimators.information._mist._set_transformer import SetTransformer, streaming_loss


@dataclass(frozen=True)
class Config:
    """What a configuration file may set; the values are those of the shipped network.

    Attributes:
        architecture: "profiles", the one that ships, or "set_transformer", the paper's, which
            trains on fresh data sets at every update: of the rest it takes `seed`, `steps`,
            `batch_size`, `learning_rate`, `report_every`, `rows` and `columns`.
        seeds: of the training data; one process or many may fill them.
        shards: of 4100 data sets, for each seed.
        held_out_seed: of the data that decide and calibrate, and of the final table.
        held_out_shards: how many; a half decides, a quarter calibrates, a quarter is reported.
        seed: of the initial weights and batches.
        heads: how many are averaged.
        width: of the hidden layers.
        depth: residual blocks.
        steps: updates.
        batch_size: data sets of an update.
        learning_rate: the largest one.
        report_every: updates between two tables of validation error.
        rows: of a data set of the set transformer, at most.
        columns: of a side of it, at most.
    """

    architecture: str = "profiles"
    seeds: tuple[int, ...] = (1, 2, 3, 4, 5)
    shards: int = 60
    held_out_seed: int = 1000
    held_out_shards: int = 12
    seed: int = 0
    heads: int = 5
    width: int = 256
    depth: int = 3
    steps: int = 20000
    batch_size: int = 512
    learning_rate: float = 1.5e-3
    report_every: int = 2000
    rows: int = 512
    columns: int = 16

    def __post_init__(self):
        checks.one_of("architecture", self.architecture, ("profiles", "set_transformer"))
        for name in ("shards", "heads", "width", "depth", "steps", "batch_size", "report_every"):
            checks.integer(name, getattr(self, name), at_least=1)
        checks.positive("learning_rate", self.learning_rate)
        if not self.seeds:
            raise ValueError("seeds must name one at least; got none")
        if self.held_out_shards < 4 or self.held_out_seed in self.seeds:
            raise ValueError(
                f"held_out_shards must be at least 4 and held_out_seed none of seeds; got "
                f"{self.held_out_shards} and {self.held_out_seed}, seeds {self.seeds}"
            )

    @classmethod
    def read(cls, path: str | os.PathLike) -> "Config":
        """Read a TOML file.

        Raises:
            ValueError: for a name that is not an option, or a value of another type.
        """
        with open(path, "rb") as file:
            try:
                found = tomllib.load(file)
            except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
                raise ValueError(f"{path} is not a TOML file: {error}") from error
        options = {field.name: field for field in dataclasses.fields(cls)}
        unknown = sorted(set(found) - set(options))
        if unknown:
            raise ValueError(f"{path} sets {unknown}; the options are {sorted(options)}")
        for name, value in found.items():
            default = options[name].default
            if isinstance(default, tuple):
                found[name] = value = tuple(value) if isinstance(value, list) else value
            if isinstance(default, float) and isinstance(value, int):
                found[name] = value = float(value)
            if type(value) is not type(default):
                raise ValueError(
                    f"{path}: {name} must be a {type(default).__name__}, like {default!r}; "
                    f"got {value!r}"
                )
        return cls(**found)


def run(config: Config, folder: str | os.PathLike) -> Path:
    """Do what the configuration says in a folder, and return the path of the weights."""
    folder = Path(folder)
    os.makedirs(folder, exist_ok=True)
    return (_profiles if config.architecture == "profiles" else _set_transformer)(config, folder)


def _set_transformer(config: Config, folder: Path) -> Path:
    start, key = jax.random.split(jax.random.key(config.seed))
    result = training.minimise(
        streaming_loss(config.rows, config.columns, config.batch_size),
        SetTransformer(key=start, columns=2 * config.columns),
        key=key,
        steps=config.steps,
        optimiser=_train.optimiser(config.learning_rate, 1e-5),
        chunk=min(config.report_every, 100),
        checkpoint=folder / "set_transformer.safetensors",
        progress=True,
    )
    if result.status == "interrupted":
        raise KeyboardInterrupt
    _io.write_arrays(
        folder / "set_transformer_weights.safetensors",
        _io.tree_to_arrays(result.parameters),
        dataclasses.asdict(config),
    )
    return folder / "set_transformer_weights.safetensors"


def _profiles(config: Config, folder: Path) -> Path:
    shards, checkpoint = folder / "shards", folder / "heads.safetensors"
    done = _io.read_arrays(checkpoint)[1]["step"] if checkpoint.exists() else 0
    if done > config.steps:
        raise ValueError(
            f"steps must be at least {done}, what {checkpoint} has made; got {config.steps}"
        )
    _fill(shards, config.seeds, config.shards)
    _fill(folder / "held_out", (config.held_out_seed,), config.held_out_shards)
    rows = as_rows(joined(_simulate.read(shards, config.seeds, config.shards)))
    rest = held_out(folder / "held_out", config.held_out_seed, config.held_out_shards)

    scaling, limits = _train.scaling_of(np.asarray(rows.features))
    recipe = _train.Recipe(*(getattr(config, name) for name in _train.Recipe._fields))
    network = None
    for stop in range(config.report_every, config.steps + config.report_every, config.report_every):
        if min(stop, config.steps) < done:
            continue
        result = _train.train_heads(
            rows,
            rest.decide,
            scaling,
            recipe,
            key=jax.random.key(config.seed),
            stop=stop,
            chunk=min(500, config.report_every),
            checkpoint=checkpoint,
            progress=True,
        )
        network = _train.assemble(result.parameters, scaling, limits)
        network = _calibrate.with_shared(network, rest.several)
        network = _calibrate.widened(network, rest.calibrate, rest.widen)
        table = _report(network, rest)
        _say(f"after {int(result.steps)} updates on {len(rows.information)} data sets\n{table}\n")
        (folder / "table.md").write_text(table + "\n")
        if result.status == "interrupted":
            raise KeyboardInterrupt
    assert network is not None
    _io.save(folder / WEIGHTS, network)
    _say(f"wrote {folder / WEIGHTS}")
    return folder / WEIGHTS


def _fill(folder: Path, seeds, shards: int) -> None:
    for seed in seeds:
        start = time.monotonic()

        def report(number, size, seed=seed, start=start):
            rate = (number + 1) / (time.monotonic() - start)
            left = (shards - number - 1) / rate / 60
            done = f"seed {seed}, shard {number + 1} of {shards}"
            _say(f"{done}: {size} data sets, {left:.0f} min left")

        _simulate.fill(folder, seed, shards, report)


def _report(network, rest) -> str:
    """Tables of error of all that is there to be reported, and what else was decided."""
    texts = []
    for title, groups, laws in rest.report:
        answers = [_calibrate.predict(network, g["features"], calibrated=True) for g in groups]
        copula = [g["features"][:, :, 0].mean(1, dtype=np.float32) for g in groups]
        # Those of other numbers of parts have other shapes.
        of = joined([{k: v for k, v in g.items() if k != "features"} for g in groups])
        table = _table.error_table(
            np.asarray(expand(np.concatenate(answers))),
            of["information"],
            np.concatenate(copula),
            of["count"],
            of["columns"],
            of["law"],
            laws,
        )
        texts.append(f"{title}\n\n{table}")
    widening = " ".join(f"{factor:g}" for factor in network.widening)
    return "\n\n".join([*texts, f"widening {widening}; shared {network.shared:.3f}"])


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
