"""What is promised where not coverage but a rate of errors is controlled."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ErrorGuarantee:
    """A rate of errors, the bound on it, and over which randomness it holds.

    `str(guarantee)` is a sentence.

    Attributes:
        error: which rate.
        at_most: its bound.
        over: what is random in it.
        given: what must hold for it.
    """

    error: str
    at_most: float
    over: str
    given: str

    def __post_init__(self):
        # A fraction may have been given, which not every Python can format.
        object.__setattr__(self, "at_most", float(self.at_most))

    def __str__(self):
        return f"{self.error} is at most {self.at_most:g}; over {self.over}; given {self.given}."
