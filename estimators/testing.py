"""The contract that every estimator keeps, as checks that anyone can run on their own.

    row = Contract(
        name="KDE",
        data=lambda key, dtype: (jax.random.normal(key, (60, 2), dtype),),
        fit=lambda points: KDE("scott").fit(points),
        inputs=lambda key, dtype: (jax.random.normal(key, (7, 2), dtype),),
        methods={"log_density": lambda fitted, x: fitted.log_density(x)},
    )
    for check in CHECKS:
        check(row)

Each check raises an AssertionError that says what does not hold, and skips (returns False)
where the row says that it does not apply. A kernel without an object has `fit=None`; its
methods then get None first.
"""

import contextlib
import dataclasses
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
from jax.test_util import check_grads

from estimators import io


@dataclasses.dataclass(frozen=True)
class Contract:
    """One row of the contract table.

    Attributes:
        name: what the row is called in reports.
        data: `(key, dtype) -> tuple` of the arrays that `fit` takes.
        fit: from those arrays to a fitted object or a result (any pytree).
        inputs: `(key, dtype) -> tuple` of the arrays that every method takes.
        methods: name -> `(fitted, *inputs) -> pytree of arrays`. Inputs are batched along
            their first axis, and so are outputs, unless `batched` is false.
        batched: whether the methods work row by row.
        differentiable: whether the methods have a derivative in their inputs.
        traceable: whether `fit` works under jit and vmap (training loops run on the host).
        refuses_nan: whether NaN in the data must be refused.
        refuses_shapes: whether a method's inputs have a number of axes to keep to.
        sample: `(fitted, key) -> array`, for what draws random numbers.
    """

    name: str
    methods: dict[str, Callable]
    inputs: Callable = lambda key, dtype: ()
    data: Callable = lambda key, dtype: ()
    fit: Callable | None = None
    batched: bool = True
    differentiable: bool = True
    traceable: bool = True
    refuses_nan: bool = True
    refuses_shapes: bool = True
    sample: Callable | None = None

    def fitted(self, seed: int = 0, dtype=jnp.float32) -> Any:
        """The object fitted to data of one seed."""
        return None if self.fit is None else self.fit(*self.data(jax.random.key(seed), dtype))

    def arguments(self, seed: int = 0, dtype=jnp.float32) -> tuple:
        """The methods' inputs of one seed."""
        return self.inputs(jax.random.key(1000 + seed), dtype)


def check_jit(row: Contract) -> bool:
    """Compiled and eager results agree, for the fit and for every method."""
    fitted, inputs = row.fitted(), row.arguments()
    if row.fit is not None and row.traceable:
        data = row.data(jax.random.key(0), jnp.float32)
        _agree(fitted, _compiled_fit(row)(*data), f"{row.name}: fit under jit")
    for name, method in row.methods.items():
        eager = method(fitted, *inputs)
        _agree(eager, jax.jit(method)(fitted, *inputs), f"{row.name}.{name} under jit")
    return True


def check_vmap(row: Contract) -> bool:
    """A batch of fits is the fits of the batch; a method maps over its rows."""
    if row.fit is not None and row.traceable:
        sets = [row.data(jax.random.key(seed), jnp.float32) for seed in (0, 1)]
        stacked = jax.tree.map(lambda *a: jnp.stack(a), *sets)
        both = jax.vmap(row.fit)(*stacked)
        for i in (0, 1):
            one = jax.tree.map(lambda a, i=i: a[i], eqx.filter(both, eqx.is_array))
            _agree(eqx.filter(row.fitted(i), eqx.is_array), one, f"{row.name}: fit under vmap")
    if row.batched:
        fitted, inputs = row.fitted(), row.arguments()
        for name, method in row.methods.items():
            mapped = jax.vmap(lambda *x, f=method: f(fitted, *x))(*inputs)
            _agree(method(fitted, *inputs), mapped, f"{row.name}.{name} under vmap")
    return True


def check_gradient(row: Contract) -> bool:
    """Derivatives agree with finite differences in float64, forwards and backwards."""
    if not row.differentiable:
        return False
    with jax.enable_x64(True):
        fitted, inputs = row.fitted(dtype=jnp.float64), row.arguments(dtype=jnp.float64)
        for method in row.methods.values():
            check_grads(
                lambda *x, f=method: f(fitted, *x), inputs, order=1, atol=1e-5, rtol=1e-5, eps=1e-6
            )
    return True


