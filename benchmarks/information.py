"""Estimators of mutual information on the benchmark of Czyż et al., side by side.

    python benchmarks/information.py [--sizes 100 500 1000 5000] [--seeds 10] [--neural 2]
                                     [--only NAME ...] [--tasks NAME ...] [--weights FILE]
                                     [--json FILE] [--read FILE ...]

The 41 tasks of at most 5 columns a side (33 tasks, and the 8 "bend and mix" ones); of the 33, 21
are distinct once columns are replaced by their ranks. Mean absolute error in nats: over seeds,
then over tasks. *oracle* is, task by task, the classical estimator that happens to be best there,
which nobody could have known. Seconds are of one processor, without compilation. No estimator
was trained, tuned or chosen on these tasks.

`--neural` draws train a critic each (MINE and InfoNCE): about ten seconds a draw.
"""

import argparse
import functools
import json
import pathlib
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from estimators import information
from estimators.information import simulate

COVERAGES = (0.5, 0.8, 0.9)
CLASSICAL = ("KSG 3", "KSG 5", "Gaussian copula", "CCA")


def tasks():
    """Name -> law, of the tasks of at most 5 columns a side."""
    return {k: v for k, v in simulate.benchmark_tasks().items() if max(v.dimensions) <= 5}


def jitted(estimator):
    """Values and intervals of a batch of data sets, one after the other in one program."""

    @jax.jit
    def all_of(estimator, x, y):
        def one(pair):
            estimate = estimator.estimate(*pair)
            return estimate.value, [estimate.interval(c) for c in COVERAGES]

        return jax.lax.map(one, (x, y))

    return functools.partial(all_of, estimator)


@jax.jit
def subsampled(x, y):
    """KSG with intervals from 99 subsamples of half of the rows."""

    def one(pair):
        results = [
            information.subsampling_interval(
                *pair,
                key=jax.random.key(3),
                estimator=information.KSG(3),
                coverage=c,
                subsamples=99,
            )
            for c in COVERAGES  # one set of replicates: the compiler sees that they are equal
        ]
        return results[0].value, [(r.lower, r.upper) for r in results]

    return jax.lax.map(one, (x, y))


def of_host(estimator):
    """The same for estimators that compile nothing new for another number of rows."""

    def all_of(x, y):
        results = [estimator.estimate(a, b) for a, b in zip(x, y, strict=True)]
        value = jnp.stack([r.value for r in results])
        return value, [
            tuple(jnp.stack(side) for side in zip(*[r.interval(c) for r in results], strict=True))
            for c in COVERAGES
        ]

    return all_of


def neural(bound):
    """A critic trained for each data set."""
    spec = information.NeuralBound(bound)

    def all_of(x, y):
        keys = jax.random.split(jax.random.key(7), len(x))
        results = [spec.estimate(a, b, key=k) for a, b, k in zip(x, y, keys, strict=True)]
        return jnp.stack([r.value for r in results]), []

    return all_of


class Contender(NamedTuple):
    """A call, how many seeds it gets, and on how many rows at most."""

    call: Callable
    seeds: int
    most_rows: float = np.inf


def contenders(options):
    """Name -> contender."""
    network = None
    if options.weights:
        from estimators.io import load

        network = load(options.weights)
    seeds = options.seeds
    result = {
        "MIST": Contender(of_host(information.MIST(network)), seeds),
        "KSG 3": Contender(jitted(information.KSG(3)), seeds),
        "KSG 5": Contender(jitted(information.KSG(5)), seeds),
        "Gaussian copula": Contender(jitted(information.GaussianCopula()), seeds),
        "CCA": Contender(jitted(information.CanonicalCorrelation()), seeds),
        "KSG 3, subsampled": Contender(subsampled, seeds, 1000),
    }
    if options.neural:
        result["MINE"] = Contender(neural("donsker_varadhan"), options.neural)
        result["InfoNCE"] = Contender(neural("infonce"), options.neural)
    return {k: v for k, v in result.items() if not options.only or k in options.only}


def measure(options):
    """One record for each task, size and estimator."""
    records, compiled = [], set()
    calls = contenders(options)
    chosen = [(i, *item) for i, item in enumerate(tasks().items())]
    chosen = [row for row in chosen if not options.tasks or row[1] in options.tasks]
    # Programs are kept for tasks of the same columns only: those of all tasks together are more
    # memory mappings than a process may have.
    dimensions = None
    for i, name, law in sorted(chosen, key=lambda row: row[2].dimensions):
        if law.dimensions != dimensions:
            jax.clear_caches()
            compiled.clear()
            dimensions = law.dimensions
        truth = float(law.mutual_information)
        for n in options.sizes:
            keys = jax.random.split(jax.random.fold_in(jax.random.key(n), i), options.seeds)
            x, y = jax.jit(jax.vmap(functools.partial(law.sample, n=n)))(keys)
            for label, (call, seeds, most_rows) in calls.items():
                if n > most_rows:
                    continue
                shapes = label, x.shape, y.shape
                if shapes not in compiled:
                    jax.block_until_ready(call(x[:seeds], y[:seeds]))
                    compiled.add(shapes)
                start = time.process_time()
                value, intervals = jax.device_get(call(x[:seeds], y[:seeds]))
                seconds = (time.process_time() - start) / seeds
                record = {"task": name, "n": n, "estimator": label, "truth": truth}
                record |= {"value": np.asarray(value, float).tolist(), "seconds": seconds}
                record["ends"] = np.asarray(intervals, float).tolist()  # (coverages, 2, seeds)
                records.append(record)
        if options.json:
            pathlib.Path(options.json).write_text(json.dumps(records))
    return records


