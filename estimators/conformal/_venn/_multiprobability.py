"""What a Venn predictor says of a row."""

from jaxtyping import Array, Float

from estimators._core import Stored


class Multiprobability(Stored):
    """A probability for each label that the row might have, as bounds, and one in their stead.

    With two classes the entries are the probability of class 1, `(*batch,)`; with more, that of
    each class, `(*batch, classes)`.

    Attributes:
        lower: the probability were the row not of the class.
        upper: the probability were the row of the class; `upper - lower` shrinks as rows of
            calibration come near, and says how far one more row would move the answer.
        merged: one probability within the two.
    """

    lower: Float[Array, "*batch"]
    upper: Float[Array, "*batch"]
    merged: Float[Array, "*batch"]
