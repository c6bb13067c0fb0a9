"""Rooflines that several cases share."""

import numpy as np


def passes(*names, times=1):
    """The arrays are read and written once, as fast as the memory takes it.

    Args:
        names: which of the data.
        times: how often.
    """

    def prepare(data):
        pairs = [(np.asarray(data[name]), np.empty_like(data[name])) for name in names]

        def call():
            for _ in range(times):
                for source, target in pairs:
                    np.copyto(target, source)

        return call

    return prepare
