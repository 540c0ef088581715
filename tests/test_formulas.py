"""The formulas that families carry, evaluated against the numbers of their code."""

from __future__ import annotations

import pydoc
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import attrs
import numpy as np
import pytest
from latex import Scope, definition, read, statements
from registry import FAMILIES, Family
from scipy import integrate, stats

import latentem as lem
from latentem.distributions.base import Inputs
from latentem.distributions.formulas import AND, Formulas
from latentem.distributions.structure_formulas import SHARED
from latentem.kernels.expected import statistics_of

Array = lem.Array

# At these, a formula as it is written loses the digits that the code keeps.
LOSES_DIGITS = {"gamma-of-large-shape", "normal-far-away"}


def _more_families() -> list[Family]:
    rng = np.random.default_rng(11)
    u = rng.normal(size=(30, 2))
    column = np.column_stack
    predictor = 0.5 + u @ [0.4, -0.7]
    noise = rng.normal(size=(30, 2))
    counts = rng.poisson(np.exp(predictor))
    mixing = np.array([[1.0, 0.3], [-0.5, 2.0]])
    heavy = rng.standard_t(3.0, size=(60, 2))
    three = rng.normal(size=(60, 3)) @ [[2.0, 0.5, 0.0], [0.0, 0.6, 1.0], [0.3, 0.0, 1.0]]
    in_space = three + np.array([1.0, 1.5, 0.0])
    in_space /= np.linalg.norm(in_space, axis=1, keepdims=True)
    trials = lem.Binomial("n").with_inputs(Inputs(("n",), (1,)))

    def with_offset(dist: lem.Distribution, *widths: int) -> lem.Distribution:
        return dist.with_inputs(Inputs(("u", "o", "n")[: 1 + len(widths)], (2, *widths)))

    return [
        Family("linear-gaussian", lem.LinearGaussian(), column([u, predictor + noise[:, 0]])),
        Family(
            "poisson-regression",
            lem.PoissonRegression(),
            column([u, rng.poisson(np.exp(predictor))]),
        ),
        Family(
            "logistic", lem.Logistic(), column([u, rng.random(30) < 1 / (1 + np.exp(-predictor))])
        ),
        Family(
            "logistic-of-trials", lem.Logistic(trials=5), column([u, rng.binomial(5, 0.4, size=30)])
        ),
        Family(
            "gamma-regression",
            lem.GammaRegression(),
            column([u, rng.gamma(2.0, np.exp(predictor))]),
        ),
        Family("softmax", lem.Softmax(3), column([u, rng.integers(0, 3, size=30)])),
        Family(
            "poisson-regression-with-offset",
            with_offset(lem.PoissonRegression(offset="o"), 1),
            column([u, noise[:, 0], counts]),
        ),
        Family(
            "logistic-with-offset-and-trials",
            with_offset(lem.Logistic(offset="o", trials="n"), 1, 1),
            column([u, noise[:, 0], counts + 2, counts]),
        ),
        Family(
            "gamma-regression-with-offset",
            with_offset(lem.GammaRegression(offset="o"), 1),
            column([u, noise[:, 0], rng.gamma(2.0, np.exp(predictor))]),
        ),
        Family(
            "softmax-with-offset",
            with_offset(lem.Softmax(3, offset="o"), 3),
            column([u, rng.normal(size=(30, 3)), rng.integers(0, 3, size=30)]),
        ),
        Family("binomial-of-given-trials", trials, column([counts + 2, counts])),
        Family("normal-of-known-mean", lem.Normal(mean=0.3), noise[:, 0]),
        Family("normal-of-known-variance", lem.Normal(variance=2.0), noise[:, 0]),
        Family("gaussian-of-known-mean", lem.Gaussian(mean=[0.3, 0.1]), noise),
        Family("gaussian-of-known-covariance", lem.Gaussian(covariance=np.eye(2)), noise),
        Family("discrete-uniform-above-zero", lem.DiscreteUniform(), counts + 2),
        Family(
            "von-mises-fisher-in-space",
            lem.VonMisesFisher(),
            in_space,
        ),
        Family("gamma-of-known-rate", lem.Gamma(rate=2.0), np.exp(noise[:, 0])),
        Family("gamma-of-known-shape", lem.Gamma(shape=2.0), np.exp(noise[:, 0])),
        *(
            Family(f"{type(dist).__name__}-of-known-{dist.held[0]}", dist, value)
            for value, dists in (
                (np.exp(noise[:, 0]), [lem.Weibull(shape=1.5), lem.Weibull(scale=0.7)]),
                (
                    np.exp(noise[:, 0]),
                    [lem.InverseGaussian(mean=1.3), lem.InverseGaussian(shape=2)],
                ),
                (1 / (1 + np.exp(noise[:, 0])), [lem.Beta(a=1.5), lem.Beta(b=0.6)]),
                (noise[:, 0], [lem.Laplace(location=0.2), lem.Laplace(scale=1.3)]),
                (noise[:, 0], [lem.VonMises(mean=0.2), lem.VonMises(concentration=1.3)]),
                (noise[:, 0], [lem.Uniform(low=-9.0), lem.Uniform(high=9.0)]),
                (in_space, [lem.VonMisesFisher(mean=[0.6, 0.8, 0.0])]),
                (in_space, [lem.VonMisesFisher(concentration=1.3)]),
                (counts**2, [lem.NegativeBinomial(mean=3.0), lem.NegativeBinomial(size=1.3)]),
                (counts, [lem.DiscreteUniform(low=-1), lem.DiscreteUniform(high=99)]),
                (heavy, [lem.StudentT(mean=[0.2, 0.1]), lem.StudentT(df=3, scale=np.eye(2))]),
            )
            for dist in dists
        ),
        Family("poisson-with-prior", lem.Poisson(prior=lem.Gamma(2.0, 3.0)), counts),
        *(
            Family(
                f"linear-gaussian-{noise_}{'-shared' * shared}",
                with_offset(lem.LinearGaussian(noise=noise_, shared=shared, offset="o"), 2),
                column([u, 3 * noise, u @ mixing + rng.normal(size=(30, 2))]),
            )
            for noise_ in ("full", "diagonal", "spherical")
            for shared in (False, True)
        ),
        Family("student-t-diagonal", lem.StudentT(scale="diagonal"), heavy),
        Family("student-t-of-one-df", lem.StudentT(shared_df=True), heavy),
        Family("student-t-shared", lem.StudentT(scale="EEE"), heavy),
        *(
            Family(f"student-t-{letters}", lem.StudentT(df=4.0, scale=letters), heavy)
            for letters in ("VEI", "EVE", "VEV")
        ),
        *(
            Family(f"gaussian-{letters}-of-three-columns", lem.Gaussian(covariance=letters), three)
            for letters in SHARED
        ),
    ]


