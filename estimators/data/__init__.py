"""Small data that ships with the library, with its truth.

values, columns = data.first_light()       # (2000, 6) and six names
truth = data.first_light_truth()           # the law it was drawn from
truth.log_density(values), truth.mutual_information(0, 1)
"""

from estimators.data._first_light import first_light, first_light_truth
from estimators.data._mixture import MixtureTruth

__all__ = ["MixtureTruth", "first_light", "first_light_truth"]
