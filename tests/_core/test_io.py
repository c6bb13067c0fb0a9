"""Files: refused when they are not ours, atomic, and never wider than jax can hold."""

import importlib
import pkgutil

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import estimators
from estimators import density, io
from estimators._core import _io
from estimators._core._base import Stored, stored_name
from estimators.testing import refuses


def test_what_is_not_ours_is_refused(tmp_path):
    text = tmp_path / "notes.txt"
    text.write_text("hello")
    with pytest.raises(ValueError, match="not a safetensors file"):
        io.load(text)
    other = tmp_path / "other.safetensors"
    _io.write_arrays(other, {"a": np.zeros(2)}, {})
    with pytest.raises(ValueError, match=r"not written by estimators\.io\.save"):
        io.load(other)
    with pytest.raises(FileNotFoundError):
        io.load(tmp_path / "absent")
    with refuses("got dict", TypeError):
        io.save(tmp_path / "x", {})


def test_an_unknown_class_is_not_imported(tmp_path):
    path = tmp_path / "x"
    _io.write_arrays(path, {}, {"schema": 1, "object": {"class": "os.path", "fields": {}}})
    with pytest.raises(ValueError, match=r"unknown class 'os\.path'"):
        io.load(path)


def test_files_name_classes_by_their_room_alone():
    """So that they stay readable when a class moves to another file of the room."""
    for module in pkgutil.walk_packages(estimators.__path__, "estimators."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    seen: dict[str, type] = {}
    waiting = list(Stored.__subclasses__())
    while waiting:
        cls = waiting.pop()
        waiting += cls.__subclasses__()
        if cls.__module__.startswith("estimators."):
            name = stored_name(cls)
            assert seen.setdefault(name, cls) is cls, f"{name} names two classes"
            assert name.count(".") == 2
    assert len(seen) > 300
    assert stored_name(density.FittedKDE) == "estimators.density.FittedKDE"
    assert stored_name(eqx.nn.Linear) == "equinox.nn.Linear"


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "x"
    io.save(path, density.KDE("scott"))
    before = path.read_bytes()
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        io.save(path, density.KDE("loo"))
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["x"]


def test_a_specification_comes_back(tmp_path):
    for spec in (density.KDE("scott", covariance="diagonal"), density.KDE([1.0, 2.0])):
        io.save(tmp_path / "spec", spec)
        assert repr(io.load(tmp_path / "spec")) == repr(spec)


def test_float64_is_not_narrowed_in_silence(tmp_path):
    with jax.enable_x64(True):
        fitted = density.KDE(0.5).fit(jnp.ones((3, 1), jnp.float64))
        io.save(tmp_path / "x", fitted)
    with pytest.raises(ValueError, match="JAX_ENABLE_X64=1"):
        io.load(tmp_path / "x")


def test_arrays_of_any_tree_by_name():
    tree = {"a": [jnp.arange(3), jnp.ones(())], "b": jnp.zeros((2, 2))}
    arrays = _io.tree_to_arrays(tree)
    assert sorted(arrays) == ["a.0", "a.1", "b"]
    back = _io.tree_from_arrays(jax.tree.map(jnp.zeros_like, tree), arrays)
    assert jax.tree.all(jax.tree.map(lambda x, y: bool((x == y).all()), tree, back))
    with pytest.raises(ValueError, match=r"no array 'c'"):
        _io.tree_from_arrays({"c": jnp.ones(1)}, arrays)
    with pytest.raises(ValueError, match=r"'b' has shape \(2, 2\)"):
        _io.tree_from_arrays({"b": jnp.ones(1)}, arrays)