def _as_rows(case: Family) -> Family:
    """The values as the engine hands them to the family."""
    if isinstance(case.dist, lem.StudentT) and case.value.ndim == 1:
        return replace(case, value=case.value[:, None])
    return case


STATED = [case for case in [*FAMILIES, *_more_families()] if case.dist.own_formulas is not None]
# Those that are made of others, and those whose formulas lose digits that the code keeps, are out.
CASES = [
    _as_rows(case)
    for case in STATED
    if case.dist.own_formulas.symbols and case.name not in LOSES_DIGITS
]


def weights_of(n: int) -> Array:
    """Of two states, and uneven."""
    return np.random.default_rng(5).gamma(0.7, size=(n, 2))


FITTED: dict[str, lem.Distribution] = {}


def fitted(case: Family) -> lem.Distribution:
    if case.dist.is_parameterised:
        return case.dist
    if case.name not in FITTED:
        FITTED[case.name] = case.dist.fit(case.value, weights_of(len(case.value)))
    return FITTED[case.name]


def scope(dist: lem.Distribution, value: Array, weights: Array) -> Scope:
    """What the symbols of the formulas of a distribution stand for."""
    formulas = dist.own_formulas
    if isinstance(dist, lem.StudentT) and value.ndim == 1:
        value = value[:, None]
    rows: dict[str, Array] = {"r": weights, "x": value}
    if isinstance(getattr(dist, "n", None), str):
        rows |= {"n": value[:, 0], "x": value[:, 1]}
    elif dist.takes_covariates:
        named = {"offset": "o", "trials": "n"}
        y = value[:, 2 if dist.inputs is None else dist.inputs.width :]
        rows = {"r": weights, "u": value[:, :2], "y": y, "z": y[:, 0]}
        rows |= {named[option]: value[:, place] for option, place in dist.named_columns.items()}
    parameters: dict[str, Array] = {}
    event = rows["y"] if "y" in rows else rows["x"]
    d = dist.n_states or (event.shape[1] if event.ndim == 2 else 1)
    constants = {"o": 0.0, "d": d, "m": d, "I": np.eye(d)}
    for symbol, name in formulas.symbols.items():
        if symbol in rows:
            continue
        number = np.asarray(getattr(dist, name), dtype=float)
        root = np.sqrt(number) if symbol.endswith("^2") else number
        if symbol == "B" and number.ndim == 2:
            root = number[:, None, :]  # of a scalar: a row
        where = parameters if number.ndim else constants
        where[symbol.removesuffix("^2")] = root
    form = getattr(dist, "form", None)
    if form is not None and not form.is_linear:
        parameters |= factors(parameters[r"\Sigma"], form.letters)
    definitions = {}
    for text in statements(formulas.log_density)[1:] + statements(formulas.update):
        defined = definition(text)
        if defined is not None and defined[0] not in parameters:
            _, body = text.split(" = ", 1)
            (side,), _ = read(body)
            definitions[defined[0]] = (defined[1], side)
    sizes = {"i": len(value), "k": weights.shape[1], "j": d, "l": d}
    return Scope(rows, parameters, sizes, constants, definitions)


