"""Who may import whom: what makes the engine generic."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import latentem as lem
from latentem import distributions

PACKAGE = Path(lem.__file__).parent
FILES = sorted(path for path in PACKAGE.rglob("*.py"))
ENGINE = [path for path in FILES if path.relative_to(PACKAGE).parts[0] in ("em", "inference")]
ENGINE += [
    PACKAGE / "graph.py",
    PACKAGE / "columns.py",
    PACKAGE / "data.py",
    PACKAGE / "repeats.py",
    PACKAGE / "parallel.py",
]

CONTRACT_MODULES = {"arrays", "base", "records", "kernels"}
CONTRACT = {"Distribution", "ExponentialFamily"}
FAMILIES = {
    name
    for name, value in vars(distributions).items()
    if inspect.isclass(value) and issubclass(value, lem.Distribution) and name not in CONTRACT
} | {"fixed"}
OPTIONAL = {
    "pandas", "polars", "matplotlib", "rich", "typer", "click", "sklearn", "PIL", "dask", "numba",
    "threadpoolctl", "pytest", "hypothesis", "joblib", "tqdm",
}  # fmt: skip
PUBLIC = """
    latent observed covariate Model Node Distribution ExponentialFamily parameter Categorical
    Bernoulli Poisson Exponential Gamma InverseGaussian LogNormal Rayleigh Weibull Pareto Beta
    Uniform Dirichlet Normal Gaussian PointMass Switch fixed Prototype Choice dissimilarity
    e_step m_step expected_log_joint log_likelihood log_joint initialize iterate fit sample
    cost soft hard tempered stochastic init Posterior Fit Trace Step Status models testing
    align permute_states Alignment compare Comparison select Selection
    squarem anderson datasets errors LatentemError ModelError DataError DegenerateError
    ObjectiveDecreasedError
    TooLargeError MissingExtraError ConvergenceWarning DegenerateWarning plot Array
"""


def _label(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def _imports(path: Path, *, top_level: bool = False) -> Iterator[tuple[str, set[str]]]:
    """Every import of a file: the module, and the names taken from it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    lazy = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if top_level and (id(node) in lazy or id(node) in typing_only):
            continue
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, set()
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{_label(path)}: relative import"
            yield node.module or "", {alias.name for alias in node.names}


def _modules(path: Path) -> set[str]:
    found = set()
    for module, names in _imports(path):
        found |= {module, *(f"{module}.{name}" for name in names)}
    return found


def test_there_is_something_to_check() -> None:
    assert {"graph.py", "data.py"} <= {_label(path) for path in ENGINE}
    assert len([path for path in ENGINE if "em" in _label(path)]) >= 3
    assert {"Gaussian", "Categorical", "Poisson", "Switch", "Prototype", "fixed"} <= FAMILIES


@pytest.mark.parametrize("path", ENGINE, ids=_label)
def test_the_engine_knows_no_family_by_name(path: Path) -> None:
    for module, names in _imports(path):
        if module.startswith("latentem"):
            assert not names & FAMILIES, f"{_label(path)} imports {names & FAMILIES}"
            last = module.split(".")[-1]
            if module.startswith("latentem.distributions."):
                assert last in CONTRACT_MODULES, f"{_label(path)} imports {module}"
            assert not any((PACKAGE / "distributions" / f"{name}.py").exists() for name in names)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    # (narwhals, imported as nw, has a type of columns of the same name)
    attributes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    used |= {node.attr for node in attributes if ast.unparse(node.value) != "nw"}
    assert not used & (FAMILIES - {"fixed"}), f"{_label(path)} uses {used & FAMILIES}"


@pytest.mark.parametrize("path", FILES, ids=_label)
def test_only_the_graph_and_inference_import_networkx(path: Path) -> None:
    allowed = _label(path) == "graph.py" or path.parent.name == "inference"
    uses = any(module.split(".")[0] == "networkx" for module in _modules(path))
    assert allowed or not uses


