"""Parameters of which some run with the thorough tests only."""

import pytest


def parameters(values, slow, name=str):
    """Values for `pytest.mark.parametrize`; those whose name is in `slow` are thorough."""
    names = [name(value) for value in values]
    assert set(slow) <= set(names), f"no value is called {set(slow) - set(names)}"
    return [
        pytest.param(value, id=called, marks=[pytest.mark.thorough] * (called in slow))
        for value, called in zip(values, names, strict=True)
    ]
