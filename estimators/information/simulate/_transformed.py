"""Maps of X alone and of Y alone that can be undone: they leave the information unchanged."""

import abc

import jax
from jaxtyping import Array, Float

from estimators._core import Spec
from estimators.information.simulate._simulator import Information, Simulator


class Transformation(Spec):
    """An injective map of rows, `(n, d) -> (n, width(d))`.

    One of your own derives from this class and gives `__call__`, and `width` where it is not d.
    """

    @abc.abstractmethod
    def __call__(self, points: Float[Array, "n d"]) -> Float[Array, "n w"]:
        """Map every row."""

    def width(self, dimension: int) -> int:
        """The number of columns that `dimension` columns become: static.

        Raises:
            ValueError: if the map does not take that many columns.
        """
        return dimension


class Transformed(Simulator):
    """A law whose x and y are each passed through maps that can be undone.

    Mutual information does not change under an injective map of one side alone, so it is that
    of `base`, with its standard error.

    Attributes:
        base: the law that is transformed.
        of_x: the maps of x, in the order in which they are applied; one, a tuple or None.
        of_y: those of y.

    Raises:
        ValueError: if a map does not take the number of columns that comes to it.

    Reference: Kraskov, Stögbauer & Grassberger (2004), appendix.

    Example:
        >>> import jax
        >>> from estimators.information import simulate
        >>> base = simulate.Normal(simulate.dense_correlation(2, 1), dx=2)
        >>> law = simulate.Transformed(base, of_x=simulate.Spiral(0.5))
        >>> bool(law.mutual_information == base.mutual_information)
        True
        >>> x, y = law.sample(jax.random.key(0), 100)

    When it fails: in floating point a map may merge neighbouring points: far in the tails
    `Elementwise("normal_cdf")` rounds to one.
    """

    base: Simulator
    of_x: tuple[Transformation, ...]
    of_y: tuple[Transformation, ...]

    def __init__(
        self,
        base: Simulator,
        *,
        of_x: Transformation | tuple[Transformation, ...] | None = None,
        of_y: Transformation | tuple[Transformation, ...] | None = None,
    ):
        self.base = base
        self.of_x, self.of_y = _as_tuple("of_x", of_x), _as_tuple("of_y", of_y)
        _ = self.dimensions  # refuses widths that do not fit

    @property
    def dimensions(self) -> tuple[int, int]:
        """The numbers of columns `(dx, dy)` after the maps."""
        dx, dy = self.base.dimensions
        for transformation in self.of_x:
            dx = transformation.width(dx)
        for transformation in self.of_y:
            dy = transformation.width(dy)
        return dx, dy

    def _information(self) -> Information:
        return self.base._information()

    def _draw(self, key, n):
        x, y = self.base._draw(key, n)
        return _through(self.of_x, x), _through(self.of_y, y)


@jax.jit
def _through(transformations: tuple[Transformation, ...], points):
    for transformation in transformations:
        points = transformation(points)
    return points


def _as_tuple(name: str, transformations) -> tuple[Transformation, ...]:
    if transformations is None:
        return ()
    found = transformations if isinstance(transformations, tuple) else (transformations,)
    for one in found:
        if not isinstance(one, Transformation):
            raise ValueError(
                f"{name} must be a Transformation, a tuple of them or None; got "
                f"{type(one).__name__}"
            )
    return found
