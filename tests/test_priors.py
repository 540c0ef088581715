"""Priors: the estimate is the mode of the posterior, and its log-density is a term of F."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pytest
from direct import Theta, maximum, pack, unpack
from scipy import special, stats

import latentem as lem
from latentem.em.assign import Assignment
from latentem.testing import check_distribution, check_model

Array = lem.Array


@dataclass(eq=False)
class Family:
    """A family with a prior, its log-density, and three columns of data of two kinds of rows."""

    name: str
    template: Callable[[lem.Distribution | None], lem.Distribution]
    prior: lem.Distribution
    log_prob: Callable[[Array, Theta], Array]  # (n,) -> (n, 2)
    log_prior: Callable[[Theta], float]
    kinds: Mapping[str, str]
    truth: Mapping[str, Array]
    draw: Callable[[np.random.Generator, Array], Array]
    nodes: str = "xyv"

    def __str__(self) -> str:
        return self.name

    @functools.cached_property
    def data(self) -> dict[str, Array]:
        rng = np.random.default_rng(0)
        states = rng.permutation(np.repeat([0, 1], [40, 50]))
        return {name: self.draw(rng, states) for name in self.nodes}

    def model(self, *, prior: bool = True) -> lem.Model:
        dist = self.template(self.prior if prior else None)
        of_states = lem.Dirichlet([3.0, 2.0]) if prior else None
        z = lem.latent("z", lem.Categorical(2, prior=of_states))
        return lem.Model([z, *(lem.observed(name, dist, given=z) for name in self.nodes)])

    @functools.cache  # noqa: B019 (the families live as long as the tests)
    def fit(self, seed: int = 0) -> lem.Fit:
        return lem.fit(self.model(), self.data, seed=seed)

    @functools.cached_property
    def direct(self) -> float:
        """The highest posterior density; the prior of the states is not the same for both."""
        swapped = {name: value[::-1] for name, value in self.start.items()}
        starts = (self.start, swapped)
        return max(maximum(self.log_posterior, start, self.all_kinds)[0] for start in starts)

    @property
    def all_kinds(self) -> dict[str, str]:
        return {"z.probs": "simplex"} | {
            f"{n}.{f}": k for n in self.nodes for f, k in self.kinds.items()
        }

    @property
    def start(self) -> dict[str, Array]:
        own = {f"{n}.{f}": value for n in self.nodes for f, value in self.truth.items()}
        return {"z.probs": np.array([0.45, 0.55])} | own

    def of_node(self, name: str, theta: Theta) -> dict[str, Array]:
        return {field: np.asarray(theta[f"{name}.{field}"]) for field in self.kinds}

    def log_joint(self, theta: Theta) -> Array:
        columns = (self.log_prob(self.data[n], self.of_node(n, theta)) for n in self.nodes)
        return np.log(theta["z.probs"]) + sum(columns)

    def log_likelihood(self, theta: Theta) -> float:
        return float(special.logsumexp(self.log_joint(theta), axis=1).sum())

    def all_log_priors(self, theta: Theta) -> float:
        own = sum(self.log_prior(self.of_node(n, theta)) for n in self.nodes)
        # SciPy checks that the sum is 1 to the last digit.
        p = np.asarray(theta["z.probs"])
        return own + float(stats.beta.logpdf(p[0], 3.0, 2.0))

    def log_posterior(self, theta: Theta) -> float:
        return self.log_likelihood(theta) + self.all_log_priors(theta)


def _column(x: Array) -> Array:
    return np.asarray(x)[:, None]


def _beta(theta: Theta) -> float:
    return float(stats.beta.logpdf(theta["probs"], 3.0, 1.5).sum())


def _gamma(theta: Theta) -> float:
    return float(stats.gamma.logpdf(theta["rate"], 3.0, scale=1 / 0.8).sum())


PROBS = np.array([0.2, 0.7])
LEVELS = np.array([[0.6, 0.3, 0.1], [0.1, 0.2, 0.7]])
MEAN, COVARIANCE = (
    np.array([[0.0, 0.0], [2.5, 1.0]]),
    np.array([[[1.0, 0.3], [0.3, 1.0]], [[2.0, 0.0], [0.0, 0.5]]]),
)
SCALE = np.array([[2.0, 0.5], [0.5, 1.0]])


def _normal_inverse_gamma(theta: Theta) -> float:
    mean, variance = theta["mean"], theta["variance"]
    density = stats.norm.logpdf(mean, 0.5, np.sqrt(variance / 2.0))
    return float((density + stats.invgamma.logpdf(variance, 2.0, scale=1.5)).sum())


def _normal_inverse_wishart(theta: Theta) -> float:
    return float(
        sum(
            stats.multivariate_normal.logpdf(m, [0.5, 0.0], s / 2.0, allow_singular=True)
            + stats.invwishart.logpdf(s, 4.0, SCALE)
            for m, s in zip(theta["mean"], theta["covariance"], strict=True)
        )
    )


def _gaussian(x: Array, theta: Theta) -> Array:
    pairs = zip(theta["mean"], theta["covariance"], strict=True)
    normals = [stats.multivariate_normal(m, s, allow_singular=True) for m, s in pairs]
    return np.stack([normal.logpdf(x) for normal in normals], axis=1)


def _draw_gaussian(rng: np.random.Generator, z: Array) -> Array:
    roots = np.linalg.cholesky(COVARIANCE)[z]
    return MEAN[z] + np.einsum("nij,nj->ni", roots, rng.normal(size=(len(z), 2)))


FAMILIES = [
    Family(
        "Categorical",
        lambda prior: lem.Categorical(3, prior=prior),
        lem.Dirichlet([2.0, 1.5, 4.0]),
        lambda x, theta: np.log(theta["probs"][:, x].T),
        lambda theta: sum(
            float(stats.dirichlet.logpdf(p / p.sum(), [2.0, 1.5, 4.0])) for p in theta["probs"]
        ),
        {"probs": "simplex"},
        {"probs": LEVELS},
        lambda rng, z: (rng.random((len(z), 1)) > LEVELS.cumsum(axis=1)[z]).sum(axis=1),
    ),
    Family(
        "Bernoulli",
        lambda prior: lem.Bernoulli(prior=prior),
        lem.Beta(3.0, 1.5),
        lambda x, theta: stats.bernoulli.logpmf(_column(x), theta["probs"]),
        _beta,
        {"probs": "probability"},
        {"probs": PROBS},
        lambda rng, z: rng.binomial(1, PROBS[z]),
    ),
    Family(
        "Binomial",
        lambda prior: lem.Binomial(5, prior=prior),
        lem.Beta(3.0, 1.5),
        lambda x, theta: stats.binom.logpmf(_column(x), 5, theta["probs"]),
        _beta,
        {"probs": "probability"},
        {"probs": PROBS},
        lambda rng, z: rng.binomial(5, PROBS[z]),
    ),
    Family(
        "Geometric",
        lambda prior: lem.Geometric(prior=prior),
        lem.Beta(3.0, 1.5),
        lambda x, theta: stats.geom.logpmf(_column(x), theta["probs"], loc=-1),
        _beta,
        {"probs": "probability"},
        {"probs": PROBS},
        lambda rng, z: rng.geometric(PROBS[z]) - 1,
    ),
    Family(
        "Poisson",
        lambda prior: lem.Poisson(prior=prior),
        lem.Gamma(3.0, 0.8),
        lambda x, theta: stats.poisson.logpmf(_column(x), theta["rate"]),
        _gamma,
        {"rate": "positive"},
        {"rate": np.array([1.0, 4.0])},
        lambda rng, z: rng.poisson(np.array([1.0, 4.0])[z]),
    ),
    Family(
        "Exponential",
        lambda prior: lem.Exponential(prior=prior),
        lem.Gamma(3.0, 0.8),
        lambda x, theta: stats.expon.logpdf(_column(x), scale=1 / theta["rate"]),
        _gamma,
        {"rate": "positive"},
        {"rate": np.array([0.5, 4.0])},
        lambda rng, z: rng.exponential(1 / np.array([0.5, 4.0])[z]),
    ),
    Family(
        "Normal",
        lambda prior: lem.Normal(prior=prior),
        lem.NormalInverseGamma(mean=0.5, weight=2.0, shape=2.0, scale=1.5),
        lambda x, theta: stats.norm.logpdf(_column(x), theta["mean"], np.sqrt(theta["variance"])),
        _normal_inverse_gamma,
        {"mean": "real", "variance": "positive"},
        {"mean": np.array([0.0, 2.5]), "variance": np.array([1.0, 2.0])},
        lambda rng, z: rng.normal(np.array([0.0, 2.5])[z], np.sqrt([1.0, 2.0])[z]),
        "xy",
    ),
    Family(
        "Gaussian",
        lambda prior: lem.Gaussian(prior=prior),
        lem.NormalInverseWishart(mean=[0.5, 0.0], weight=2.0, df=4.0, scale=SCALE),
        _gaussian,
        _normal_inverse_wishart,
        {"mean": "real", "covariance": "matrix"},
        {"mean": MEAN, "covariance": COVARIANCE},
        _draw_gaussian,
        "x",
    ),
]
every_family = pytest.mark.parametrize("family", FAMILIES, ids=str)


def parameters(model: lem.Model) -> dict[str, Array]:
    return {
        f"{name}.{field}": array
        for name, dist in model.distributions.items()
        for field, array in dist.parameters.items()
    }


def assert_rises(trace: lem.Trace) -> None:
    objective = trace["objective"]
    assert len(objective) > 1
    assert (np.diff(objective) >= -1e-10 * np.abs(objective[1:])).all()


# -- the mode --------------------------------------------------------------------------------------


@every_family
def test_the_laws_hold_with_a_prior(family: Family) -> None:
    check_distribution(family.template(family.prior), family.data["x"])
    check_model(family.model(), family.data)


@every_family
@pytest.mark.parametrize("seed", [0, 1])
def test_the_default_call_reaches_the_highest_posterior_density(family: Family, seed: int) -> None:
    fit = family.fit(seed)
    assert fit.objective == pytest.approx(family.direct, abs=1e-5)
    found = parameters(fit.model)
    assert fit.objective == pytest.approx(family.log_posterior(found), abs=1e-9)
    assert fit.log_likelihood == pytest.approx(family.log_likelihood(found), abs=1e-9)
    assert fit.log_likelihood == pytest.approx(lem.log_likelihood(fit.model, family.data))


@every_family
@pytest.mark.parametrize("assign", [lem.soft, lem.hard], ids=["soft", "hard"])
def test_the_prior_is_a_term_of_f_on_every_row(family: Family, assign: Assignment) -> None:
    fit = lem.fit(
        family.model(), family.data, assign=assign, init=lem.init.random, restarts=1, seed=1
    )
    trace = fit.trace
    assert_rises(trace)
    total = trace["q"] + trace["log_prior"] + (trace["entropy"] if assign is lem.soft else 0.0)
    np.testing.assert_allclose(trace["objective"], total, rtol=1e-12)
    expected = family.all_log_priors(parameters(fit.model))
    assert trace["log_prior"][-1] == pytest.approx(expected, abs=1e-9)
    assert "log_prior" in trace.to_dataframe().columns
    if assign is lem.soft:
        plain = trace["objective"] - trace["log_prior"]
        after_e = ~np.isnan(trace["log_likelihood"])
        np.testing.assert_allclose(trace["log_likelihood"][after_e], plain[after_e], rtol=1e-12)


@every_family
def test_a_converged_fit_is_a_fixed_point_and_keeps_its_prior(family: Family) -> None:
    fit = lem.fit(family.model(), family.data, init=family.fit().model, tol=0, max_iter=3)
    np.testing.assert_allclose(fit.trace["objective"], family.fit().objective, atol=1e-5)
    again = lem.fit(fit.model, family.data)
    assert again.objective == pytest.approx(family.fit().objective, abs=1e-5)


@every_family
def test_an_integer_weight_equals_repeated_rows(family: Family) -> None:
    times = np.random.default_rng(0).integers(0, 3, 90)
    model, start = family.model(), family.fit().model
    options = {"init": start, "tol": 0, "max_iter": 5}
    weighted = lem.fit(model, family.data, weights=times, **options)
    repeated = {name: np.repeat(column, times, axis=0) for name, column in family.data.items()}
    fit = lem.fit(model, repeated, **options)
    assert weighted.objective == pytest.approx(fit.objective, rel=1e-10)


@every_family
def test_missing_values_leave_the_mode_of_the_rest(family: Family) -> None:
    rng = np.random.default_rng(1)
    data = {name: np.array(column, dtype=float) for name, column in family.data.items()}
    for column in data.values():
        column[rng.random(90) < 0.3] = np.nan
    labels = np.where(rng.random(90) < 0.3, rng.integers(0, 2, 90), -1)
    for known in (np.full(90, -1), labels):
        fit = lem.fit(family.model(), data | {"z": known}, seed=0, init=lem.init.random)
        assert_rises(fit.trace)

        def objective(theta: Theta, labels: Array = known) -> float:
            joint = np.log(theta["z.probs"]) + np.zeros((90, 1))
            for name, column in data.items():
                seen = ~np.isnan(column.reshape(90, -1)[:, 0])
                value = column[seen].astype(family.data[name].dtype)
                joint[seen] += family.log_prob(value, family.of_node(name, theta))
            joint[(labels >= 0) & (labels != 0), 0] = -np.inf
            joint[(labels >= 0) & (labels != 1), 1] = -np.inf
            rows = special.logsumexp(joint, axis=1)
            return float(rows.sum()) + family.all_log_priors(theta)

        found = parameters(fit.model)
        assert fit.objective == pytest.approx(objective(found), abs=1e-9)
        assert fit.objective >= maximum(objective, found, family.all_kinds)[0] - 1e-4


@every_family
def test_standard_errors_are_those_of_the_log_posterior(family: Family) -> None:
    fit = lem.fit(family.model(), family.data, init=family.fit().model, tol=1e-13)
    found, kinds = parameters(fit.model), family.all_kinds
    centre = pack(found, kinds)
    h, p = 1e-4, len(centre)
    steps = h * np.eye(p)

    def value(t: Array) -> float:
        return family.log_posterior(unpack(t, found, kinds))

    hessian = np.zeros((p, p))
    for i, j in itertools.combinations_with_replacement(range(p), 2):
        a, b = steps[i], steps[j]
        same = value(centre + a + b) + value(centre - a - b)
        opposite = value(centre + a - b) + value(centre - a + b)
        hessian[i, j] = hessian[j, i] = (same - opposite) / (4 * h * h)
    covariance = np.linalg.inv(-hessian)
    errors = fit.standard_errors()
    for name in kinds:
        node, field = name.split(".")
        forth = [unpack(centre + step, found, kinds)[name] for step in steps]
        back = [unpack(centre - step, found, kinds)[name] for step in steps]
        slopes = (np.array(forth) - np.array(back)).reshape(p, -1) / (2 * h)
        expected = np.sqrt(np.einsum("pi,pq,qi->i", slopes, covariance, slopes))
        np.testing.assert_allclose(errors[node][field].ravel(), expected, rtol=2e-3)


# -- what a prior is worth -------------------------------------------------------------------------


def _alone(dist: lem.Distribution, x: Array) -> lem.Distribution:
    return lem.fit(lem.Model([lem.observed("x", dist)]), {"x": x}).model["x"]


@pytest.mark.parametrize(
    ("with_prior", "without", "data", "added"),
    [
        (
            lem.Categorical(3, prior=lem.Dirichlet([1.0, 3.0, 2.0])),
            lem.Categorical(3),
            [0, 0, 1],
            [1, 1, 2],
        ),
        (lem.Categorical(3, prior=lem.Dirichlet(3.0)), lem.Categorical(3), [0, 0], [0, 1, 2] * 2),
        (lem.Bernoulli(prior=lem.Beta(3.0, 2.0)), lem.Bernoulli(), [0, 0, 1], [1, 1, 0]),
        (lem.Binomial(3, prior=lem.Beta(5.0, 3.0)), lem.Binomial(3), [2, 0, 1], [3, 1]),
        (lem.Geometric(prior=lem.Beta(3.0, 6.0)), lem.Geometric(), [0, 4, 1], [2, 3]),
        (lem.Poisson(prior=lem.Gamma(8.0, 2.0)), lem.Poisson(), [0, 4, 1], [3, 4]),
        (lem.Exponential(prior=lem.Gamma(3.0, 6.0)), lem.Exponential(), [0.5, 4, 1], [2, 4]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_prior_is_worth_the_rows_that_it_counts(
    with_prior: lem.Distribution, without: lem.Distribution, data: list, added: list
) -> None:
    found = _alone(with_prior, np.array(data)).parameters
    expected = _alone(without, np.array(data + added)).parameters
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-13)


@pytest.mark.parametrize(
    ("name", "flat"),
    [
        ("Categorical", lem.Dirichlet(1.0)),
        ("Bernoulli", lem.Beta(1.0, 1.0)),
        ("Binomial", lem.Beta(1.0, 1.0)),
        ("Geometric", lem.Beta(1.0, 1.0)),
        ("Poisson", lem.Gamma(1.0, 1e-13)),
        ("Exponential", lem.Gamma(1.0, 1e-13)),
    ],
)
def test_a_prior_without_weight_leaves_maximum_likelihood(
    name: str, flat: lem.Distribution
) -> None:
    (family,) = (family for family in FAMILIES if family.name == name)
    z = lem.latent("z", lem.Categorical(2, prior=lem.Dirichlet(1.0)))
    nodes = [lem.observed(x, family.template(flat), given=z) for x in family.nodes]
    model, plain = lem.Model([z, *nodes]), family.model(prior=False)
    start = lem.fit(plain, family.data, seed=0, tol=1e-4).model
    fits = [lem.fit(m, family.data, init=start, tol=0, max_iter=5) for m in (model, plain)]
    assert fits[0].log_likelihood == pytest.approx(fits[1].log_likelihood, rel=1e-12)
    assert "log_prior" not in fits[1].trace.columns


def test_a_prior_alone_is_what_a_state_without_rows_has() -> None:
    weights = np.array([[1.0, 0.0], [0.5, 0.0], [2.0, 0.0]])
    x = np.array([0, 1, 1])
    rate = lem.Poisson(prior=lem.Gamma(3.0, 0.5)).fit(x, weights).rate
    np.testing.assert_allclose(rate, [(2.5 + 2) / (3.5 + 0.5), 2 / 0.5])
    probs = lem.Bernoulli(prior=lem.Beta(3.0, 2.0)).fit(x, weights).probs
    np.testing.assert_allclose(probs, [(2.5 + 2) / (3.5 + 3), 2 / 3])
    levels = lem.Categorical(2, prior=lem.Dirichlet([2.0, 4.0])).fit(x, weights).probs
    np.testing.assert_allclose(levels, [[2 / 7.5, 5.5 / 7.5], [1 / 4, 3 / 4]])
    prior = lem.NormalInverseGamma(mean=1.0, weight=1.0, shape=2.0, scale=7.0)
    normal = lem.Normal(prior=prior).fit(x, weights)
    assert normal.mean[1] == pytest.approx(1.0)
    assert normal.variance[1] == pytest.approx(7.0 / (2.0 + 1.5))


@pytest.mark.parametrize(
    ("dist", "start", "value", "mode"),
    [
        (
            lem.Poisson(prior=lem.Gamma(3.0, 0.5)),
            lem.Poisson(rate=[1.0, 9.0]),
            np.arange(9),
            {"rate": [4.0, 4.0]},
        ),
        (
            lem.Categorical(3, prior=lem.Dirichlet([2.0, 3.0, 4.0])),
            lem.Categorical(probs=[[0.8, 0.1, 0.1]] * 2),
            np.arange(9) % 3,
            {"probs": [[1 / 6, 2 / 6, 3 / 6]] * 2},
        ),
        (
            lem.Normal(prior=lem.NormalInverseGamma(mean=1.0, weight=1.0, shape=2.0, scale=7.0)),
            lem.Normal(mean=[5.0, 6.0], variance=[1.0, 1.0]),
            np.arange(9.0),
            {"mean": [1.0, 1.0], "variance": [2.0, 2.0]},
        ),
        (  # without an opinion on the mean, that stays
            lem.Normal(prior=lem.NormalInverseGamma(mean=1.0, weight=0.0, shape=2.0, scale=6.0)),
            lem.Normal(mean=[5.0, 6.0], variance=[1.0, 1.0]),
            np.arange(9.0),
            {"mean": [5.0, 6.0], "variance": [2.0, 2.0]},
        ),
    ],
    ids=["poisson", "categorical", "normal", "normal of any mean"],
)
def test_without_any_row_the_maximum_is_the_mode(
    dist: lem.Distribution, start: lem.Distribution, value: Array, mode: dict
) -> None:
    begun = dist.bind(value).started_from(start)
    record = begun.kernel().on(value).record(np.zeros((2, 9)))
    for name, expected in mode.items():
        np.testing.assert_allclose(begun.update(record).parameters[name], expected, rtol=1e-12)


def test_a_case_that_loses_its_rows_goes_to_the_mode() -> None:
    z = lem.latent("z", lem.fixed(lem.Categorical(probs=[0.5, 0.5])))
    cases = lem.Switch([lem.Normal(), lem.Poisson(prior=lem.Gamma(9.0, 0.1))])
    model = lem.Model([z, lem.observed("x", cases, given=z)])
    far = lem.Switch([lem.Normal(mean=3.0, variance=9.0), lem.Poisson(rate=500.0)])
    x = np.arange(18) % 9
    fit = lem.fit(model, x, init=model.replace({"x": far}), assign=lem.hard)
    assert fit.model["x"].cases[1].rate == pytest.approx(8.0 / 0.1)
    assert_rises(fit.trace)


def _log_gaussians(x: Array, mean: Array, covariance: Array) -> Array:
    """By Cramer's rule, ``(n, K)``, for two columns."""
    (a, b), (_, c) = np.moveaxis(covariance, 0, -1)
    determinant = a * c - b * b
    u, v = np.moveaxis(x[:, None] - mean, -1, 0)
    square = (c * u * u - 2 * b * u * v + a * v * v) / determinant
    return -0.5 * square - 0.5 * np.log(determinant) - np.log(2 * np.pi)


