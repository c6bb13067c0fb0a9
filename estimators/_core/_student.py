"""Student's quantile from the normal one."""


def student_quantile(z, degrees):
    """Student's quantile at the level of the normal quantile `z`.

    By the expansion in one over the degrees of freedom to third order (Cornish & Fisher;
    Abramowitz & Stegun 26.7.5): within 1e-3 from 15 degrees.
    """
    return (
        z
        + (z**3 + z) / (4 * degrees)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * degrees**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * degrees**3)
    )
