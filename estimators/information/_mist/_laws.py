"""Random laws with known information: what the network is trained on, before it is disguised.

Each law takes a key, a number of rows, and the numbers of columns dx, dy that it may use out of
`width`, and returns `Draw`: columns beyond dx, dy are zero. Parameters are drawn with the data.
"""

import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp

from estimators.information._closed_forms import additive_uniform_information, student_correction
from estimators.information._mist._draw import Draw, live, log_uniform, put
from estimators.information._mist._grid import grid

MONTE_CARLO = 2048
MIXTURE_COLUMNS = 4
COMPONENTS = 12
TERMS = 6


def wanted_information(key, least_columns):
    """How much information a law should carry: many weak dependences, few very strong ones."""
    keys = jax.random.split(key, 4)
    weak = log_uniform(keys[0], 0.01, 0.6)
    middle = jax.random.uniform(keys[1], minval=0.05, maxval=2.5)
    strong = jax.random.uniform(keys[2], minval=0.5, maxval=2.0 + 1.2 * least_columns)
    kind = jax.random.choice(keys[3], 3, p=jnp.array([0.35, 0.45, 0.2]))
    return jnp.stack([weak, middle, strong])[kind]


def normal(key, rows: int, width: int, dx, dy) -> Draw:
    """Normal, of random canonical correlations; a tenth of the time independent."""
    keys = jax.random.split(key, 9)
    least = jnp.minimum(dx, dy)
    pairs = jax.random.randint(keys[0], (), 1, least + 1)
    total = wanted_information(keys[1], least)
    total = jnp.where(jax.random.uniform(keys[2]) < 0.1, 0, total)
    shares = jax.random.exponential(keys[3], (width,)) * live(pairs, width)
    shares = jnp.where(jax.random.uniform(keys[8]) < 0.4, live(pairs, width), shares)
    each = total * shares / jnp.sum(shares)
    square = -jnp.expm1(-2 * each)
    x, noise = jax.random.normal(keys[4], (2, rows, width))
    y = jnp.sqrt(square)[None] * x + jnp.sqrt(1 - square)[None] * noise
    return Draw(x * live(dx, width)[None], y * live(dy, width)[None], total)


def elliptical(key, rows: int, width: int, dx, dy) -> Draw:
    """Normal, or Student with 1 to 30 degrees of freedom, of random canonical correlations.

    A Student law without correlation is dependent all the same.
    """
    keys = jax.random.split(key, 9)
    x, y, total = normal(key, rows, width, dx, dy)
    freedom = log_uniform(keys[5], 1.0, 30.0)
    student = jax.random.uniform(keys[6]) < 0.55
    radius = jnp.sqrt(2 * jax.random.gamma(keys[7], freedom / 2, (rows, 1)) / freedom)
    radius = jnp.where(student, radius, 1)
    information = total + jnp.where(student, student_correction(freedom, dx, dy), 0)
    return Draw(x / radius, y / radius, information)


def additive(key, rows: int, width: int, dx, dy) -> Draw:
    """Columns of uniform variables, some of them seen through uniform noise."""
    keys = jax.random.split(key, 5)
    pairs = jax.random.randint(keys[0], (), 1, jnp.minimum(dx, dy) + 1)
    half = log_uniform(keys[1], 0.03, 4.0, (width,))
    half = jnp.where(jax.random.uniform(keys[2]) < 0.3, half[0], half)
    each = additive_uniform_information(half)
    x, unseen = jax.random.uniform(keys[3], (2, rows, width))
    noise = half[None] * jax.random.uniform(keys[4], (rows, width), minval=-1.0)
    used = live(pairs, width)[None]
    y = used * (x + noise) + (1 - used) * unseen
    return Draw(x * live(dx, width)[None], y * live(dy, width)[None], jnp.sum(each * used[0]))