@pytest.mark.parametrize("weight", [0.0, 2.0], ids=["any mean", "a mean"])
@pytest.mark.parametrize("held", ["", "mean", "covariance"], ids=lambda held: held or "nothing")
@pytest.mark.parametrize("shared", [False, True], ids=["own", "shared"])
@pytest.mark.parametrize("structure", ["full", "diagonal", "spherical"])
def test_the_mode_of_a_gaussian_is_that_of_a_general_algorithm(
    structure: str, shared: bool, held: str, weight: float
) -> None:
    rng = np.random.default_rng(0)
    x, rows = rng.normal(size=(25, 2)) @ [[1.0, 0.6], [0.0, 2.0]], rng.gamma(0.7, size=(25, 2))
    scale = {"full": SCALE, "diagonal": np.diag([2.0, 1.0]), "spherical": 1.5 * np.eye(2)}
    prior = lem.NormalInverseWishart(
        mean=[0.5, -0.3], weight=weight, df=4.0, scale=np.array([[2.0, 0.5], [0.5, 1.0]])
    )
    mean, covariance = np.array([[0.3, 0.1], [-0.2, 0.9]]), np.stack([scale[structure]] * 2)
    given = {"": {}, "mean": {"mean": mean}, "covariance": {"covariance": covariance}}[held]
    options = {"covariance": structure, **given, "shared": shared, "prior": prior}
    extra = {"structure": structure} if held == "covariance" else {}
    fitted = lem.Gaussian(**options, **extra).fit(x, rows)
    states = 1 if shared else 2

    def of_structure(size: Array) -> Array:
        matrices = size if structure == "full" else size[..., None] * np.eye(2)
        return np.broadcast_to(matrices, (2, 2, 2))

    def log_prior(mean: Array, covariance: Array) -> float:
        wishart = sum(stats.invwishart.logpdf(s, 4.0, prior.scale) for s in covariance[:states])
        if not weight:
            return float(wishart)
        return float(wishart + _log_gaussians(prior.mean[None], mean, covariance / weight).sum())

    def objective(theta: Theta) -> float:
        mean = np.asarray(theta.get("mean", given.get("mean")))
        size = theta.get("size")
        matrices = covariance if size is None else of_structure(np.asarray(size))
        own = (rows * _log_gaussians(x, mean, matrices)).sum()
        return float(own) + log_prior(mean, matrices)

    size = {"full": np.eye(2), "diagonal": np.ones(2), "spherical": np.ones(1)}[structure]
    start: dict[str, Array] = {"mean": np.zeros((2, 2)), "size": np.stack([size] * states)}
    kinds = {"mean": "real", "size": "matrix" if structure == "full" else "positive"}
    free = {name for name in start if name != {"covariance": "size"}.get(held, held)}
    best, theta = maximum(
        objective, {n: start[n] for n in free}, {n: k for n, k in kinds.items() if n in free}
    )
    found = (rows * _log_gaussians(x, fitted.mean, fitted.covariance)).sum()
    found += log_prior(fitted.mean, fitted.covariance)
    assert found == pytest.approx(best, abs=1e-7)
    assert fitted.log_prior == pytest.approx(log_prior(fitted.mean, fitted.covariance), abs=1e-9)
    if "mean" in free:
        np.testing.assert_allclose(fitted.mean, theta["mean"], rtol=1e-3, atol=1e-4)
    else:
        np.testing.assert_array_equal(fitted.mean, mean)
    if "size" in free:
        expected = of_structure(theta["size"])
        np.testing.assert_allclose(fitted.covariance, expected, rtol=1e-3, atol=1e-4)
    else:
        np.testing.assert_array_equal(fitted.covariance, covariance)


