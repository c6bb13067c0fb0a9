"""`python -m estimators train-mist`, in miniature."""

import dataclasses
import functools

import jax
import pytest

from estimators import information, io
from estimators.information._mist import _command, _simulate
from estimators.testing import refuses

TINY = """
seeds = [1]
shards = 4
held_out_shards = 4
heads = 2
width = 16
depth = 1
steps = 4
batch_size = 32
report_every = 2
"""


@pytest.mark.thorough
def test_from_laws_to_weights(tmp_path, monkeypatch, capsys):
    """The whole way with 80 data sets a shard; run again it simulates and trains nothing more."""
    monkeypatch.setattr(_simulate, "SHAPES", {(64, 2): 4})
    monkeypatch.setattr(_simulate, "BATCH", 20)
    for name, small in (
        ("large", {"rows": 64, "sizes": ((2, 40),)}),
        ("beyond", {"rows": (64,), "width": 2, "size": 40}),
        ("large_beyond", {"rows": 64, "width": 2, "size": 40}),
    ):
        monkeypatch.setattr(_simulate, name, functools.partial(getattr(_simulate, name), **small))
    (tmp_path / "config.toml").write_text(TINY)
    config = _command.Config.read(tmp_path / "config.toml")
    with jax.numpy_rank_promotion("allow"):
        path = _command.run(config, tmp_path / "out")
        first = path.read_bytes()
        printed = capsys.readouterr().err
        assert path == _command.run(config, tmp_path / "out")
    assert path.read_bytes() == first
    assert "shard 4 of 4: 80 data sets" in printed
    assert "after 4 updates on 320 data sets" in printed
    assert "| all | 80 |" in (tmp_path / "out" / "table.md").read_text()
    assert "shard" not in capsys.readouterr().err
    with refuses("steps must be at least 4"):
        _command.run(dataclasses.replace(config, steps=2), tmp_path / "out")
    x, noise = jax.random.normal(jax.random.key(0), (2, 50, 1))
    estimate = information.MIST(io.load(path)).estimate(x, x + noise)
    assert 0 <= float(estimate.value) < 5


def test_configuration(tmp_path):
    for text, message in (
        ("step = 3", r"sets \['step'\]; the options are"),
        ("steps = 3.5", "steps must be a int"),
        ('architecture = "other"', "architecture must be"),
        ("held_out_shards = 2", "held_out_shards must be at least 4"),
        ("seeds = [1, 1000]", "held_out_seed none of seeds"),
        ("seeds = []", "seeds must name one at least"),
        ("report_every = 0", "report_every must be a whole number >= 1"),
        ("learning_rate = nan", "learning_rate must be finite and positive"),
        ("steps 3", "config.toml is not a TOML file"),
    ):
        (tmp_path / "config.toml").write_text(text)
        with refuses(message):
            _command.Config.read(tmp_path / "config.toml")
