"""A Gaussian mixture as ground truth: densities, information and quantiles to compare with.

Plain float64 numpy, apart from every estimator of the library: an answer key must not share
the code that it checks.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp, ndtr


@dataclass(frozen=True)
class MixtureTruth:
    """A mixture of Gaussians over the columns of a table.

    Attributes:
        weights: `(k,)`, sum to one.
        means: `(k, d)`.
        covariances: `(k, d, d)`.
    """

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray

    def sample(self, n: int, generator: np.random.Generator) -> np.ndarray:
        """Draw `(n, d)` rows."""
        label = generator.choice(len(self.weights), size=n, p=self.weights)
        noise = generator.standard_normal((n, self.means.shape[1]))
        factors = np.linalg.cholesky(self.covariances)
        return self.means[label] + np.einsum("nij,nj->ni", factors[label], noise)

    def log_density(self, x: np.ndarray) -> np.ndarray:
        """Log density, `(n, d) -> (n,)`, in nats."""
        return np.asarray(logsumexp(self._log_joint(x), axis=1))

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean `(d,)` and covariance `(d, d)`."""
        mean = self.weights @ self.means
        second = self.covariances + self.means[:, :, None] * self.means[:, None, :]
        return mean, np.einsum("k,kij->ij", self.weights, second) - np.outer(mean, mean)

    def marginal(self, columns: list[int]) -> "MixtureTruth":
        """The law of some columns."""
        block = self.covariances[:, columns][:, :, columns]
        return MixtureTruth(self.weights, self.means[:, columns], block)

    def rescaled(self, offset: np.ndarray, scale: np.ndarray) -> "MixtureTruth":
        """The law of `(x - offset) / scale`."""
        outer = scale[:, None] * scale[None, :]
        return MixtureTruth(self.weights, (self.means - offset) / scale, self.covariances / outer)

    def with_noise(self, sigma: float) -> "MixtureTruth":
        """The law after independent Gaussian noise of standard deviation `sigma`."""
        noise = sigma**2 * np.eye(self.means.shape[1])
        return MixtureTruth(self.weights, self.means, self.covariances + noise)

    def mutual_information(self, first: int, second: int, *, grid: int = 400) -> float:
        """Mutual information of two columns in nats, by the trapezoidal rule on a grid."""
        pair = self.marginal([first, second])
        mean, covariance = pair.moments()
        spread = 7.0 * np.sqrt(np.diagonal(covariance))
        axes = [np.linspace(m - s, m + s, grid) for m, s in zip(mean, spread, strict=True)]
        joint = pair.log_density(np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 2))
        joint = joint.reshape(grid, grid)
        alone = [pair.marginal([i]).log_density(axes[i][:, None]) for i in (0, 1)]
        ratio = joint - alone[0][:, None] - alone[1][None, :]
        area = (axes[0][1] - axes[0][0]) * (axes[1][1] - axes[1][0])
        return float(np.sum(np.exp(joint) * ratio) * area)

    def divergence_from_gaussian(
        self, generator: np.random.Generator, draws: int = 100_000
    ) -> tuple[float, float]:
        """KL to the Gaussian of the same mean and covariance, nats, with its standard error."""
        x = self.sample(draws, generator)
        mean, covariance = self.moments()
        gaussian = MixtureTruth(np.ones(1), mean[None], covariance[None])
        gap = self.log_density(x) - gaussian.log_density(x)
        return float(gap.mean()), float(gap.std(ddof=1) / np.sqrt(draws))

    def conditional_quantile(self, x: np.ndarray, level: float, *, target: int) -> np.ndarray:
        """Quantile of column `target` given the others, `(n, d) -> (n,)`; that column of `x`
        is not read.
        """
        others = [i for i in range(self.means.shape[1]) if i != target]
        given = x[:, others]
        responsibility = self.marginal(others)._log_joint(given)
        responsibility = np.exp(responsibility - logsumexp(responsibility, axis=1, keepdims=True))
        means, deviations = [], []
        for mean, covariance in zip(self.means, self.covariances, strict=True):
            slope = np.linalg.solve(covariance[np.ix_(others, others)], covariance[others, target])
            means.append(mean[target] + (given - mean[others]) @ slope)
            left = covariance[target, target] - covariance[others, target] @ slope
            deviations.append(np.sqrt(left))
        means, deviations = np.stack(means, 1), np.array(deviations)
        low = (means - 10 * deviations).min(1)
        high = (means + 10 * deviations).max(1)
        for _ in range(80):
            middle = 0.5 * (low + high)
            cumulative = np.sum(
                responsibility * ndtr((middle[:, None] - means) / deviations), axis=1
            )
            low, high = (
                np.where(cumulative < level, middle, low),
                np.where(cumulative < level, high, middle),
            )
        return 0.5 * (low + high)

    def _log_joint(self, x: np.ndarray) -> np.ndarray:
        d = self.means.shape[1]
        columns = []
        for weight, mean, covariance in zip(
            self.weights, self.means, self.covariances, strict=True
        ):
            factor = np.linalg.cholesky(covariance)
            white = np.linalg.solve(factor, (x - mean).T)
            volume = np.log(np.diagonal(factor)).sum() + 0.5 * d * np.log(2 * np.pi)
            columns.append(np.log(weight) - volume - 0.5 * np.sum(white**2, axis=0))
        return np.stack(columns, axis=1)