# -- graphs ----------------------------------------------------------------------------------------


def test_tied_nodes_have_one_prior() -> None:
    a = lem.observed("a", lem.Poisson(prior=lem.Gamma(3.0, 0.5)))
    b = lem.observed("b", lem.Poisson(prior=lem.Gamma(3.0, 0.5)), tie=a)
    x, y = np.array([1, 4, 2]), np.array([3, 3, 9])
    fit = lem.fit(lem.Model([a, b]), {"a": x, "b": y})
    rate = (22 + 2) / (6 + 0.5)
    assert fit.model["b"].rate == pytest.approx(rate)
    log_prior = stats.gamma.logpdf(rate, 3.0, scale=2.0)
    assert fit.trace["log_prior"][-1] == pytest.approx(log_prior)
    assert fit.log_likelihood == pytest.approx(stats.poisson.logpmf([*x, *y], rate).sum())


def test_latents_can_be_tied_with_a_prior() -> None:
    prior = lem.Dirichlet([4.0, 2.0])
    a = lem.latent("a", lem.Categorical(2, prior=prior))
    b = lem.latent("b", lem.Categorical(2, prior=prior), tie=a)
    table = lem.fixed(lem.Categorical(probs=np.eye(3)[[[0, 1], [1, 2]]]))
    y = lem.observed("y", table, given=[a, b])  # how many of the two are 1
    fit = lem.fit(lem.Model([a, b, y]), [0, 1, 1, 2, 2, 2], seed=0)
    ones = (8 + 1) / (12 + 3 + 1)
    np.testing.assert_allclose(fit.model["a"].probs, [1 - ones, ones], atol=1e-8)
    assert fit.trace["log_prior"][-1] == pytest.approx(stats.beta.logpdf(1 - ones, 4, 2))
    assert_rises(fit.trace)