def factors(covariance: Array, letters: str) -> dict[str, Array]:
    r"""The volume, shape and orientation of matrices, and all but the volume: what is shared."""
    volume = np.linalg.det(covariance) ** (1 / covariance.shape[-1])
    unit = covariance / volume[:, None, None]
    orientation = np.broadcast_to(np.eye(covariance.shape[-1]), covariance.shape)
    if letters[2] == "V":
        orientation = np.linalg.eigh(unit)[1][:, :, ::-1]
    elif letters[2] == "E":  # of any mean of theirs: what is no axis of all would show
        orientation = np.broadcast_to(
            np.linalg.eigh(np.average(unit, axis=0, weights=1 + np.arange(len(unit))))[1],
            covariance.shape,
        )
    shape = np.swapaxes(orientation, 1, 2) @ unit @ orientation
    return {r"\lambda": volume, "A": shape, "D": orientation, "C": unit}


def check_log_density(dist: lem.Distribution, value: Array) -> None:
    """The log-density is that of the code, at every row and state, and the values are in it."""
    expected = dist.log_prob(value)
    if expected.ndim == 1:
        expected = expected[:, None]
    symbols = scope(dist, value, np.ones(expected.shape))
    formula, *rest = statements(dist.own_formulas.log_density)
    left, right = formula.split(" = ", 1)
    assert left.startswith(r"\log p(")
    (side,), _ = read(right)
    with np.errstate(divide="ignore"):
        density = [[side(at) for at in row.over("k")] for row in symbols.over("i")]
    np.testing.assert_allclose(density, expected, rtol=1e-9, atol=1e-9)
    for text in rest:
        sides, relations = read(text)
        if r"\le" in relations or r"\ge" in relations:
            inside = np.isfinite(expected)
            for at in symbols.over("ik"):
                numbers = [each(at) for each in sides]
                pairs = zip(numbers, numbers[1:], relations, strict=False)
                holds = all(a <= b if relation == r"\le" else a >= b for a, b, relation in pairs)
                assert holds == inside[at.index["i"], at.index["k"]]


