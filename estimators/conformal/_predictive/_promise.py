"""What a set of consecutive ranks promises, for scores of exchangeable rows."""

from estimators.conformal._guarantee import Guarantee


def rank_guarantee(coverage: float, ranks: int, calibration: int) -> Guarantee:
    """The promise of a set that holds `ranks` of the n + 1 ranks that a new score can have."""
    share = ranks / (calibration + 1)
    return Guarantee(
        coverage=coverage,
        at_least=share,
        at_most=share,
        kind="exact",
        over="calibration rows and the new row together",
        given="exchangeable rows and a model that saw none of them",
    )