def test_what_is_fixed_has_no_prior() -> None:
    known = lem.fixed(lem.Poisson(rate=[1.0, 5.0], prior=lem.Gamma(3.0, 0.5)))
    z = lem.latent("z", lem.Categorical(2))
    fit = lem.fit(lem.Model([z, lem.observed("x", known, given=z)]), [0, 1, 5, 6], seed=0)
    assert "log_prior" not in fit.trace.columns
    assert fit.objective == pytest.approx(fit.log_likelihood)


@pytest.mark.parametrize(
    "prior",
    [
        lem.Gamma(3.0, 0.5),
        lem.Gamma([[2.0, 3.0, 4.0], [5.0, 6.0, 7.0]], [[1.0, 2.0, 1.0], [2.0, 1.0, 3.0]]),
    ],
    ids=["one", "each"],
)
def test_two_parents_have_a_prior_for_each_combination(prior: lem.Distribution) -> None:
    rng = np.random.default_rng(0)
    a, b = lem.observed("a", lem.Categorical(2)), lem.observed("b", lem.Categorical(3))
    model = lem.Model([a, b, lem.observed("y", lem.Poisson(prior=prior), given=[a, b])])
    data = {"a": rng.integers(0, 2, 60), "b": rng.integers(0, 3, 60), "y": rng.poisson(4, 60)}
    fit = lem.fit(model, data)
    total, count = np.zeros((2, 3)), np.zeros((2, 3))
    np.add.at(total, (data["a"], data["b"]), data["y"])
    np.add.at(count, (data["a"], data["b"]), 1)
    expected = (total + prior.shape - 1) / (count + prior.rate)
    np.testing.assert_allclose(fit.model["y"].rate, expected, rtol=1e-12)
    log_prior = stats.gamma.logpdf(expected, prior.shape, scale=1 / prior.rate).sum()
    assert fit.trace["log_prior"][-1] == pytest.approx(log_prior)


