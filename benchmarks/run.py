"""Time latentem beside its peers: one process, the same data, the same start, the same steps.

    python benchmarks/run.py [workload ...]      # all of them take about an hour
    python benchmarks/run.py --list
    python benchmarks/run.py --quick             # a tenth of the rows, to see that it runs

Timed is the whole public call, set-up and checks of the data included; `README.md` says what else
is measured and how. Peers that are not installed are left out.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import limits
import numpy as np
import peers
from peers import Result, Side
from workloads import WORKLOADS, Case, Workload

from latentem.kernels import compiled

Record = dict[str, Any]
OURS = "latentem"
#: Ways of running a peer that take so many times as long as its best at first are left out.
CLEARLY_SLOWER = 1.5
#: Rounds shorter than this, in seconds, are repeated up to five times as often.
SHORT = 1.0
#: Seconds before each call: the threads of the side before go on spinning for a while.
PAUSE = 0.2
#: Fits shorter than this, in seconds, are timed several in a row, and at most so many.
IN_A_ROW, MOST_IN_A_ROW = 0.05, 200


def seconds(call: Any, argument: Any, row: int = 1) -> tuple[float, Any]:
    """Return the time of a call, the mean of several in a row, and its result."""
    time.sleep(PAUSE)
    start = time.perf_counter()
    for _ in range(row):
        result = call(argument)
    return (time.perf_counter() - start) / row, result


def sides_of(case: Case) -> dict[str, Side]:
    """Return the sides that are installed, latentem first."""
    sides = {OURS: case.ours}
    for name, make in case.peers.items():
        if peers.is_installed(name):
            sides[name] = make()
        else:
            print(f"  {name} is not installed: left out")
    return sides


def differences(ours: Result, theirs: Result, same_steps: bool) -> tuple[float, float]:
    """Return by how much the objective differs, relatively, and the parameters at most.

    Parameters relative to the largest of their kind; nan where a peer does not tell. Fits that went
    until convergence are compared in the objective alone.
    """
    lags = same_steps and theirs.lag
    expected = ours.earlier if lags else ours.objective
    objective = abs(theirs.objective / expected - 1) if expected else np.nan
    if not same_steps:
        return objective, np.nan
    pairs = zip(ours.parameters, theirs.parameters, strict=True)
    return objective, max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in pairs)


class Way:
    """One way of running one side, and its times."""

    def __init__(self, name: str, setting: str, side: Side) -> None:
        self.name, self.setting, self.side = name, setting, side
        self.context = peers.settings(name)[setting]
        self.times: list[float] = []
        self.few: list[float] = []  # of fits with fewer steps
        self.row = 1

    def run(self, argument: Any) -> tuple[float, Any]:
        with self.context():
            return seconds(self.side.call, argument, self.row)

    def warm_up(self, argument: Any) -> float:
        """Return the time of a fit that is not counted; of a second one if it is short."""
        taken = self.run(argument)[0]
        if taken <= SHORT:
            taken = self.run(argument)[0]
        self.row = max(1, min(MOST_IN_A_ROW, int(IN_A_ROW / taken)))
        return taken


def ways_of(case: Case, argument: Any) -> list[Way]:
    """Return the ways worth timing, by one fit each, which is not counted and warms up."""
    chosen: list[Way] = []
    for name, side in sides_of(case).items():
        ways = [Way(name, setting, side) for setting in peers.settings(name)]
        try:
            first = [way.warm_up(argument) for way in ways]
        except Exception as error:
            if name == OURS:
                raise
            print(f"  {name} fails: {str(error).splitlines()[0]}")
            continue
        pairs = zip(ways, first, strict=True)
        chosen += [way for way, taken in pairs if taken < CLEARLY_SLOWER * min(first)]
    return chosen


def compare(workload: Workload, case: Case, repeats: int) -> dict[str, Record]:
    """Time all sides in turn, with m steps and with fewer: the difference is free of set-up."""
    many = workload.steps if workload.kind == "step" else None
    few = max(1, workload.steps // 5) if many else None
    ways = ways_of(case, few)
    results: dict[str, Result] = {}
    turn = 0
    while turn < repeats or (turn < 5 * repeats and sum(way.times[0] for way in ways) < SHORT):
        first = turn % len(ways)
        for way in ways[first:] + ways[:first]:
            try:
                taken, fit = way.run(many)
            except Exception as error:
                if way.name == OURS:
                    raise
                print(f"  {way.name} fails: {str(error).splitlines()[0]}")
                ways.remove(way)
                continue
            way.times.append(taken)
            results[way.name] = way.side.read(fit)
            if few:
                way.few.append(way.run(few)[0])
        turn += 1
    records: dict[str, Record] = {}
    for name in dict.fromkeys(way.name for way in ways):
        mine = [way for way in ways if way.name == name]
        best = min(mine, key=lambda way: statistics.median(way.times))
        whole, steps = statistics.median(best.times), many or 1
        if many and results[name].iterations != many:
            steps = int(results[name].iterations)  # it came to its limit
            print(f"  {name} made {steps} steps instead of {many}")
        record: Record = {
            "setting": best.setting,
            "ms": 1e3 * whole / steps,
            "fastest_ms": 1e3 * min(best.times) / steps,
            "iterations": int(results[name].iterations),
            "times_s": best.times,
        }
        if many and few:
            record["step_ms"] = 1e3 * (whole - statistics.median(best.few)) / (steps - few)
        if name != OURS and best.side.compares:
            objective, parameters = differences(results[OURS], results[name], bool(many))
            record |= {"objective_differs": objective, "parameters_differ": parameters}
        records[name] = record
    return records


def seeds(workload: Workload, case: Case) -> dict[str, Record]:
    """Run calls with one seed after the other, and count who ends at least as high."""
    sides = sides_of(case)
    ways = {name: list(peers.settings(name)) for name in sides}
    times: dict[tuple[str, str], list[float]] = {}
    ends: dict[str, list[float]] = {name: [] for name in sides}
    if workload.kind == "seeding":
        for name, side in sides.items():
            for setting in ways[name]:
                Way(name, setting, side).run(0)  # starts their threads
    for seed in range(workload.steps):
        for name in list(sides)[:: -1 if seed % 2 else 1]:
            for setting in ways[name]:
                taken, fit = Way(name, setting, sides[name]).run(seed)
                times.setdefault((name, setting), []).append(taken)
            if workload.kind == "seeds":
                ends[name].append(sides[name].read(fit).objective)
            ways[name] = [min(ways[name], key=lambda way, name=name: times[name, way][0])]
    records: dict[str, Record] = {}
    for name in sides:
        own = times[name, ways[name][0]]
        records[name] = {
            "setting": ways[name][0],
            "ms": 1e3 * statistics.median(own),
            "fastest_ms": 1e3 * min(own),
            "times_s": own,
            "log_likelihoods": ends[name],
        }
        if name != OURS and workload.kind == "seeds":
            pairs = zip(ends[OURS], ends[name], strict=True)
            allowed = 1e-9  # of the log-likelihood
            high = sum(a >= b - allowed * abs(b) for a, b in pairs)
            records[name]["ours_at_least_as_high"] = f"{high} of {workload.steps}"
    return records


def memory(name: str, workload: Workload, rows: int) -> dict[str, Record]:
    """Run each side in a process of its own, and read its peak there."""
    records: dict[str, Record] = {}
    for side in [OURS, *(each for each in workload.bars if peers.is_installed(each)), "daal4py"]:
        if not peers.is_installed(side):
            continue
        command = [sys.executable, __file__, name, "--rows", str(rows), "--peak-of", side]
        answer = subprocess.run(command, capture_output=True, text=True, check=True)
        records[side] = {"setting": "own threads", "mib": float(answer.stdout)}
    return records


def peak(workload: Workload, rows: int, side: str) -> float:
    """Return the MiB that a fit needs at its peak, beside what was there before it."""

    def status(field: str) -> float:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024

    # The compiler and a small fit first: what modules, threads and BLAS take once is no fit's.
    if compiled.available():
        compiled.loops()
    sides_of(workload.make(2000))[side].call(workload.steps)
    call = sides_of(workload.make(rows))[side].call
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # sets the peak back (Linux)
    call(workload.steps)
    return status("VmHWM") - before


def measure(name: str, rows: int, repeats: int, machine: limits.Limits) -> Record:
    """Return the record of a workload: what is written to JSON."""
    workload = WORKLOADS[name]
    title = workload.title.format(n=f"{rows:,}")
    print(f"\n{name}: {title}", flush=True)
    if workload.kind == "memory":
        sides = memory(name, workload, rows)
    else:
        if compiled.available():
            compiled.loops()  # as any larger fit would have done before
        case = workload.make(rows)
        sides = (
            seeds(workload, case)
            if workload.kind in ("seeds", "seeding")
            else compare(workload, case, repeats)
        )
    for other, ms in workload.quoted.items():
        sides[other] = {"setting": "quoted", "ms": ms}
    record: Record = {"name": name, "title": title, "rows": rows, "kind": workload.kind,
                      "sides": sides, "floor_ms": None}  # fmt: skip
    if workload.cost is not None:
        record["floor_ms"] = 1e3 * machine.floor(workload.cost(rows))
    unit = "mib" if workload.kind == "memory" else "ms"
    others = {side: r for side, r in sides.items() if side not in (OURS, "without holes")}
    for side, figures in sides.items():
        if side == OURS:
            continue
        figures["ratio"] = figures[unit] / sides[OURS][unit]
        if "step_ms" in figures:
            figures["step_ratio"] = figures["step_ms"] / sides[OURS]["step_ms"]
        is_best = side in others and figures[unit] == min(r[unit] for r in others.values())
        bar = workload.bars.get(side) or (workload.bars.get("best") if is_best else None)
        if bar is not None:
            figures["least"], figures["heading"] = bar
    for side, figures in sides.items():
        print("  " + line(side, figures), flush=True)
    if record["floor_ms"] is not None:
        print(f"  floor {record['floor_ms']:.3g} ms, "
              f"latentem {sides[OURS]['ms'] / record['floor_ms']:.1f} times it")  # fmt: skip
    return record


def line(side: str, figures: Record) -> str:
    """Return the figures of one side, in words."""
    parts = [
        f"{side:21s}",
        f"{figures['mib']:.0f} MiB" if "mib" in figures else f"{figures['ms']:.4g} ms",
    ]
    if "fastest_ms" in figures:
        parts.append(f"fastest {figures['fastest_ms']:.4g}")
    if "step_ms" in figures:
        parts.append(f"without set-up {figures['step_ms']:.4g}")
    parts.append(figures["setting"])
    if "ratio" in figures:
        parts.append(f"ratio {figures['ratio']:.3g}")
    if "least" in figures:
        parts.append(f"(at least {figures['least']:.3g})")
    for field, text in (
        ("objective_differs", "Δ objective"),
        ("parameters_differ", "Δ parameters"),
    ):
        if np.isfinite(figures.get(field, np.nan)):
            parts.append(f"{text} {figures[field]:.0e}")
    if "ours_at_least_as_high" in figures:
        parts.append(f"latentem at least as high: {figures['ours_at_least_as_high']}")
    if "iterations" in figures:
        parts.append(f"{figures['iterations']} iterations")
    return ", ".join(part for part in parts if part)


def markdown(records: list[Record]) -> str:
    """Return the table of the README: a line for each peer of each workload."""
    head = (
        "workload",
        "latentem",
        "peer",
        "ms (MiB)",
        "ratio",
        "without set-up",
        "at least",
        "heading for",
        "times the floor",
        "agreement",
    )
    rows = [head, ("---", "---:", "---", "---:", "---:", "---:", "---:", "---:", "---:", "---")]

    def cell(value: float | None) -> str:
        if value is None or not np.isfinite(value):
            return ""
        return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"

    def share(value: float | None) -> str:
        return "" if value is None or not np.isfinite(value) else f"{value:.0e}"

    for record in records:
        unit = "mib" if record["kind"] == "memory" else "ms"
        ours = record["sides"][OURS]
        first = True
        for side, figures in record["sides"].items():
            if side == OURS:
                continue
            agreement = [share(figures.get(f)) for f in ("objective_differs", "parameters_differ")]
            if "ours_at_least_as_high" in figures:
                agreement = [f"ours as high in {figures['ours_at_least_as_high']}"]
            floor = record["floor_ms"]
            rows.append((
                record["title"] if first else "",
                f"{cell(ours[unit])} {'MiB' if unit == 'mib' else 'ms'}" if first else "",
                side + (" (quoted)" if figures["setting"] == "quoted" else ""),
                cell(figures[unit]),
                cell(figures["ratio"]),
                cell(figures.get("step_ratio")),
                cell(figures.get("least")),
                cell(figures.get("heading")),
                cell(ours["ms"] / floor) if floor and first else "",
                ", ".join(filter(None, agreement)),
            ))  # fmt: skip
            first = False
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workload", nargs="*", help="names; all of them by default")
    parser.add_argument("--list", action="store_true", help="name the workloads")
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows, one round")
    parser.add_argument("--rows", type=int, help="so many rows for every workload")
    parser.add_argument("--repeats", type=int, default=5, help="timed rounds")
    parser.add_argument("--json", type=Path, help="write the figures to a file")
    parser.add_argument("--markdown", action="store_true", help="print the table")
    parser.add_argument("--from", dest="source", type=Path, help="print the table of such a file")
    parser.add_argument("--peak-of", help=argparse.SUPPRESS)
    options = parser.parse_args()
    unknown = [name for name in options.workload if name not in WORKLOADS]
    if unknown:
        parser.error(f"no such workload: {', '.join(unknown)}; --list names them")
    warnings.simplefilter("ignore")
    if options.list:
        for name, workload in WORKLOADS.items():
            print(f"{name:20s} {workload.title.format(n=f'{workload.rows:,}')}")
        return
    if options.source:
        print(markdown(json.loads(options.source.read_text())["workloads"]))
        return

    def rows_of(workload: Workload) -> int:
        if workload.fixed_rows:
            return workload.rows
        return options.rows or (quick_rows(workload) if options.quick else workload.rows)

    if options.peak_of:
        with contextlib.redirect_stdout(sys.stderr):
            workload = WORKLOADS[options.workload[0]]
            figure = peak(workload, rows_of(workload), options.peak_of)
        print(figure)
        return
    about = (
        f"Python {platform.python_version()}, NumPy {np.__version__}, {limits.THREADS} cores; "
        + ", ".join(f"{p} {peers.version(p)}" for p in peers.PACKAGES if peers.is_installed(p))
    )
    print(about)
    machine = limits.measure()
    print(
        f"matrix product {machine.product / 1e9:.0f} GFLOP/s (float32 "
        f"{machine.product_single / 1e9:.0f}), read {machine.read / 1e9:.0f} GB/s, "
        f"exp {1e9 * machine.exp:.2f} ns"
    )
    repeats = 1 if options.quick else options.repeats
    records = []
    for name in options.workload or WORKLOADS:
        records.append(measure(name, rows_of(WORKLOADS[name]), repeats, machine))
        if options.json:  # after each, so that a run can be interrupted
            document = {"about": about, "limits": machine_figures(machine), "workloads": records}
            options.json.write_text(json.dumps(document, indent=1))
    if options.markdown:
        print("\n" + markdown(records))


def quick_rows(workload: Workload) -> int:
    """Return a tenth of the rows, but enough for the states to keep theirs."""
    return max(workload.rows // 10, min(workload.rows, 10_000))


def machine_figures(machine: limits.Limits) -> dict[str, float]:
    return {name: getattr(machine, name) for name in ("product", "product_single", "read", "exp")}


if __name__ == "__main__":
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    main()