def check_statistics(dist: lem.ExponentialFamily, value: Array) -> None:
    """Those stated and those of the code are affine functions of each other.

    Expected ones in a state: the family may take them in units of its parameters.
    """
    _, right = dist.own_formulas.statistics.split(" = ", 1)
    (side,), _ = read(right)
    symbols = scope(dist, value, np.ones((len(value), 1)))
    entries = "j" if re.search("[Tx]_j", dist.own_formulas.statistics) else ""
    stated = np.array(
        [
            np.concatenate([flat(side(at)) for at in row.at(k=0).over(entries)])
            for row in symbols.over("i")
        ]
    )
    if isinstance(dist, lem.AuxiliaryFamily):
        code = dist.expected_statistics(value)[0][:, 0]
    else:
        code = dist.statistics(value)
        if dist.pairs is not None:
            factors = np.ones((dist.pairs.max() + 1, len(value)))
            dist.factors_into(factors[1:], value)
            np.testing.assert_allclose(statistics_of(factors, dist.pairs).T, code, rtol=1e-14)
    for a, b in ((stated, code), (code, stated)):
        a = np.column_stack([np.ones(len(a)), a])
        _, _, rank, _ = np.linalg.lstsq(a, b, rcond=1e-10)
        assert rank < len(a), "more rows must be given than there are statistics"
        residual = b - a @ np.linalg.lstsq(a, b, rcond=1e-10)[0]
        assert np.abs(residual).max() <= 1e-7 * (1 + np.abs(b).max())


def flat(value: Any) -> Array:
    parts = value if isinstance(value, list) else [value]
    return np.concatenate([np.ravel(part) for part in parts])


def check_update(dist: lem.Distribution, value: Array, weights: Array, rtol: float = 1e-8) -> None:
    """Every equation of the update holds in every state of a fit to these weights."""
    symbols = scope(dist, value, weights)
    for text, at in instances(dist.own_formulas.update, symbols):
        (left, right), relations = read(text)
        assert relations == ["="]
        size = weights.sum() if text.endswith("= 0") else 1.0
        np.testing.assert_allclose(left(at), right(at), rtol=rtol, atol=rtol * size, err_msg=text)


def instances(update: str, symbols: Scope) -> Iterator[tuple[str, Scope]]:
    """Every equation that is no definition, for every state and, where it has one, entry."""
    for text in statements(update):
        defined = definition(text)
        if defined is None or defined[0] not in symbols.definitions:
            entries = "j" if re.search(r"_\{?k?j|_j| = j", text) else ""
            for at in symbols.over("k" + entries):
                yield text, at


@pytest.mark.parametrize("case", CASES, ids=str)
def test_log_density_is_the_one_stated(case: Family) -> None:
    check_log_density(fitted(case), case.value[:5])


STATISTICS = [case for case in CASES if case.dist.own_formulas.statistics]


@pytest.mark.parametrize("case", STATISTICS, ids=str)
def test_statistics_are_those_stated(case: Family) -> None:
    check_statistics(fitted(case), case.value)


def student_and_its_gamma(dist: lem.StudentT, x: float, u: float) -> tuple[float, Array]:
    """The density of x and u, and what is expected of both."""
    (df,), ((mean,),), (((scale,),),) = dist.parameters.values()
    density = stats.norm.pdf(x, mean, np.sqrt(scale / u)) * stats.gamma.pdf(u, df / 2, scale=2 / df)
    return density, np.array([u, u * x, u * x**2, np.log(u)])


AUXILIARY = [(lem.StudentT(2.5, mean=[0.5], scale=[[2.0]]).flatten(()), student_and_its_gamma)]


