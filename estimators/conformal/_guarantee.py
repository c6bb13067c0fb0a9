"""What a conformal set promises, in numbers and in words."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Guarantee:
    """The coverage that is promised, by what, and over which randomness.

    `str(guarantee)` is a sentence.

    Attributes:
        coverage: the coverage asked for.
        at_least: the least probability that the set covers; None where nothing is proven.
        at_most: the largest one where scores are distinct; None where none is known.
        kind: "exact" where the two are the probability itself for distinct scores; "at least"
            where only the lower one is; "asymptotic" where it is reached as the sample grows;
            "every series" where they bound a share of steps, whatever the scores are.
        over: what is random in that probability.
        given: what must hold for it.
    """

    coverage: float
    at_least: float | None
    at_most: float | None
    kind: Literal["exact", "at least", "asymptotic", "every series"]
    over: str
    given: str

    def __post_init__(self):
        # A fraction may have been given, which not every Python can format.
        object.__setattr__(self, "coverage", float(self.coverage))

    def __str__(self):
        if self.kind == "asymptotic":
            claim = f"covers with probability near {self.coverage:g} for a large sample"
        elif self.kind == "every series":
            claim = f"covers a share from {self.at_least:.6g} to {self.at_most:.6g}"
        elif self.kind == "exact":
            claim = f"covers with probability {self.at_least:.6g}, {self.coverage:g} asked"
        else:
            claim = f"covers with probability at least {self.at_least:.6g}"
            if self.at_most is not None:
                claim += f" and, with distinct scores, at most {self.at_most:.6g}"
        return f"{claim}; over {self.over}; given {self.given}."


EXCHANGEABLE = "rows that are exchangeable, and predictions of a model that has seen none of them"


def rank_guarantee(coverage: float, ranks: int, calibration: int) -> Guarantee:
    """The promise of a set that holds `ranks` of the n + 1 ranks that a new score can have."""
    share = ranks / (calibration + 1)
    over = "calibration and new rows together"
    return Guarantee(coverage, share, share, "exact", over, EXCHANGEABLE)
