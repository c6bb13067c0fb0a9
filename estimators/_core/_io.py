"""Save and load pytrees as safetensors: every array under its name, the rest as JSON.

No pickle, no positions: a file says what it holds, an added or moved field does not shift
another, and reading one runs no code but the library's own.
"""

import importlib
import json
import os
import tempfile
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from estimators._core._base import REGISTRY, Stored, stored_name

SCHEMA = 1


def save(path: str | os.PathLike, obj: Stored) -> None:
    """Write a specification or a fitted estimator to one safetensors file.

    The file is complete or absent: it is written beside `path` and moved into place.

    Raises:
        TypeError: for an object that is not an estimator, or a field that cannot be stored.
    """
    if not isinstance(obj, Stored):
        raise TypeError(f"save takes an estimator or a result of one; got {type(obj).__name__}")
    arrays: dict[str, np.ndarray] = {}
    tree = _encode(obj, "", arrays)
    write_arrays(path, arrays, {"schema": SCHEMA, "object": tree})


def load(path: str | os.PathLike) -> Stored:
    """Read what `save` wrote; arrays come back equal to the last bit.

    Raises:
        ValueError: if the file is not one of `save`, or holds float64 while jax runs in 32 bits.
    """
    arrays, header = read_arrays(path)
    if header.get("schema") != SCHEMA or "object" not in header:
        raise ValueError(
            f"{os.fspath(path)} was not written by estimators.io.save (schema {SCHEMA}); "
            f"its header has {sorted(header)}"
        )
    loaded = _decode(header["object"], arrays)
    assert isinstance(loaded, Stored)
    return loaded


def write_arrays(path: str | os.PathLike, arrays: dict[str, np.ndarray], header: dict) -> None:
    """Write named arrays and a JSON header, atomically."""
    from safetensors.numpy import save_file

    path = Path(path)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(descriptor)
    try:
        contiguous = {name: np.require(array, requirements="C") for name, array in arrays.items()}
        save_file(contiguous, temporary, metadata={"estimators": json.dumps(header)})
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def read_arrays(path: str | os.PathLike) -> tuple[dict[str, np.ndarray], dict]:
    """Read what `write_arrays` wrote: the arrays and the header."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(os.fspath(path), framework="numpy") as file:
            header = json.loads((file.metadata() or {}).get("estimators", "{}"))
            return {name: file.get_tensor(name) for name in file.keys()}, header
    except SafetensorError as error:
        raise ValueError(f"{os.fspath(path)} is not a safetensors file: {error}") from error


def tree_to_arrays(tree) -> dict[str, np.ndarray]:
    """The array leaves of any pytree, named by their path in it."""
    return {_name(path): np.asarray(leaf) for path, leaf in _leaves(tree)}


def tree_from_arrays(like, arrays: dict[str, np.ndarray]):
    """A pytree of the structure of `like` with its array leaves taken from `arrays` by name.

    Raises:
        ValueError: if a leaf is missing, or has another shape or dtype.
    """
    found = {}
    for path, leaf in _leaves(like):
        name = _name(path)
        if name not in arrays:
            raise ValueError(f"the file has no array {name!r}; it has {sorted(arrays)}")
        if arrays[name].shape != leaf.shape or arrays[name].dtype != leaf.dtype:
            raise ValueError(
                f"array {name!r} has shape {arrays[name].shape}, dtype {arrays[name].dtype} in "
                f"the file; {leaf.shape}, {leaf.dtype} was expected"
            )
        found[name] = jnp.asarray(arrays[name])
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: found.get(_name(path), leaf) if eqx.is_array(leaf) else leaf, like
    )


def _leaves(tree):
    paths = jax.tree_util.tree_flatten_with_path(tree)[0]
    return [(path, leaf) for path, leaf in paths if eqx.is_array(leaf)]


def _name(path) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".")


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def _encode(value, name: str, arrays: dict):
    """JSON for `value`; its arrays go to `arrays` under the name that the JSON refers to."""
    class_name = stored_name(type(value))
    if class_name in REGISTRY:
        fields = {
            field: _encode(getattr(value, field), f"{name}.{field}".lstrip("."), arrays)
            for field in value.__dataclass_fields__
        }
        return {"class": class_name, "fields": fields}
    if isinstance(value, list | tuple):
        kind = "list" if isinstance(value, list) else "tuple"
        return {kind: [_encode(v, f"{name}.{i}", arrays) for i, v in enumerate(value)]}
    if eqx.is_array(value) or isinstance(value, np.ndarray | np.generic):
        arrays[name] = np.asarray(value)
        return {"array": name}
    if value is None or isinstance(value, bool | int | float | str):
        return {"value": value}
    raise TypeError(f"{name} is a {type(value).__name__}, which cannot be stored")


def _decode(node: dict, arrays: dict):
    if "class" in node:
        cls = _lookup(node["class"])
        # Not through __init__: the fields are stored as they were, after its conversions.
        obj = object.__new__(cls)
        missing = set(cls.__dataclass_fields__) ^ set(node["fields"])
        if missing:
            raise ValueError(
                f"{cls.__name__} in the file and in this version of estimators differ in the "
                f"fields {sorted(missing)}"
            )
        for field, value in node["fields"].items():
            object.__setattr__(obj, field, _decode(value, arrays))
        return obj
    for kind, make in (("list", list), ("tuple", tuple)):
        if kind in node:
            return make(_decode(value, arrays) for value in node[kind])
    if "array" in node:
        array = arrays[node["array"]]
        restored = jnp.asarray(array, jax.dtypes.canonicalize_dtype(array.dtype))
        if restored.dtype != array.dtype:
            raise ValueError(
                f"array {node['array']!r} is {array.dtype}, which jax cannot hold in 32 bits; "
                "set JAX_ENABLE_X64=1 to load this file"
            )
        return restored
    return node["value"]


def _lookup(class_name: str):
    if class_name not in REGISTRY and class_name.startswith("estimators."):
        try:
            importlib.import_module(class_name.rsplit(".", 1)[0])
        except ImportError:
            pass
    if class_name not in REGISTRY:
        raise ValueError(f"unknown class {class_name!r}: import the module that defines it first")
    return REGISTRY[class_name]