@pytest.mark.parametrize("x", [-4.0, 0.1, 9.0])
@pytest.mark.parametrize(("dist", "joint"), AUXILIARY, ids=["student-t"])
def test_expected_statistics_are_means_given_x(dist: Any, joint: Any, x: float) -> None:
    total, _ = integrate.quad(lambda u: joint(dist, x, u)[0], 0, np.inf)
    expected = integrate.quad_vec(lambda u: np.multiply(*joint(dist, x, u)), 0, np.inf)[0] / total

    def stated(formulas: Formulas) -> Array:
        (side,), _ = read(formulas.statistics.split(" = ", 1)[1])
        claim = Claim(dist, formulas)
        with np.errstate(invalid="ignore"):
            return flat(side(scope(claim, np.array([[x]]), np.ones((1, 1))).at(i=0, k=0)))

    own = dist.own_formulas
    np.testing.assert_allclose(stated(own), expected, rtol=1e-7)
    for wrong in flips(own.statistics):
        assert not np.allclose(stated(attrs.evolve(own, statistics=wrong)), expected, rtol=1e-3)
    definitions, equations = own.update.split(r"\hat", 1)
    for wrong in flips(definitions):
        other = attrs.evolve(own, update=rf"{wrong}\hat{equations}")
        assert not np.allclose(stated(other), expected, rtol=1e-3)


UPDATED = [
    case for case in CASES if case.dist.own_formulas.update and not case.dist.is_parameterised
]


@pytest.mark.parametrize("case", UPDATED, ids=str)
def test_fit_is_the_update_stated(case: Family) -> None:
    check_update(fitted(case), case.value, weights_of(len(case.value)))


@pytest.mark.parametrize("case", STATED, ids=str)
def test_notebooks_show_the_formulas_and_the_parameters(case: Family) -> None:
    dist = fitted(_as_rows(case)) if case.fits_alone else case.dist
    shown = dist._repr_latex_()
    assert re.fullmatch(r"\$\$.*\$\$", shown)
    assert dist.own_formulas.log_density in shown
    update = dist.own_formulas.update
    assert not update or all(rf"\\ {line} " in shown for line in update.split(AND))
    for symbol, name in dist.own_formulas.symbols.items():
        if isinstance(getattr(dist, name), np.ndarray):
            assert re.search(rf"{re.escape(symbol)} (=|\\in) ", shown)


def test_notebooks_show_numbers() -> None:
    shown = lem.Normal(mean=[0.5, -2.0], variance=[1e-7, 1234567.0])._repr_latex_()
    assert r"\mu = (0.5,\; -2)" in shown
    assert r"\sigma^2 = (1 \times 10^{-7},\; 1.235 \times 10^{6})" in shown
    shown = lem.Gaussian(mean=[1.0, 2.0], covariance=np.eye(2))._repr_latex_()
    assert r"\Sigma = \begin{pmatrix} 1 & 0 \\ 0 & 1 \end{pmatrix}" in shown
    shown = lem.Gaussian(mean=np.zeros((3, 20)), covariance=[np.eye(20)] * 3)._repr_latex_()
    assert r"\Sigma \in \mathbb{R}^{3 \times 20 \times 20}" in shown


class Shifted(lem.Normal):
    """A subclass with a density of its own."""


def test_formulas_are_not_inherited() -> None:
    for case in FAMILIES:
        if not type(case.dist).__module__.startswith("latentem"):
            assert case.dist._repr_latex_() is None
    assert Shifted.formulas is None
    assert lem.Independent(Shifted())._repr_latex_() is None
    assert lem.Switch([lem.Normal(), Shifted()])._repr_latex_() is None


COMPOSED = {lem.Independent, lem.Product, lem.Switch, lem.distributions.Fixed, lem.Prototype}
FAMILY_CLASSES = {
    each
    for each in vars(lem.distributions).values()
    if isinstance(each, type) and issubclass(each, lem.Distribution)
} - {lem.Distribution, lem.ExponentialFamily, lem.AuxiliaryFamily, lem.Choice}
PRIORS = {lem.NormalInverseGamma, lem.NormalInverseWishart}


