"""Refusals: the library's own message, rather than that of the annotations."""

import contextlib

import pytest

from estimators.testing import _annotations_unchecked


@contextlib.contextmanager
def refuses(message):
    """Expect a ValueError that matches `message`."""
    with _annotations_unchecked(), pytest.raises(ValueError, match=message):
        yield