@pytest.mark.parametrize("alpha", [2.0, [2.0, 1.0, 3.0]], ids=["one", "each level"])
def test_a_dirichlet_under_two_parents(alpha: float | list[float]) -> None:
    rng = np.random.default_rng(0)
    a, b = lem.observed("a", lem.Categorical(2)), lem.observed("b", lem.Categorical(2))
    y = lem.observed("y", lem.Categorical(3, prior=lem.Dirichlet(alpha)), given=[a, b])
    data = {name: rng.integers(0, high, 40) for name, high in (("a", 2), ("b", 2), ("y", 3))}
    fit = lem.fit(lem.Model([a, b, y]), data)
    counts = np.zeros((2, 2, 3))
    np.add.at(counts, (data["a"], data["b"], data["y"]), 1)
    counts += np.broadcast_to(alpha, 3) - 1
    np.testing.assert_allclose(fit.model["y"].probs, counts / counts.sum(-1, keepdims=True))


@pytest.mark.parametrize(
    "make",
    [
        lambda: lem.Independent(lem.Poisson(prior=lem.Gamma(3.0, 0.5)), 2),
        lambda: lem.Product([lem.Poisson(prior=lem.Gamma(3.0, 0.5)), lem.Poisson()]),
    ],
    ids=["independent", "product"],
)
def test_the_columns_of_a_product_have_priors(make: Callable[[], lem.Distribution]) -> None:
    rng = np.random.default_rng(0)
    x = rng.poisson(np.where(np.arange(60) % 2, 1, 6)[:, None], size=(60, 2))
    z = lem.latent("z", lem.Categorical(2))
    model = lem.Model([z, lem.observed("x", make(), given=z)])
    fit = lem.fit(model, {"x": x}, seed=0)
    assert_rises(fit.trace)
    assert fit.objective == pytest.approx(fit.log_likelihood + model_log_prior(fit.model))