def mixture(key, rows: int, width: int, dx, dy) -> Draw:
    """Mixtures of up to 12 normal laws on up to 4 + 4 columns; the others are noise."""
    c, keys = MIXTURE_COLUMNS, jax.random.split(key, 16)
    ux = jax.random.randint(keys[0], (), 1, jnp.minimum(dx, c) + 1)
    uy = jax.random.randint(keys[1], (), 1, jnp.minimum(dy, c) + 1)
    used = jnp.concatenate([live(ux, c), live(uy, c)])
    count = jnp.minimum(2 + jax.random.geometric(keys[2], 0.3) - 1, COMPONENTS)
    exists = jnp.arange(COMPONENTS) < count
    logits = jax.random.uniform(keys[3], maxval=1.0) * jax.random.normal(keys[4], (COMPONENTS,))
    log_weights = jax.nn.log_softmax(jnp.where(exists, logits, -jnp.inf))
    # Means scattered, or in a row along a curve.
    scattered = jax.random.normal(keys[5], (COMPONENTS, 2 * c))
    place = jnp.arange(COMPONENTS) / jnp.maximum(count - 1, 1) * 2 - 1
    directions = jax.random.normal(keys[6], (2, 2 * c)) * jnp.array([[3.0], [3.0]])
    curve = jnp.sin(place[:, None] * directions[0][None] + directions[1][None]) * 1.4
    means = jnp.where(jax.random.uniform(keys[7]) < 0.4, curve, scattered)
    means = means * jax.random.uniform(keys[8], minval=0.0, maxval=3.0)
    shape = jax.random.normal(keys[9], (COMPONENTS, 2 * c, 2 * c)) / (2 * c) ** 0.5
    ridge = log_uniform(keys[10], 0.05, 1.0)
    spread = jax.random.uniform(keys[14], maxval=1.2)
    scale = jnp.exp(spread * jax.random.normal(keys[11], (COMPONENTS, 1, 1)))
    covariance = scale * (shape @ shape.mT * (1 - ridge) + ridge * jnp.eye(2 * c)[None])
    # Often x and y are independent within every component, or within some: the dependence is in
    # the means alone, or in a part of the rows.
    block = jnp.arange(2 * c) < c
    same = block[:, None] == block[None]
    share = jax.random.choice(keys[12], jnp.array([1.0, 0.5, 0.0]), p=jnp.array([0.35, 0.2, 0.45]))
    apart = jax.random.bernoulli(keys[15], share, (COMPONENTS, 1, 1))
    covariance = covariance * jnp.where(apart & ~same[None], 0.0, 1.0)
    means = means * used[None]
    covariance = covariance * (used[:, None] * used[None])[None] + jnp.diag(1 - used)[None]
    return _mixture_draw(keys[13], rows, width, (dx, dy), (ux, uy), log_weights, means, covariance)


def _mixture_draw(key, rows, width, columns, used, log_weights, means, covariance):
    c = MIXTURE_COLUMNS
    keys = jax.random.split(key, 3)
    total = rows + MONTE_CARLO
    chosen = jax.random.categorical(keys[0], log_weights, shape=(total,))
    live_used = jnp.concatenate([live(used[0], c), live(used[1], c)])
    noise = jax.random.normal(keys[1], (total, 2 * c)) * live_used[None]
    points = means[chosen] + jnp.einsum(
        "nij,nj->ni", jnp.linalg.cholesky(covariance)[chosen], noise
    )
    fresh, points = points[:MONTE_CARLO], points[MONTE_CARLO:]

    def log_density(start, stop):
        part = covariance[:, start:stop, start:stop]
        factor = jnp.linalg.cholesky(part)
        eye = jnp.broadcast_to(jnp.eye(stop - start)[None], part.shape)
        inverse = jax.scipy.linalg.solve_triangular(factor, eye, lower=True)
        moved = jnp.einsum("kij,kj->ki", inverse, means[:, start:stop])
        white = jnp.einsum("kij,nj->nki", inverse, fresh[:, start:stop]) - moved[None]
        logs = -0.5 * jnp.sum(white**2, -1)
        logs = logs - jnp.sum(jnp.log(jnp.diagonal(factor, axis1=1, axis2=2)), -1)[None]
        return logsumexp(logs + log_weights[None], axis=1)

    ratio = log_density(0, 2 * c) - log_density(0, c) - log_density(c, 2 * c)
    information = jnp.maximum(jnp.mean(ratio), 0)
    x, y = jax.random.normal(keys[2], (2, rows, width))
    x, y = (
        put(side, part, u)
        for side, part, u in ((x, points[:, :c], used[0]), (y, points[:, c:], used[1]))
    )
    return Draw(x * live(columns[0], width)[None], y * live(columns[1], width)[None], information)


def regression(key, rows: int, width: int, dx, dy) -> Draw:
    """Random functions of up to 4 columns, seen through noise that may depend on them."""
    c, keys = min(MIXTURE_COLUMNS, width), jax.random.split(key, 12)
    outputs = min(2, width)
    ux = jax.random.randint(keys[0], (), 1, jnp.minimum(dx, c) + 1)
    uy = jax.random.randint(keys[1], (), 1, jnp.minimum(dy, outputs) + 1)
    draws = 1024
    total = rows + draws
    normal = jax.random.normal(keys[2], (total, c))
    uniform = jax.random.uniform(keys[3], (total, c), minval=-1.7, maxval=1.7)
    z = jnp.where(jax.random.uniform(keys[4]) < 0.6, normal, uniform) * live(ux, c)[None]

    frequency = log_uniform(keys[5], 0.3, 3.5) / jnp.sqrt(ux.astype(float))
    directions = frequency * jax.random.normal(keys[6], (outputs + 1, TERMS, c))
    shifts, sizes = (
        jax.random.normal(keys[7], (2, outputs + 1, TERMS)) * jnp.array([3.0, 1.0])[:, None, None]
    )
    values = (
        jnp.sum(sizes[None] * jnp.cos(jnp.einsum("nc,owc->now", z, directions) + shifts[None]), -1)
        * (2 / TERMS) ** 0.5
    )
    mean, spread = values[:, :outputs], values[:, outputs:]
    uneven = jax.random.uniform(keys[8], maxval=1.2) * (jax.random.uniform(keys[9]) < 0.5)
    deviation = log_uniform(keys[10], 0.03, 3.0) * jnp.exp(uneven * jnp.clip(spread, -2, 2))
    noise = jax.random.normal(keys[11], (total, outputs))
    y = mean + deviation * noise
    used = live(uy, outputs)

    fresh = slice(0, draws)
    # log p(y_i | z_j) for all pairs of fresh draws, one output after the other.
    squares = sum(
        used[o] * ((y[fresh, o][:, None] - mean[fresh, o][None]) / deviation[fresh, 0][None]) ** 2
        for o in range(outputs)
    )
    logs = -0.5 * squares - uy * jnp.log(deviation[fresh, 0])[None]
    top = jnp.max(logs, 1)
    among = jnp.log((jnp.sum(jnp.exp(logs - top[:, None]), 1)) / draws) + top
    # A third of the pairs' own terms would be a bias of their own: the mean over all j holds it,
    # as the mean over the others lacks it, and half of each is right to higher order.
    own = jnp.diagonal(logs)
    without = (
        jnp.log(jnp.maximum(jnp.exp(among - top) * draws - jnp.exp(own - top), 1e-30) / (draws - 1))
        + top
    )
    ratio = own - 0.5 * (among + jnp.maximum(without, among - 3))
    information = jnp.maximum(jnp.mean(ratio), 0)
    side_x, side_y = jax.random.normal(keys[3], (2, rows, width))
    x = put(side_x, z[draws:], ux)
    y = put(side_y, y[draws:], uy)
    return Draw(x * live(dx, width)[None], y * live(dy, width)[None], information)


