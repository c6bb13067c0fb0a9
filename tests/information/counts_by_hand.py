"""Nearest-neighbour estimators point by point in numpy, on columns as they are."""

import numpy as np
from scipy.spatial import cKDTree
from scipy.special import digamma


def distances(columns):
    return np.abs(columns[:, None] - columns[None]).max(-1)


def others(away):
    """Leave the diagonal out: `(n, n) -> (n, n - 1)`."""
    n = len(away)
    return away[~np.eye(n, dtype=bool)].reshape(n, n - 1)


def counted(joint, spaces, signs, k):
    """`mean(psi(k) + sum_s sign_s psi(count_s + 1))`; at radius zero all that coincide."""
    joint, spaces = others(joint), [others(space) for space in spaces]
    radius = np.sort(joint, 1)[:, k - 1 : k]
    zero = radius[:, 0] == 0
    total = digamma(np.where(zero, (joint == 0).sum(1) + 1, k))
    for sign, space in zip(signs, spaces, strict=True):
        inside = np.where(zero, (space == 0).sum(1), (space < radius).sum(1))
        total += sign * digamma(inside + 1)
    return total.mean()


def conditional(x, y, z, k):
    to_x, to_y, to_z = map(distances, (x, y, z))
    with_x, with_y = np.maximum(to_x, to_z), np.maximum(to_y, to_z)
    return counted(np.maximum(with_x, with_y), (with_x, with_y, to_z), (-1, -1, 1), k)


def total_correlation(data, k):
    spaces = [distances(column[:, None]) for column in data.T]
    m = len(spaces)
    return (m - 1) * digamma(len(data)) + counted(np.max(spaces, 0), spaces, [-1] * m, k)


def rectangles(x, y, k):
    """Equation 9; at radius zero as in algorithm 1."""
    n, total = len(x), 0.0
    to_x, to_y = map(distances, (x, y))
    for i in range(n):
        rest = np.arange(n) != i
        in_x, in_y = to_x[i][rest], to_y[i][rest]
        joint = np.maximum(in_x, in_y)
        radius = np.sort(joint)[k - 1]
        near = joint <= radius
        counts = [(away <= away[near].max()).sum() for away in (in_x, in_y)]
        if radius == 0:
            total += digamma(near.sum() + 1) - sum(digamma(c + 1) for c in counts)
        else:
            total += digamma(near.sum()) - 1 / near.sum() - sum(digamma(c) for c in counts)
    return digamma(n) + total / n


def mixture(x, y, k):
    """Gao et al. (2017) as published with the paper: trees, smaller radii, counts with self."""
    joint = np.hstack([x, y])
    trees = [cKDTree(columns) for columns in (joint, x, y)]
    radius = trees[0].query(joint, k=k + 1, p=np.inf)[0][:, k]
    near = np.nextafter(radius, 0)
    number, in_x, in_y = (
        np.array(list(map(len, tree.query_ball_point(columns, near, p=np.inf))))
        for tree, columns in zip(trees, (joint, x, y), strict=True)
    )
    number = np.where(radius == 0, number, k)
    return np.log(len(x)) + np.mean(digamma(number) - digamma(in_x) - digamma(in_y))


def ross(x, label, k):
    """Ross (2014), in the maximum norm; rows whose label occurs once are left out."""
    occurs = (distances(label) == 0).sum(1)
    x, label = x[occurs > 1], label[occurs > 1]
    away, same = distances(x), distances(label) == 0
    total = 0.0
    for i in range(len(x)):
        labelled = same[i].sum()
        wanted = min(k, labelled - 1)
        radius = np.sort(away[i][same[i]])[wanted]
        total += digamma(wanted) - digamma(labelled) - digamma((away[i] < radius).sum())
    return digamma(len(x)) + total / len(x)


def npeet(x, y, k):
    """What NPEET's `mi` computes, without its noise: trees, smaller radii, counts with self.

    NPEET takes 1e-15 off the radii; at one of 8 that is nothing, and the last bit is taken here.
    """
    tree = cKDTree(np.hstack([x, y]))
    radius = tree.query(np.hstack([x, y]), k=k + 1, p=np.inf)[0][:, k]

    def average(columns):
        points = cKDTree(columns).query_ball_point(columns, np.nextafter(radius, 0), p=np.inf)
        return np.mean(digamma([len(near) for near in points]))

    return digamma(k) + digamma(len(x)) - average(x) - average(y)


def jackknife(estimate, *variables):
    """The delete-one standard error of any function of the rows."""
    n = len(variables[0])
    without = [estimate(*(np.delete(v, i, 0) for v in variables)) for i in range(n)]
    return np.sqrt((n - 1) * np.var(without))