def model_log_prior(model: lem.Model) -> float:
    """Of Gamma(3, 0.5) on the rates of Poisson columns that have one."""
    total = 0.0
    stack = [model["x"]]
    while stack:
        dist = stack.pop()
        if isinstance(dist, lem.Poisson):
            if dist.prior is not None:
                total += stats.gamma.logpdf(dist.rate, 3.0, scale=2.0).sum()
        elif isinstance(dist, lem.Independent):
            stack.extend(dist.columns)
        elif isinstance(dist, lem.Product):
            stack.extend(dist.components)
    return total


def test_a_case_of_a_switch_has_its_prior() -> None:
    z = lem.latent("z", lem.Categorical(2))
    cases = lem.Switch([lem.PointMass(0), lem.Poisson(prior=lem.Gamma(3.0, 0.5))])
    x = np.random.default_rng(0).poisson(2.0, 80) * (np.arange(80) % 3 > 0)
    fit = lem.fit(lem.Model([z, lem.observed("x", cases, given=z)]), x, seed=0)
    assert_rises(fit.trace)
    rate = fit.model["x"].cases[1].rate
    expected = fit.log_likelihood + stats.gamma.logpdf(rate, 3.0, scale=2.0)
    assert fit.objective == pytest.approx(expected)


# -- renumbering -----------------------------------------------------------------------------------