def test_every_family_states_its_formulas_and_is_evaluated() -> None:
    silent = {each for each in FAMILY_CLASSES if each.formulas is None}
    assert silent - PRIORS == COMPOSED
    assert FAMILY_CLASSES - silent <= {type(case.dist) for case in CASES}


@pytest.mark.parametrize(
    "family",
    sorted(FAMILY_CLASSES - COMPOSED - PRIORS, key=lambda f: f.__name__),
    ids=lambda f: f.__name__,
)
def test_docstrings_show_the_formulas(family: type[lem.Distribution]) -> None:
    formulas, text = family.formulas, pydoc.getdoc(family)
    assert formulas.log_density in text
    assert formulas.update in text
    assert not re.search(r"\{(log_density|statistics|update)\}", text)
    directives = re.findall(r"\.\. math:: (.*)", text)
    assert directives[0].startswith(formulas.log_density)


# These hold others, whose sources are their own.
HOLDERS = {lem.Switch, lem.distributions.Fixed}


@pytest.mark.parametrize(
    "family", sorted(FAMILY_CLASSES - HOLDERS, key=lambda f: f.__name__), ids=lambda f: f.__name__
)
def test_docstrings_name_a_source(family: type[lem.Distribution]) -> None:
    assert re.search(r"\b(19|20)\d\d\b", pydoc.getdoc(family))


# -- what is made of others ------------------------------------------------------------------------


def rights(dist: lem.Distribution) -> list[str]:
    """The right sides of the log-densities that are stated."""
    texts = statements(dist.own_formulas.log_density)
    return [text.split(" = ", 1)[1] for text in texts if text.startswith(r"\log p")]


def test_a_product_states_its_components() -> None:
    product = lem.Product([lem.Normal(mean=1.0, variance=2.0), lem.Poisson(rate=3.0)])
    total, normal, poisson = rights(product)
    assert total == r"\log p_1(x_1 \mid k) + \log p_2(x_2 \mid k)"
    assert [[normal], [poisson]] == [rights(each) for each in product.components]
    assert r"p_1: \quad \mu = 1" in product._repr_latex_()
    assert r"p_2: \quad \lambda = 3" in product._repr_latex_()


def test_independent_columns_state_the_one_family() -> None:
    columns = lem.Independent(lem.Exponential(rate=[1.0, 2.0]))
    total, one = rights(columns)
    assert total == r"\sum_{j=1}^m \log p(x_j \mid \theta_{kj})"
    assert [one] == rights(lem.Exponential())
    assert r"\lambda = (1,\; 2)" in columns._repr_latex_()


def test_a_switch_states_its_cases() -> None:
    switch = lem.Switch([lem.PointMass(0), lem.Poisson(rate=3.0)])
    assert rights(switch)[1:] == [*rights(lem.PointMass(0)), *rights(lem.Poisson())]
    assert r"p_1: \quad \lambda = 3" in switch._repr_latex_()


def test_fixed_parameters_have_no_update() -> None:
    fixed = lem.fixed(lem.Poisson(rate=3.0))
    assert fixed.own_formulas.log_density == lem.Poisson.formulas.log_density
    assert fixed.own_formulas.update == ""
    assert r"\lambda = 3" in fixed._repr_latex_()


def test_a_prior_takes_the_update_away() -> None:
    assert lem.Poisson(prior=lem.Gamma(2.0, 3.0)).own_formulas.update == ""
    diagonal = lem.Gaussian(prior=lem.NormalInverseWishart([0.0], 1.0, 3.0, [[1.0]]))
    assert diagonal.own_formulas.update == ""


@pytest.mark.parametrize("letters", SHARED)
def test_what_is_held_has_no_estimate_that_shares(letters: str) -> None:
    held = lem.Gaussian(covariance=np.eye(2), structure=letters)
    assert held.own_formulas.update == r"\hat\mu_k = \overline{x}"


# -- the check itself ------------------------------------------------------------------------------


