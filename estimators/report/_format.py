"""Numbers for readers: as many figures as the error supports, in any unit."""

import math


def plus_minus(value: float, error: float) -> str:
    """`value ± error`, the error to two figures and the value to the same place."""
    if not math.isfinite(value):
        return "infinite"
    if not math.isfinite(error) or error <= 0:
        return f"{value:.4g}"
    exponent = math.floor(math.log10(max(abs(value), error)))
    if -4 <= exponent < 6:
        places = max(0, 1 - math.floor(math.log10(error)))
        return f"{value:.{places}f} ± {error:.{places}f}"
    unit = 10.0**exponent
    places = max(0, 1 - math.floor(math.log10(error / unit)))
    return f"({value / unit:.{places}f} ± {error / unit:.{places}f})e{exponent:+03d}"


def figures(value: float | None, count: int = 4) -> str:
    """So many significant figures; None and infinity are "infinite"."""
    if value is None or not math.isfinite(value):
        return "infinite"
    return f"{value:.{count}g}"


def short(name: str, most: int = 18) -> str:
    """A name cut to what fits."""
    return name if len(name) <= most else name[: most - 1] + "…"


def counted(n: int, what: str) -> str:
    """`1 row`, `2 rows`."""
    return f"{n} {what}" if n == 1 else f"{n} {what}s"