def test_renumbered_states_take_their_priors_along() -> None:
    group = lem.latent("group", lem.Categorical(2, prior=lem.Dirichlet([9.0, 2.0])))
    part = lem.latent(
        "part",
        lem.Categorical(2, prior=lem.Dirichlet([[5.0, 1.0], [2.0, 3.0]])),
        given=group,
    )
    rates = lem.Gamma([[2.0, 3.0], [6.0, 20.0]], [[1.0, 1.5], [2.0, 0.5]])
    x = lem.observed("x", lem.Poisson(prior=rates), given=[group, part])
    hint = lem.observed("hint", lem.Bernoulli(prior=lem.Beta([2.0, 5.0], [6.0, 1.0])), given=group)
    model = lem.Model([group, part, x, hint])
    rng = np.random.default_rng(0)
    data = {"x": rng.poisson(rng.choice([1, 5, 12, 30], 80)), "hint": rng.integers(0, 2, 80)}
    fit = lem.fit(model, data, seed=0)
    for orders in ({"group": [1, 0]}, {"part": [1, 0]}, {"group": [1, 0], "part": [1, 0]}):
        moved = lem.permute_states(fit.model, orders)
        again = lem.fit(model, data, init=fit.model, tol=0, max_iter=1)
        renumbered = lem.fit(moved, data, tol=0, max_iter=1)
        for column in ("objective", "log_prior", "log_likelihood"):
            np.testing.assert_allclose(renumbered.trace[column], again.trace[column], rtol=1e-9)