@attrs.frozen
class Claim:
    """A distribution that states something else, or has other parameters."""

    dist: lem.Distribution
    own_formulas: Any
    parameters: dict[str, Array] = attrs.field(factory=dict)

    def __getattr__(self, name: str) -> Any:
        return self.parameters[name] if name in self.parameters else getattr(self.dist, name)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_log_density_of_the_wrong_sign_is_noticed(case: Family) -> None:
    formulas = fitted(case).own_formulas
    first, *rest = statements(formulas.log_density)
    left, right = first.split(" = ", 1)
    turned = [rf"{left} = -\left( {right} \right)", *rest]
    claim = Claim(fitted(case), attrs.evolve(formulas, log_density=AND.join(turned)))
    with pytest.raises(AssertionError):
        check_log_density(claim, case.value[:5])


def flips(text: str) -> Iterator[str]:
    """The text with one sign turned; both of a product of deviations, or its mean stays."""
    deviation = r"\([^()]* - [^()]*\)"
    product = re.compile(rf"{deviation} {deviation}\^\\top")
    for match in re.finditer(rf"{product.pattern}|[+-]", text):
        turned = match.group().translate(str.maketrans("+-", "-+"))
        yield text[: match.start()] + turned + text[match.end() :]


def by_text(cases: list[Family], name: str) -> list[Any]:
    """Families with the values that their formulas are evaluated at, for each formula once."""
    texts: dict[str, list[Family]] = {}
    for case in cases:
        texts.setdefault(getattr(fitted(case).own_formulas, name), []).append(case)
    return [pytest.param(group, id=group[0].name) for group in texts.values()]


def holds(case: Family, name: str, text: str) -> bool:
    dist = fitted(case)
    claim = Claim(dist, attrs.evolve(dist.own_formulas, **{name: text}))
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            if name == "update":
                check_update(claim, case.value, weights_of(len(case.value)))
            else:
                check_log_density(claim, case.value[:5])
    except AssertionError:
        return False
    return True


# Where nothing but means of t distributions is free, a factor of all weights u cancels.
SIGNED = [case for case in UPDATED if case.name != "StudentT-of-known-scale"]


@pytest.mark.parametrize("group", by_text(SIGNED, "update"))
def test_every_turned_sign_in_an_update_is_noticed(group: list[Family]) -> None:
    for wrong in flips(fitted(group[0]).own_formulas.update):
        assert not all(holds(case, "update", wrong) for case in group), wrong


@pytest.mark.parametrize("group", by_text(CASES, "log_density"))
def test_every_turned_sign_in_a_log_density_is_noticed(group: list[Family]) -> None:
    for wrong in flips(fitted(group[0]).own_formulas.log_density):
        assert not all(holds(case, "log_density", wrong) for case in group), wrong


@pytest.mark.parametrize("case", UPDATED, ids=str)
def test_the_update_stated_determines_every_parameter_it_is_for(case: Family) -> None:
    dist = fitted(case)
    weights = weights_of(len(case.value))
    for symbol, name in dist.own_formulas.symbols.items():
        letter = re.escape(symbol.removesuffix("^2"))
        if re.search(rf"\\hat *{letter}_", dist.own_formulas.update) and name not in dist.held:
            elsewhere = Claim(dist, dist.own_formulas, {name: 1.001 * getattr(dist, name) + 1e-3})
            with pytest.raises(AssertionError):
                check_update(elsewhere, case.value, weights)