def check_dtypes(row: Contract) -> bool:
    """float32 in, float32 out; float64 in, float64 out; and the two agree."""
    results = {}
    with jax.enable_x64(True):
        # The same numbers in both: those that float32 can hold.
        for dtype in (jnp.float32, jnp.float64):
            data = _cast(row.data(jax.random.key(0), jnp.float32), dtype)
            inputs = _cast(row.arguments(), dtype)
            fitted = None if row.fit is None else row.fit(*data)
            for name, method in row.methods.items():
                result = results[name, dtype] = method(fitted, *inputs)
                for leaf in _floats(result):
                    assert leaf.dtype == dtype, f"{row.name}.{name}: {dtype} gave {leaf.dtype}"
    for name in row.methods:
        single, double = (results[name, dtype] for dtype in (jnp.float32, jnp.float64))
        _agree(double, single, f"{row.name}.{name}: float32 against float64", tolerance=2e-3)
    return True


def check_traces(row: Contract) -> bool:
    """New values of the same shape do not compile again."""
    fits: list[int] = []
    if row.fit is not None and row.traceable:
        fit = jax.jit(_counted(row.fit, fits))
        for seed in (0, 1):
            fit(*row.data(jax.random.key(seed), jnp.float32))
        assert len(fits) == 1, f"{row.name}: fit was traced {len(fits)} times for two data sets"
    for name, method in row.methods.items():
        calls: list[int] = []
        compiled = jax.jit(_counted(method, calls))
        for seed in (0, 1):
            compiled(row.fitted(seed), *row.arguments(seed))
        assert len(calls) == 1, f"{row.name}.{name} was traced {len(calls)} times for two fits"
    return True


def check_save_and_load(row: Contract) -> bool:
    """What is saved comes back equal to the last bit, and gives the same results."""
    if row.fit is None:
        return False
    fitted, inputs = row.fitted(), row.arguments()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fitted.safetensors"
        io.save(path, fitted)
        loaded = io.load(path)
    assert type(loaded) is type(fitted), f"{row.name}: loaded a {type(loaded).__name__}"
    assert jax.tree.structure(loaded) == jax.tree.structure(fitted), (
        f"{row.name}: the loaded object has another structure"
    )
    for saved, back in zip(jax.tree.leaves(fitted), jax.tree.leaves(loaded), strict=True):
        same = np.asarray(saved).tobytes() == np.asarray(back).tobytes()
        assert same, f"{row.name}: an array changed in the file"
        assert saved.dtype == back.dtype, f"{row.name}: a dtype changed in the file"
    for name, method in row.methods.items():
        _agree(method(fitted, *inputs), method(loaded, *inputs), f"{row.name}.{name} after load")
    return True


def check_no_mutation(row: Contract) -> bool:
    """Neither fit nor method writes to what it was given; a fitted object is frozen."""
    data = [np.array(a) for a in row.data(jax.random.key(0), jnp.float32)]
    inputs = [np.array(a) for a in row.arguments()]
    before = [a.copy() for a in (*data, *inputs)]
    fitted = None if row.fit is None else row.fit(*data)
    for method in row.methods.values():
        method(fitted, *inputs)
    for was, now in zip(before, (*data, *inputs), strict=True):
        np.testing.assert_array_equal(was, now, err_msg=f"{row.name} changed its input")
    if dataclasses.is_dataclass(fitted):
        field = dataclasses.fields(fitted)[0].name
        try:
            setattr(fitted, field, None)
        except dataclasses.FrozenInstanceError:
            return True
        raise AssertionError(f"{row.name}: {field} could be assigned to")
    return True