BELOW = {
    "errors": set(),
    "kernels": set(),
    "seeds": {"errors"},
    "distributions": {"errors", "kernels"},
    "parallel": {"errors"},
    "graph": {"errors", "distributions"},
    "columns": {"errors", "distributions", "graph"},
    "data": {"errors", "distributions", "graph", "columns", "kernels"},
    "repeats": {"errors", "distributions", "data"},
    "inference": {"errors", "distributions", "graph", "data", "parallel", "seeds", "kernels"},
    "em": {"errors", "distributions", "graph", "columns", "data", "repeats", "parallel", "seeds"}
    | {"inference", "kernels"},
    "models": {"errors", "distributions", "graph"},
}


def _floor(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


# What people look at and hold, above these floors, may import everything.
@pytest.mark.parametrize("path", [path for path in FILES if _floor(path) in BELOW], ids=_label)
def test_imports_run_downward(path: Path) -> None:
    allowed = BELOW[_floor(path)] | {_floor(path)}
    if _label(path) == "em/result.py":
        allowed |= {"summary", "tables"}  # a Fit shows itself: imported when asked for
    for module, _ in _imports(path):
        parts = module.split(".")
        if parts[0] == "latentem" and len(parts) > 1:
            assert parts[1] in allowed, f"{_label(path)} imports {module}"
    for module, names in _imports(path):
        if module == "latentem":
            assert names <= allowed, f"{_label(path)} imports {names - allowed} from the top"
    upward = {module for module, _ in _imports(path, top_level=True)}
    assert not {"latentem.summary", "latentem.tables"} & upward


# The command line is behind its own extra; the compiled loops are imported where they are called.
BEHIND_AN_EXTRA = (
    "cli.py",
    "_commands.py",
    "kernels/blocks.py",
    "kernels/vectors.py",
    "kernels/loops.py",
    "kernels/columns_loops.py",
    "kernels/expected_loops.py",
    "kernels/gapped_loops.py",
    "kernels/moments_loops.py",
    "kernels/nearest_blocks.py",
    "kernels/nearest_loops.py",
    "kernels/seeding_loops.py",
    "kernels/steps_loops.py",
    "kernels/whitened_loops.py",
)


@pytest.mark.parametrize(
    "path", [path for path in FILES if _label(path) not in BEHIND_AN_EXTRA], ids=_label
)
def test_optional_packages_are_imported_where_used(path: Path) -> None:
    for module, _ in _imports(path, top_level=True):
        assert module.split(".")[0] not in OPTIONAL, f"{_label(path)} imports {module} at the top"


def test_importing_the_package_imports_nothing_optional() -> None:
    code = "import sys, latentem; print(*(name for name in sys.modules if '.' not in name))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=PACKAGE.parent, check=True
    )
    loaded = set(result.stdout.split())
    assert {"latentem", "numpy", "networkx"} <= loaded
    assert not loaded & OPTIONAL


@pytest.mark.parametrize("path", FILES, ids=_label)
def test_no_bare_except_and_no_assert_for_users(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"{_label(path)}:{node.lineno}"
        if isinstance(node, ast.Raise) and node.exc is not None:
            name = ast.unparse(node.exc).split("(")[0]
            assert name != "Exception", f"{_label(path)}:{node.lineno}"


def test_public_names_exist() -> None:
    missing = [name for name in PUBLIC.split() if not hasattr(lem, name)]
    assert not missing
    assert set(lem.__all__) <= set(dir(lem))
    for name in ("random", "plus_plus", "from_labels", "from_posterior"):
        assert callable(getattr(lem.init, name))


def test_errors_are_children_of_what_callers_expect() -> None:
    for error, builtin in (
        (lem.ModelError, ValueError),
        (lem.DataError, ValueError),
        (lem.TooLargeError, ValueError),
        (lem.DegenerateError, ArithmeticError),
        (lem.ObjectiveDecreasedError, RuntimeError),
        (lem.MissingExtraError, ImportError),
    ):
        assert issubclass(error, builtin)
        assert issubclass(error, lem.LatentemError)
        assert error("text", node="x", iteration=3).node == "x"
    for warning in (lem.ConvergenceWarning, lem.DegenerateWarning):
        assert issubclass(warning, UserWarning)