def copulas(key, rows: int, width: int, dx, dy) -> Draw:
    """Pairs of columns, each with a Clayton, Frank or Student copula of its own."""
    keys = jax.random.split(key, 9)
    pairs = jax.random.randint(keys[0], (), 1, jnp.minimum(jnp.minimum(dx, dy), 4) + 1)
    total = rows + MONTE_CARLO
    c = min(4, width)
    u, w = jax.random.uniform(keys[1], (2, total, c), minval=1e-6, maxval=1 - 1e-6)
    a = log_uniform(keys[2], 0.15, 12.0, (c,))[None]  # Clayton
    log_u, log_w, log_rest = jnp.log(u), jnp.log(w), jnp.log1p(-w)
    grown = jnp.log(jnp.expm1(-a / (1 + a) * log_w)) - a * log_u
    log_clayton_v = -jnp.logaddexp(0.0, grown) / a
    b = log_uniform(keys[3], 0.5, 30.0, (c,))[None]  # Frank
    top = jnp.logaddexp(log_rest - b * u, log_w - b)
    frank_v = (jnp.logaddexp(log_w, log_rest - b * u) - top) / b
    kind = jax.random.choice(keys[4], 3, (c,), p=jnp.array([0.4, 0.3, 0.3]))
    is_clayton = kind[None] == 0
    v = jnp.clip(jnp.where(is_clayton, jnp.exp(log_clayton_v), frank_v), 1e-7, 1 - 1e-7)
    log_v = jnp.where(is_clayton, log_clayton_v, jnp.log(v))
    inner = jnp.logaddexp(jnp.log(-jnp.expm1(a * log_u)) - a * log_u, -a * log_v)
    log_clayton = jnp.log1p(a) - (1 + a) * (log_u + log_v) - (2 + 1 / a) * inner
    log_frank = jnp.log(b) + _log_of_less_than_one(b) - b * (u + v)
    log_frank -= 2 * jnp.logaddexp(
        _log_of_less_than_one(b * v) - b * u, _log_of_less_than_one(b * (1 - v)) - b * v
    )
    of_uniform = jnp.where(is_clayton, log_clayton, log_frank)
    gauss_x, gauss_y = (jax.scipy.special.ndtri(s) for s in (u, v))

    freedom = log_uniform(keys[5], 1.0, 12.0, (c,))
    correlation = jax.random.uniform(keys[6], (c,), minval=-0.95, maxval=0.95)
    e, f = jax.random.normal(keys[7], (2, total, c))
    radius = jnp.sqrt(2 * jax.random.gamma(keys[8], freedom / 2, (total, c)) / freedom)
    student_x = e / radius
    student_y = (correlation[None] * e + jnp.sqrt(1 - correlation**2)[None] * f) / radius
    is_student = (kind == 2)[None]
    x, y = jnp.where(is_student, student_x, gauss_x), jnp.where(is_student, student_y, gauss_y)
    of_student = student_correction(freedom, 1, 1) - 0.5 * jnp.log1p(-(correlation**2))
    each = jnp.where(kind == 2, of_student, jnp.mean(of_uniform[:MONTE_CARLO], 0))
    information = jnp.maximum(jnp.sum(each * live(pairs, c)), 0)
    side_x, side_y = jax.random.normal(keys[0], (2, rows, width))
    x, y = put(side_x, x[MONTE_CARLO:], pairs), put(side_y, y[MONTE_CARLO:], pairs)
    return Draw(x * live(dx, width)[None], y * live(dy, width)[None], information)


def _log_of_less_than_one(z):
    """log(1 - exp(-z))."""
    return jnp.log(-jnp.expm1(-z))


LAWS = (elliptical, additive, mixture, regression, copulas, grid)
