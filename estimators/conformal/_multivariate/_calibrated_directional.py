"""Directional quantile regions, before calibration and after."""

import equinox as eqx
from jaxtyping import Array, ArrayLike, Bool, Float, Key, Real

from estimators import training
from estimators._core import Fitted, checks
from estimators.conformal._multivariate._balls import BallUnion, balls_within, union_volume
from estimators.conformal._multivariate._decoded import Decoded, decoded_centres, scores
from estimators.conformal._predictive._promise import CalibratedThreshold
from estimators.conformal._quantile import conformal_quantile


class CalibratedDirectionalQuantiles(CalibratedThreshold):
    """Regions of any shape; see `DirectionalQuantiles`.

    Attributes:
        decoded: what was learned, and the points that are decoded.
    """

    decoded: Decoded

    def contains(
        self, x: Real[ArrayLike, "*batch d"], y: Real[ArrayLike, "*batch k"]
    ) -> Bool[Array, "*batch"]:
        """Whether outcomes are in their regions.

        Args:
            x: `(*batch, d)`, features of new rows.
            y: `(*batch, k)`, outcomes.

        Raises:
            ValueError: for a wrong shape, or values that are not finite; inside jit such a row
                is in no region.
        """
        x = self._features(x)
        y = checks.as_queries("y", y, self.decoded.unit.shape[0]).astype(self.threshold.dtype)
        if y.shape[:-1] != x.shape[:-1]:
            raise ValueError(f"y must have the batch {x.shape[:-1]} of x; got shape {y.shape}")
        found = scores(self.decoded, _flat(x), _flat(y)).reshape(x.shape[:-1])
        return found <= self.threshold

    def region(self, x: Real[ArrayLike, "*batch d"]) -> BallUnion:
        """The region of each row, as a union of balls about decoded points.

        Args:
            x: `(*batch, d)`, features of new rows.
        """
        x = self._features(x)
        centres = decoded_centres(self.decoded, _flat(x))
        centres = centres.reshape(*x.shape[:-1], *centres.shape[1:])
        return balls_within(centres, self.decoded.energies, self.threshold, self.decoded.unit)

    def volume(
        self, x: Real[ArrayLike, "*batch d"], *, key: Key[Array, ""], draws: int = 4096
    ) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"]]:
        """The volume of each region, and its Monte-Carlo standard error.

        Points are drawn in a box that holds the region; the share of them inside is unbiased.

        Args:
            x: `(*batch, d)`, features of new rows.
            key: for the draws.
            draws: points a row.

        Returns:
            Both `(*batch,)`, in the product of the units of the columns of y; infinite, without
            error, where the set is.
        """
        checks.integer("draws", draws, at_least=1)
        x = self._features(x)
        region = self.region(_flat(x))
        volume, error = union_volume(region, checks.as_key(key), draws=draws)
        return volume.reshape(x.shape[:-1]), error.reshape(x.shape[:-1])

    def _features(self, x) -> Float[Array, "*batch d"]:
        columns = self.decoded.scaling.centre.shape[0]
        return checks.as_queries("x", x, columns).astype(self.threshold.dtype)


class FittedDirectionalQuantiles(Fitted):
    """Trained networks; see `DirectionalQuantiles`.

    Attributes:
        decoded: what was learned, and the points that are decoded.
        coverage: coverage asked for.
        representation_info: how training of the representation went; the loss is minus the
            evidence lower bound in nats, less a constant.
        directions_info: how training of the directional quantiles went; the loss is the pinball
            loss over its level.
    """

    decoded: Decoded
    coverage: float = eqx.field(static=True)
    representation_info: training.TrainingInfo
    directions_info: training.TrainingInfo

    def scores(self, x: Real[ArrayLike, "n d"], y: Real[ArrayLike, "n k"]) -> Float[Array, " n"]:
        """How far each outcome is from the points that are decoded at its features."""
        scaling = self.decoded.scaling
        x = checks.as_points("x", x, dimension=scaling.centre.shape[0])
        y = checks.as_points("y", y, dimension=scaling.y_centre.shape[0])
        if x.shape[0] != y.shape[0]:
            raise ValueError(f"y must have {x.shape[0]} rows, as x; got shape {y.shape}")
        dtype = scaling.centre.dtype
        return scores(self.decoded, x.astype(dtype), y.astype(dtype))

    def calibrate(
        self, x: Real[ArrayLike, "n d"], y: Real[ArrayLike, "n k"]
    ) -> CalibratedDirectionalQuantiles:
        """Choose the size of the regions on rows that the networks have not seen.

        Args:
            x: `(n, d)`, features.
            y: `(n, k)`, outcomes.

        Raises:
            ValueError: for shapes that do not belong together, or values that are not finite.
        """
        found = self.scores(x, y)
        threshold = conformal_quantile(found, self.coverage)
        n = found.shape[0]
        return CalibratedDirectionalQuantiles(threshold, self.coverage, n, self.decoded)


def _flat(rows):
    return rows.reshape(-1, rows.shape[-1])
