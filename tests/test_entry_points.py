"""Families of other packages: found by their entry points, loaded when asked for."""

from __future__ import annotations

import importlib
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

import latentem as lem

PYPROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "{name}"
version = "1.0"

[project.entry-points."latentem.distributions"]
{points}

[tool.hatch.build.targets.wheel]
include = ["{module}.py"]
"""

MAXWELL = '''
"""Speeds of the molecules of a gas."""

import attrs
import numpy as np

import latentem as lem


@attrs.frozen(eq=False)
class Maxwell(lem.Distribution):
    """ln p(x) = ln sqrt(2 / pi) + 2 ln x - 3 ln scale - x^2 / (2 scale^2)."""

    scale: lem.Array | None = None  # (*parents,)

    def log_prob(self, value):
        x = value[:, None]
        with np.errstate(divide="ignore"):
            log_x = np.log(x, where=x > 0, out=np.full(x.shape, -np.inf))
        constant = 0.5 * np.log(2 / np.pi) - 3 * np.log(self.scale)
        return constant + 2 * log_x - x**2 / (2 * self.scale**2)

    def fit(self, value, weights):
        return Maxwell(np.sqrt(weights.T @ value**2 / weights.sum(axis=0) / 3))

    def sample(self, rng, state):
        return self.scale[state] * np.sqrt(rng.chisquare(3, size=len(state)))

    @property
    def n_parameters(self):
        return self.scale.size


class Gas:
    """No distribution."""


class Half(lem.Distribution):
    """Has one of the two methods."""

    def fit(self, value, weights):
        return self
'''


class Site:
    """A folder that packages are installed into, and that this process imports from."""

    def __init__(self, path: Path) -> None:
        self.path = path / "site"
        self.source = path / "source"

    def add(self, name: str, points: str, code: str = MAXWELL) -> None:
        """Write a package with one module."""
        module, source = name.replace("-", "_"), self.source / name
        source.mkdir(parents=True)
        text = PYPROJECT.format(name=name, module=module, points=textwrap.dedent(points))
        (source / "pyproject.toml").write_text(text, encoding="utf-8")
        (source / f"{module}.py").write_text(code, encoding="utf-8")

    def install(self) -> None:
        options = ["--no-deps", "--no-build-isolation", "--no-index", "--no-compile", "--quiet"]
        options += ["--disable-pip-version-check", "--root-user-action=ignore"]
        command = [sys.executable, "-m", "pip", "install", *options, "--target", str(self.path)]
        command += [str(source) for source in sorted(self.source.iterdir())]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        importlib.invalidate_caches()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    pytest.importorskip("pip")
    pytest.importorskip("hatchling")
    made = Site(tmp_path_factory.mktemp("packages"))
    made.add(
        "gas-families",
        """\
        Maxwell = "gas_families:Maxwell"
        Gas = "gas_families:Gas"
        Half = "gas_families:Half"
        Absent = "gas_families:Absent"
        Poisson = "gas_families:Maxwell"
        """,
    )
    made.add("broken-families", 'Broken = "broken_families:Any"', "1 / 0\n")
    made.add("more-families", 'Maxwell2 = "more_families:Maxwell"')
    made.add("rival-families", 'Maxwell2 = "rival_families:Maxwell"')
    made.install()
    return made


@pytest.fixture(autouse=True)
def installed(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(site.path))
    for name in ("gas_families", "broken_families", "more_families", "rival_families"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def test_the_library_has_its_own() -> None:
    found = lem.families()
    assert found["Normal"] is lem.Normal
    assert {"Gaussian", "Categorical", "Uniform"} <= set(found)
    assert {"LinearGaussian", "Logistic", "PoissonRegression", "GammaRegression"} <= set(found)
    assert found["Softmax"] is lem.Softmax
    assert not {"Distribution", "ExponentialFamily", "AuxiliaryFamily", "Fixed"} & set(found)
    assert len(found) == len(list(found))


def test_a_registered_family_is_found_and_keeps_the_laws() -> None:
    assert "Maxwell" in lem.families()
    assert "Maxwell" in repr(lem.families())
    assert "gas_families" not in sys.modules  # asking for names imports nothing
    maxwell = lem.families()["Maxwell"]
    assert issubclass(maxwell, lem.Distribution)
    rng = np.random.default_rng(0)
    speeds = np.sqrt(rng.chisquare(3, size=300)) * np.repeat([1.0, 5.0], 150)
    lem.testing.check_distribution(maxwell(), speeds[:60])
    gas = lem.latent("gas", lem.Categorical(2))
    fit = lem.fit(lem.Model([gas, lem.observed("speed", maxwell(), given=gas)]), speeds, seed=0)
    np.testing.assert_allclose(np.sort(fit.model["speed"].scale), [1.0, 5.0], rtol=0.1)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "Gas",
            r"Gas = gas_families:Gas' of package gas-families must be a subclass of Dist.+, got",
        ),
        ("Half", r"'Half = .+' of package gas-families must have all methods .+ log_prob\. Update"),
        ("Absent", r"'Absent = .+' of package gas-families must be importable, got AttributeError"),
        (
            "Broken",
            r"'Broken = .+' of package broken-families must be importable, got ZeroDivision",
        ),
        (
            "Poisson",
            r"'Poisson' must be the name of one family, got one of each of latentem, gas-f",
        ),
        ("Maxwell2", r"'Maxwell2' must be .+ one family, got .+ more-families, rival-families"),
    ],
)
def test_one_that_does_not_load_is_named_with_its_package(name: str, words: str) -> None:
    found = lem.families()
    assert name in found
    assert found["Normal"] is lem.Normal  # the others are none the worse for it
    with pytest.raises(lem.ModelError, match=words):
        found[name]


def test_a_name_that_nobody_has() -> None:
    assert lem.families().get("Nobody") is None
    with pytest.raises(KeyError, match=r"got 'Gausian'\. Did you mean 'Gaussian'"):
        lem.families()["Gausian"]
