"""The work of the pieces, written for an array library that is not JAX.

`library` is one of `peers`. With NumPy in float64 the same lines are the reference.
"""

import itertools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class LogDensity(NamedTuple):
    """A Gaussian kernel density, evaluated in blocks of queries and points.

    Attributes:
        library: see the module.
        points: `(n, d)`, divided by the bandwidth.
        halves: `(n,)`, half of their squared lengths, negative.
        bandwidth: in units of the data.
        rows: queries in a block.
        columns: points in a block.
    """

    library: Any
    points: Any
    halves: Any
    bandwidth: float
    rows: int
    columns: int

    @classmethod
    def of(cls, library, points: np.ndarray, bandwidth: float, blocks: tuple[int, int]):
        """Put the points on the device."""
        scaled = library.array(points) / bandwidth
        return cls(library, scaled, -0.5 * library.sum(scaled**2), bandwidth, *blocks)

    def __call__(self, queries):
        """Log-densities of queries that lie on the device."""
        n, d = self.points.shape
        found = []
        for start in range(0, queries.shape[0], self.rows):
            block = queries[start : start + self.rows] / self.bandwidth
            sums = [
                self.library.log_sum_exp_of_products(
                    block,
                    self.points[first : first + self.columns],
                    self.halves[first : first + self.columns],
                )
                for first in range(0, n, self.columns)
            ]
            total = self.library.log_sum_exp(self.library.stack(sums))
            found.append(total - 0.5 * self.library.sum(block**2))
        constant = math.log(n) + d * math.log(self.bandwidth * math.sqrt(2 * math.pi))
        return self.library.join(found) - constant


def heun(denoise: Callable, x, levels: np.ndarray):
    """Heun's method over noise levels that end in zero; two evaluations a step, one at the end."""
    for before, after in itertools.pairwise(levels[:-1]):
        before, after = float(before), float(after)
        slope = (x - denoise(x, before)) / before
        there = x + (after - before) * slope
        corrected = (there - denoise(there, after)) / after
        x = x + (after - before) * 0.5 * (slope + corrected)
    return denoise(x, float(levels[-2]))


def empirical_denoiser(library, points: np.ndarray) -> Callable:
    """The mean of the points under their kernel weights."""
    points = library.array(points)
    halves = 0.5 * library.sum(points**2)

    def denoise(x, sigma):
        weights = library.softmax((x @ points.T - halves) / sigma**2)
        return weights @ points

    return denoise


def mixture_denoiser(library, log_weights, means, basis, eigenvalues) -> Callable:
    """The posterior mean under Gaussians of full rank, their bases side by side."""
    count, d, _ = basis.shape
    side_by_side = library.array(np.moveaxis(basis, 0, 1).reshape(d, count * d))
    of_means = library.array(np.einsum("kd,kdr->kr", means, basis))
    log_weights, means, eigenvalues = map(library.array, (log_weights, means, eigenvalues))

    def denoise(x, sigma):
        projected = (x @ side_by_side).reshape(x.shape[0], count, d) - of_means
        variances = eigenvalues + sigma**2
        logs = library.sum(projected**2 / variances) + library.sum(library.log(variances))
        share = library.softmax(log_weights - 0.5 * logs)
        within = share[..., None] * (eigenvalues / variances) * projected
        return share @ means + within.reshape(x.shape[0], count * d) @ side_by_side.T

    return denoise