@pytest.mark.parametrize(
    ("family", "name", "old", "new"),
    [
        (lem.Normal, "statistics", "x^2", "x^3"),
        (lem.Gamma, "statistics", r"\log x", r"\cos x"),
        (lem.Beta, "log_density", "- 1", "+ 1"),
        (lem.Gaussian, "log_density", r"- \mu_k", r"+ \mu_k"),
        (lem.StudentT, "log_density", r"1 + \frac", r"2 + \frac"),
        (lem.LinearGaussian, "log_density", r"- B_k u", r"+ B_k u"),
        (lem.Softmax, "log_density", r"+ B_{kj} u", r"- B_{kj} u"),
        (lem.InverseGaussian, "update", r"} - 1", r"} + 1"),
        (lem.VonMises, "update", r"x - \hat", r"x + \hat"),
        (lem.NegativeBinomial, "update", r"1 + \hat", r"2 + \hat"),
        (lem.Poisson, "update", "x_i", "x_i^2"),
        (lem.Poisson, "log_density", "x!", "x"),
        (lem.Laplace, "update", "median", "mode"),
        (lem.Uniform, "update", r"\min", r"\max"),
        (lem.Uniform, "log_density", r"l_k \le x", r"h_k \le x"),
    ],
)
def test_a_wrong_formula_is_noticed(
    family: type[lem.Distribution], name: str, old: str, new: str
) -> None:
    case = next(each for each in CASES if type(each.dist) is family)
    dist = fitted(case)
    formulas = dist.own_formulas
    text = getattr(formulas, name)
    assert old in text
    claim = Claim(dist, attrs.evolve(formulas, **{name: text.replace(old, new)}))
    weights = weights_of(len(case.value))
    check: dict[str, Callable[[], None]] = {
        "log_density": lambda: check_log_density(claim, case.value),
        "statistics": lambda: check_statistics(claim, case.value),
        "update": lambda: check_update(claim, case.value, weights),
    }
    with pytest.raises(AssertionError):
        check[name]()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"\log 2 \pi x^2", np.log(2 * np.pi * 9)),
        (r"\log (x) x", np.log(3) * 3),
        (r"x / 2 x - 1", 3 / 6 - 1),
        (r"-|1 - x| x!", -12.0),
        (r"\tfrac12 x + \frac x4 + \frac{x + 1}{2}", 1.5 + 0.75 + 2.0),
        (r"\sum_i x_i / \sum_i 1 + x", 2.0 + 3.0),
        (r"\overline{x^2} - \overline{x}^2", 1.0),
        (r"\max_{i : x_i > 0} x_i [x = 3]", 3.0),
        (r"e^{-x} \binom{4}{x}", 4 * np.exp(-3)),
    ],
)
def test_latex_is_read_as_a_textbook_means_it(text: str, expected: float) -> None:
    rows = {"x": np.array([1.0, 3.0]), "r": np.ones((2, 1))}
    (side,), _ = read(text)
    assert side(Scope(rows, {}, {"i": 2, "k": 1}).at(i=1, k=0)) == pytest.approx(expected)


@pytest.mark.parametrize("text", ["x )", "(x", r"\frac{x}", "x +", "[x = 1"])
def test_what_is_no_formula_is_refused(text: str) -> None:
    with pytest.raises(SyntaxError):
        read(text)


@attrs.frozen(eq=False)
class HalfNormal(lem.Distribution):
    r"""A plug-in that states its formulas.

    .. math:: {log_density}

    It is fitted by :math:`{update}`.
    """

    formulas = Formulas(
        log_density=(
            r"\log p(x \mid k) = \tfrac12 \log \frac{2}{\pi \sigma_k^2} - x^2 / 2 \sigma_k^2"
        ),
        update=r"\hat\sigma_k^2 = \overline{x^2}",
        symbols={r"\sigma": "scale"},
    )

    scale: Array | None = None  # (*parents,)

    def log_prob(self, value: Array) -> Array:
        x = value[:, None]
        return 0.5 * np.log(2 / (np.pi * self.scale**2)) - x**2 / (2 * self.scale**2)

    def fit(self, value: Array, weights: Array) -> HalfNormal:
        return HalfNormal(np.sqrt(weights.T @ value**2 / weights.sum(axis=0)))


def test_a_plug_in_may_state_its_formulas() -> None:
    value = np.array([0.5, 1.0, 2.0])
    dist = HalfNormal().fit(value, weights_of(3))
    check_log_density(dist, value)
    check_update(dist, value, weights_of(3))
    assert HalfNormal.formulas.update in dist._repr_latex_()
    assert r"fitted by :math:`\hat\sigma_k^2 = \overline{x^2}`" in pydoc.getdoc(HalfNormal)
