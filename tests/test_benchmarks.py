"""The benchmark scripts run, at sizes at which their times say nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"

pytest.importorskip("sklearn")
pytest.importorskip("threadpoolctl")
pytest.importorskip("matplotlib")


def python(*arguments: str) -> str:
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=BENCHMARKS, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_peer_from_the_same_start_in_the_same_steps_comes_to_the_same_parameters(
    tmp_path: Path,
) -> None:
    names, file = ["shared", "faithful"], tmp_path / "figures.json"
    python("run.py", *names, "--rows", "1000", "--repeats", "1", "--json", str(file))
    workloads = json.loads(file.read_text())["workloads"]
    assert [each["name"] for each in workloads] == names
    for workload in workloads:
        assert workload["floor_ms"] > 0
        peer = workload["sides"]["scikit-learn"]
        assert peer["iterations"] == workload["sides"]["latentem"]["iterations"]
        assert peer["objective_differs"] < 1e-11
        assert peer["parameters_differ"] < 1e-9
        assert peer["ratio"] == pytest.approx(peer["ms"] / workload["sides"]["latentem"]["ms"])
    table = python("run.py", "--from", str(file)).splitlines()
    lines = sum(len(workload["sides"]) - 1 for workload in workloads)
    assert len(table) == 2 + lines


def test_every_workload_can_be_fitted() -> None:
    code = """
import warnings
from workloads import WORKLOADS
warnings.simplefilter("ignore")
for name, workload in WORKLOADS.items():
    if workload.kind not in ("seeds", "seeding"):
        ours = workload.make(2000).ours
        print(name, ours.read(ours.call(2)).iterations)
"""
    lines = [line.split() for line in python("-c", code).splitlines()]
    assert len(lines) > 15
    assert {steps for _, steps in lines} == {"2"}


def test_growth_is_measured_against_the_largest_clique() -> None:
    code = "import growth; print(growth.clique_curves([2], [2, 3], 50)[2][0])"
    assert python("-c", code).splitlines()[-1] == "[4, 9]"