def check_keys(row: Contract) -> bool:
    """Randomness comes from the key alone, and the key must be given, in the new style."""
    if row.sample is None:
        return False
    fitted, draw = row.fitted(), row.sample
    one, again, other = (draw(fitted, jax.random.key(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, again, err_msg=f"{row.name}: one key, two draws")
    assert not np.array_equal(one, other), f"{row.name}: two keys gave the same draw"
    for bad in (None, 0, np.zeros(2, np.uint32)):
        _refused(lambda bad=bad: draw(fitted, bad), "key", f"{row.name}: key={bad!r}")
    return True


def check_shapes(row: Contract) -> bool:
    """An array of one axis more or less, or of no rows at all, is refused by name."""
    fitted = row.fitted()
    for call, arrays in _calls(row, fitted, jnp.float32):
        for i, array in enumerate(arrays):
            if call is row.fit or (row.refuses_shapes and array.ndim > 1):
                bad = [array.reshape(-1) if array.ndim > 1 else array[:, None]]
                if call is row.fit:
                    bad += [array[:0]]
                for wrong in bad:
                    changed = (*arrays[:i], wrong, *arrays[i + 1 :])
                    what = f"{row.name}: argument {i} of shape {wrong.shape}"
                    _refused(lambda c=call, a=changed: c(*a), "shape", what)
    return True


def check_nan(row: Contract) -> bool:
    """NaN is refused outside jit; inside, the result is NaN and not a plausible number."""
    if not row.refuses_nan:
        return False
    fitted, inputs = row.fitted(), row.arguments()
    for call, arrays in _calls(row, fitted, jnp.float32):
        for i, array in enumerate(arrays):
            wrong = array.at[(0,) * array.ndim].set(jnp.nan)
            changed = (*arrays[:i], wrong, *arrays[i + 1 :])
            _refused(lambda c=call, a=changed: c(*a), "nan", f"{row.name}: NaN in argument {i}")
            if call is not row.fit:
                first = [_floats(leaf) for leaf in jax.tree.leaves(jax.jit(call)(*changed))]
                for leaf in (leaf for leaves in first for leaf in leaves):
                    head = leaf[0] if leaf.ndim else leaf
                    assert jnp.isnan(head).any(), f"{row.name}: NaN in, {head} out of jit"
            elif row.traceable:
                broken = _compiled_fit(row)(*changed)
                for name, method in row.methods.items():
                    for leaf in _floats(jax.jit(method)(broken, *inputs)):
                        assert jnp.isnan(leaf).all(), f"{row.name}.{name}: a fit to NaN gave {leaf}"
    return True


def check_hash(row: Contract) -> bool:
    """`jax.jit(fitted.method)` explains what to write instead."""
    if row.fit is None:
        return False
    try:
        hash(row.fitted())
    except TypeError as error:
        assert "filter_jit" in str(error), f"{row.name}: hash() says {error}"
        return True
    raise AssertionError(f"{row.name} can be hashed: jax.jit would bake its arrays in")


CHECKS = (
    check_jit,
    check_vmap,
    check_gradient,
    check_dtypes,
    check_traces,
    check_save_and_load,
    check_no_mutation,
    check_keys,
    check_shapes,
    check_nan,
    check_hash,
)


def _calls(row: Contract, fitted, dtype):
    """Every entry point of the row with good arguments."""
    if row.fit is not None:
        yield row.fit, row.data(jax.random.key(0), dtype)
    for method in row.methods.values():
        yield (lambda *x, f=method: f(fitted, *x)), row.arguments(dtype=dtype)


def _compiled_fit(row: Contract) -> Callable:
    # Wrapped, because jax.jit hashes what it is given and a specification refuses that.
    fit = row.fit
    assert fit is not None
    return jax.jit(lambda *data: fit(*data))


def _counted(function: Callable, calls: list[int]) -> Callable:
    def wrapped(*args):
        calls.append(1)  # runs when jax traces, not when the compiled program runs
        return function(*args)

    return wrapped


def _floats(tree) -> list:
    leaves = jax.tree.leaves(eqx.filter(tree, eqx.is_array))
    return [leaf for leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.floating)]


def _cast(arrays: tuple, dtype) -> tuple:
    floating = (jnp.issubdtype(array.dtype, jnp.floating) for array in arrays)
    return tuple(a.astype(dtype) if f else a for a, f in zip(arrays, floating, strict=True))


def _agree(expected, got, what: str, *, tolerance: float = 2e-5) -> None:
    for one, other in zip(jax.tree.leaves(expected), jax.tree.leaves(got), strict=True):
        if eqx.is_array(one):
            np.testing.assert_allclose(
                other, one, rtol=tolerance, atol=tolerance, equal_nan=True, err_msg=what
            )


@contextlib.contextmanager
def refuses(message: str, error: type[Exception] = ValueError):
    """Expect that the block raises `error` with a text that matches the pattern `message`.

    Where a test session checks jaxtyping's annotations, they would answer before the library
    does. A user has no such session, so they are not checked here.
    """
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    except error as raised:
        assert re.search(message, str(raised)), f"{message!r} is not in: {raised}"
    else:
        raise AssertionError(f"nothing was refused; expected {error.__name__}: {message}")
    finally:
        jaxtyping.config.update("jaxtyping_disable", before)


def _refused(call: Callable, word: str, what: str) -> None:
    try:
        with refuses(f"(?i){word}"):
            call()
    except AssertionError as error:
        raise AssertionError(f"{what}: {error}") from None
