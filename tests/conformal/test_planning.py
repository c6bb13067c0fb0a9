"""Planning: bands, sizes and confidence against the laws that they come from."""

import numpy as np
from scipy import stats

from estimators import conformal
from estimators.testing import refuses


def test_the_stored_law(shared_data):
    case = np.load(shared_data / "conformal_oracle" / "coverage_law.npz")
    n, m, k = int(case["n"]), int(case["m"]), int(case["k"])
    coverage = 1 - float(case["alpha"])
    assert conformal.conformal_rank(n, coverage) == k
    for confidence in (0.5, 0.9, 0.99):
        band = conformal.coverage_band(n, m, coverage, confidence=confidence)
        cumulative, tail = np.cumsum(case["betabinom_pmf"]), (1 - confidence) / 2
        assert round(band.lower * m) == np.argmax(cumulative >= tail)
        assert round(band.upper * m) == np.argmax(cumulative >= 1 - tail)
    limit = conformal.coverage_band(n, None, coverage)
    for end, share in ((limit.lower, 0.025), (limit.upper, 0.975)):
        np.testing.assert_allclose(np.interp(end, case["grid"], case["beta_cdf"]), share, atol=0.02)
        np.testing.assert_allclose(stats.beta.cdf(end, k, n + 1 - k), share, rtol=1e-9)


def test_the_size_holds_and_one_less_does_not():
    """Every size up to three times as large, against the beta law by itself."""
    for coverage, within in ((0.9, 0.05), (0.8, 0.03), (0.5, 0.1), (0.99, 0.005)):
        found = conformal.calibration_size_within(coverage, within)

        def holds(n, coverage=coverage, within=within):
            k = conformal.conformal_rank(n, coverage)
            law = stats.beta(k, max(n + 1 - k, 1))
            low, high = law.cdf(coverage - within), law.sf(coverage + within)
            return low <= 0.025 and high <= 0.025 and k <= n

        assert not holds(found - 1)
        assert all(holds(n) for n in range(found, 3 * found, max(1, found // 100)))


def test_pac_coverage_is_the_least_rank_that_holds():
    for n, coverage, confidence in ((200, 0.9, 0.95), (60, 0.9, 0.9), (1000, 0.99, 0.99)):
        asked = conformal.pac_coverage(n, coverage, confidence=confidence)
        k = conformal.conformal_rank(n, asked)
        assert asked == k / (n + 1)
        assert stats.beta.sf(coverage, k, n + 1 - k) >= confidence
        assert stats.beta.sf(coverage, k - 1, n + 2 - k) < confidence


def test_pac_needs_rows():
    """The largest of n scores covers .9 with confidence 1 - .9**n."""
    with refuses("calibration must be at least 29 for coverage 0.9 with confidence 0.95; got 28"):
        conformal.pac_coverage(28, 0.9)
    assert conformal.pac_coverage(29, 0.9) == 29 / 30
    with refuses("within must lie strictly between 0 and 1; got 0"):
        conformal.calibration_size_within(0.9, 0)