def groups(records):
    """Name -> those of its tasks that were measured."""
    measured = {record["task"] for record in records}
    names = [name for name in tasks() if name in measured]
    v2 = [n for n in names if n in set(simulate.BEND_AND_MIX)]
    first = [n for n in names if n not in v2]
    result = {"all 33": first, "21 distinct": [n for n in first if n in set(simulate.DISTINCT)]}
    for name, members in simulate.GROUPS.items():
        if not set(members) & set(v2):
            result[name] = [n for n in names if n in set(members)]
    result["bend and mix (8)"] = v2
    return {k: v for k, v in result.items() if v}


def error_table(records, sizes):
    """Markdown: mean absolute errors by group and size."""
    found = {(r["task"], r["n"], r["estimator"]): r for r in records}
    labels = [v for v in dict.fromkeys(r["estimator"] for r in records) if "subsampled" not in v]

    def error(task, n, label):
        record = found[task, n, label]
        return float(np.mean(np.abs(np.array(record["value"]) - record["truth"])))

    lines = ["| tasks | n | " + " | ".join([*labels, "oracle"]) + " |"]
    lines.append("|---" * (len(labels) + 3) + "|")
    for group, members in groups(records).items():
        for n in sizes:
            cells = [f"{np.mean([error(t, n, label) for t in members]):.3f}" for label in labels]
            classical = [label for label in CLASSICAL if label in labels]
            best = (
                [min(error(t, n, label) for label in classical) for t in members]
                if classical
                else []
            )
            cells.append(f"{np.mean(best):.3f}" if best else "")
            lines.append(f"| {group} | {n} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def interval_table(records, sizes):
    """Markdown: coverage, width, and the width that would have covered 90 %."""
    found = {(r["task"], r["n"], r["estimator"]): r for r in records if r["ends"]}
    labels = list(dict.fromkeys(label for _, _, label in found))
    lines = [
        "| tasks | n | estimator | 50 % | 80 % | 90 % | width of 90 %, nats | at equal coverage |",
        "|---" * 8 + "|",
    ]
    members = groups(records)
    for group in ("all 33", "21 distinct", "bend and mix (8)"):
        for n in sizes:
            for label in labels:
                chosen = [found.get((t, n, label)) for t in members.get(group, [])]
                if None in chosen or not chosen:
                    continue
                ends = np.array([r["ends"] for r in chosen])  # (tasks, coverages, 2, seeds)
                values = np.array([r["value"] for r in chosen])
                truth = np.array([r["truth"] for r in chosen])[:, None]
                low, high = ends[:, -1, 0], ends[:, -1, 1]
                inside = (ends[:, :, 0] <= truth[:, None]) & (truth[:, None] <= ends[:, :, 1])
                cells = [f"{c:.2f}" for c in inside.mean((0, 2))]
                # Stretched about the value until nine of ten cover.
                side = np.where(truth < values, values - low, high - values)
                stretch = np.quantile(np.abs(truth - values) / np.maximum(side, 1e-9), 0.9)
                width = (high - low).mean()
                cells += [f"{width:.2f}", f"{stretch * width:.2f}"]
                lines.append(f"| {group} | {n} | {label} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def time_table(records, sizes):
    """Markdown: processor time of one estimate."""
    labels = list(dict.fromkeys(r["estimator"] for r in records))
    lines = ["| milliseconds of one estimate | " + " | ".join(f"n = {n}" for n in sizes) + " |"]
    lines.append("|---" * (len(sizes) + 1) + "|")
    for label in labels:
        cells = []
        for n in sizes:
            mine = [r["seconds"] for r in records if (r["n"], r["estimator"]) == (n, label)]
            cells.append(f"{1e3 * np.median(mine):.3g}" if mine else "")
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="*", type=int, default=[100, 500, 1000, 5000])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--neural", type=int, default=0, help="seeds of the trained critics")
    parser.add_argument("--only", nargs="*", help="names of estimators")
    parser.add_argument("--tasks", nargs="*", help="names of tasks")
    parser.add_argument("--weights", metavar="FILE", help="of a network that is not shipped")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--read", nargs="*", metavar="FILE", help="make tables of records, merged")
    options = parser.parse_args()
    if options.read:
        paths = [pathlib.Path(path) for path in options.read]
        records = [record for path in paths for record in json.loads(path.read_text())]
    else:
        records = measure(options)
    for table in (error_table, interval_table, time_table):
        print(table(records, options.sizes) + "\n")


if __name__ == "__main__":
    main()