def test_a_binary_latent_takes_its_prior_along() -> None:
    z = lem.latent("z", lem.Bernoulli(prior=lem.Beta(5.0, 2.0)))
    model = lem.Model([z, lem.observed("x", lem.Poisson(), given=z)])
    x = np.random.default_rng(0).poisson(np.repeat([1, 7], 30))
    fit = lem.fit(model, x, seed=0)
    moved = lem.fit(lem.permute_states(fit.model, {"z": [1, 0]}), x, tol=0, max_iter=1)
    again = lem.fit(fit.model, x, tol=0, max_iter=1)
    np.testing.assert_allclose(moved.trace["objective"], again.trace["objective"], rtol=1e-9)


# -- errors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: lem.Categorical(3, prior=lem.Beta(2.0, 2.0)), "prior must be a Dirichlet"),
        (lambda: lem.Categorical(3, prior=lem.Dirichlet()), "prior must be a Dirichlet"),
        (lambda: lem.Categorical(3, prior=2.0), "prior must be a Dirichlet"),
        (lambda: lem.Categorical(3, prior=lem.Dirichlet(0.5)), "at least 1"),
        (lambda: lem.Categorical(3, prior=lem.Dirichlet([1.0, 2.0])), "one concentration"),
        (lambda: lem.Bernoulli(prior=lem.Gamma(2.0, 2.0)), "prior must be a Beta"),
        (lambda: lem.Bernoulli(prior=lem.Beta(0.5, 2.0)), "at least 1"),
        (lambda: lem.Binomial(3, prior=lem.Dirichlet(2.0)), "prior must be a Beta"),
        (lambda: lem.Geometric(prior=lem.Beta()), "prior must be a Beta"),
        (lambda: lem.Poisson(prior=lem.Beta(2.0, 2.0)), "prior must be a Gamma"),
        (lambda: lem.Poisson(prior=lem.Gamma(0.5, 2.0)), "shape of at least 1"),
        (lambda: lem.Exponential(prior=lem.Poisson(rate=2.0)), "prior must be a Gamma"),
        (lambda: lem.Normal(prior=lem.Gamma(2.0, 2.0)), "prior must be a NormalInverseGamma"),
        (lambda: lem.Gaussian(prior=lem.Beta(2.0, 2.0)), "prior must be a NormalInverseWishart"),
        (lambda: lem.NormalInverseGamma(0.0, 1.0, -1.0, 1.0), "shape must be"),
        (lambda: lem.NormalInverseGamma(0.0, -1.0, 1.0, 1.0), "weight must be"),
        (lambda: lem.NormalInverseWishart([0.0], 1.0, 3.0, [[-1.0]]), "positive definite"),
        (lambda: lem.NormalInverseWishart([0.0, 0.0], 1.0, 3.0, [[1.0]]), "shapes"),
        (lambda: lem.NormalInverseWishart([0.0, 0.0], 1.0, 1.0, np.eye(2)), "df must be above"),
    ],
)
def test_a_wrong_prior_is_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(lem.ModelError, match=message):
        make()


@pytest.mark.parametrize(
    ("make", "x"),
    [
        (lambda: lem.Poisson(prior=lem.Gamma([2.0, 3.0, 4.0], [1.0, 1.0, 1.0])), [0, 1, 5]),
        (lambda: lem.Bernoulli(prior=lem.Beta([2.0, 3.0, 4.0], [1.0, 1.0, 1.0])), [0, 1, 1]),
        (lambda: lem.Categorical(2, prior=lem.Dirichlet([[2.0, 1.0]] * 3)), [0, 1, 1]),
        (
            lambda: lem.Gaussian(prior=lem.NormalInverseWishart([0.0], 1.0, 3.0, [[1.0]])),
            [[0, 1], [2, 3], [4, 4]],
        ),
    ],
    ids=["poisson", "bernoulli", "categorical", "gaussian"],
)
def test_a_prior_of_another_shape_is_refused_by_node(
    make: Callable[[], lem.Distribution], x: list
) -> None:
    z = lem.latent("z", lem.Categorical(2))
    model = lem.Model([z, lem.observed("x", make(), given=z)])
    with pytest.raises(lem.ModelError, match=r"Node 'x': .*prior must"):
        lem.fit(model, {"x": np.array(x)}, seed=0)
