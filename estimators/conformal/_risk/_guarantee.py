"""What risk control promises, in numbers and in words."""

from dataclasses import dataclass


@dataclass(frozen=True)
class RiskGuarantee:
    """The risk that is promised not to be exceeded, in expectation or with a probability.

    `str(guarantee)` is a sentence.

    Attributes:
        risk: the largest risk, or one for each of several losses.
        failure: the probability, over calibration rows, with which the risk may be above that;
            None where the promise is about the expected loss, calibration rows included.
        at_least: the least risk where losses are continuous in the parameter; None where none is
            known.
        given: what must hold for it.
    """

    risk: float | tuple[float, ...]
    failure: float | None
    at_least: float | None
    given: str

    def __str__(self):
        several = self.risk if isinstance(self.risk, tuple) else (self.risk,)
        most = " and ".join(f"{risk:g}" for risk in several)
        if self.failure is None:
            claim = f"the expected loss of a new row is at most {most}"
            if self.at_least is not None:
                claim += (
                    f" and, with losses continuous in a continuous parameter, at least "
                    f"{self.at_least:.6g}"
                )
            over = "calibration and new rows together"
        else:
            claim = f"the risk is at most {most} with probability at least {1 - self.failure:g}"
            over = "calibration rows"
        return f"{claim}; over {over}; given {self.given}."
