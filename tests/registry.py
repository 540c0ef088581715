"""The families and the models that the laws are tested over.

Adding a family is one line in ``FAMILIES``; adding a model is one function in ``MODELS``. For each
there is a translation into the oracle's plain terms, which reads parameters and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import attrs
import numpy as np
import oracle
from scipy import stats

import latentem as lem

Array = lem.Array


# -- a plug-in, verbatim from the documentation ----------------------------------------------------


@attrs.frozen(eq=False)
class Rayleigh(lem.Distribution):
    scale: Array | None = None  # (*parents,)

    def log_prob(self, value: Array) -> Array:  # (n, *event) -> (n, *parents)
        x = value[:, None]
        return np.log(x) - 2 * np.log(self.scale) - x**2 / (2 * self.scale**2)

    def fit(self, value: Array, weights: Array) -> Rayleigh:  # weights: (n, *parents)
        return Rayleigh(np.sqrt(weights.T @ value**2 / weights.sum(0) / 2))


@attrs.frozen(eq=False)
class CountedRayleigh(Rayleigh):
    """The same with the two optional methods."""

    @property
    def n_parameters(self) -> int:
        return self.scale.size

    def fit(self, value: Array, weights: Array) -> CountedRayleigh:
        return attrs.evolve(self, scale=Rayleigh().fit(value, weights).scale)

    def sample(self, rng: np.random.Generator, state: Array) -> Array:
        return rng.rayleigh(self.scale[state])


@attrs.frozen(eq=False)
class Exponential(lem.ExponentialFamily):
    """A plug-in in the vocabulary of sufficient statistics."""

    rate: Array | None = lem.parameter()  # noqa: RUF009 (an attrs field marker)

    @property
    def n_parameters(self) -> int:
        return self.rate.size

    def statistics(self, value: Array) -> Array:
        return value[:, None]

    def natural_parameters(self) -> tuple[Array, Array]:
        return -self.rate[..., None], -np.log(self.rate)

    def from_mean(self, mean: Array, weight: Array) -> Exponential:
        return Exponential(1 / mean[..., 0])

    def log_base_measure(self, value: Array) -> Array:
        return np.where(value >= 0, 0.0, -np.inf)

    def sample(self, rng: np.random.Generator, state: Array) -> Array:
        return rng.exponential(1 / self.rate[state])


# -- from a distribution to the oracle's scalar density --------------------------------------------


def density(dist: lem.Distribution, parents: tuple[int, ...]) -> oracle.LogDensity:
    """The scalar formula of ``dist``, whose parents have ``parents`` states."""
    match dist:
        case lem.Categorical():
            return oracle.categorical(dist.probs)
        case lem.Bernoulli():
            return oracle.bernoulli(dist.probs)
        case lem.Poisson():
            return oracle.poisson(dist.rate)
        case lem.Normal():
            return oracle.normal(dist.mean, dist.variance)
        case lem.Gaussian():
            return oracle.gaussian(dist.mean, dist.covariance)
        case (
            lem.Beta()
            | lem.Binomial()
            | lem.Dirichlet()
            | lem.DiscreteUniform()
            | lem.Exponential()
            | lem.Gamma()
            | lem.Geometric()
            | lem.NegativeBinomial()
            | lem.InverseGaussian()
            | lem.Laplace()
            | lem.LogNormal()
            | lem.Pareto()
            | lem.Rayleigh()
            | lem.StudentT()
            | lem.Uniform()
            | lem.VonMises()
            | lem.VonMisesFisher()
            | lem.Weibull()
        ):
            return _textbook(dist)
        case lem.Multinomial():
            return lambda x, *state: stats.multinomial.logpmf(x, x.sum(), dist.probs[state])
        case lem.PointMass():
            return oracle.point_mass(dist.value)
        case lem.Product() | lem.Independent():
            return oracle_of_columns(dist, parents)
        case lem.Switch():
            return oracle.switch([density(case, parents[1:]) for case in dist.cases])
        case Rayleigh():
            return oracle.rayleigh(dist.scale)
        case Exponential():
            return oracle.exponential(dist.rate)
        case lem.Prototype():
            return oracle.prototype(dist.prototypes)
        case lem.Choice():
            return lambda value: 0.0
        case _:  # fixed(dist)
            return density(dist.dist, parents)


def oracle_of_columns(dist: lem.Distribution, parents: tuple[int, ...]) -> oracle.LogDensity:
    """The sum over the columns, each with the formula of its own family."""
    columns = dist.columns if isinstance(dist, lem.Independent) else dist.components
    formulas = [density(column, parents) for column in columns]
    return lambda value, *state: sum(f(x, *state) for f, x in zip(formulas, value, strict=True))


def _textbook(dist: lem.Distribution) -> oracle.LogDensity:
    """The density of SciPy, with its names of the parameters, at one state's parameters."""
    frozen = {
        "Beta": lambda a, b: stats.beta(a, b),
        "Binomial": lambda probs: stats.binom(dist.n, probs),
        "Dirichlet": lambda alpha: stats.dirichlet(alpha),
        "DiscreteUniform": lambda low, high: stats.randint(low, high + 1),
        "Exponential": lambda rate: stats.expon(scale=1 / rate),
        "Gamma": lambda shape, rate: stats.gamma(shape, scale=1 / rate),
        "NegativeBinomial": lambda mean, size: stats.nbinom(size, size / (size + mean)),
        "Geometric": lambda probs: stats.geom(probs, loc=-1),
        "InverseGaussian": lambda mean, shape: stats.invgauss(mean / shape, scale=shape),
        "Laplace": lambda location, scale: stats.laplace(location, scale),
        "LogNormal": lambda mean, variance: stats.lognorm(np.sqrt(variance), scale=np.exp(mean)),
        "Pareto": lambda exponent: stats.pareto(exponent, scale=dist.minimum),
        "Rayleigh": lambda scale: stats.rayleigh(scale=scale),
        "Uniform": lambda low, high: stats.uniform(low, high - low),
        "VonMises": lambda mean, kappa: stats.vonmises(kappa, mean),
        "VonMisesFisher": lambda mean, kappa: stats.vonmises_fisher(mean, kappa),
        "StudentT": lambda df, mean, scale: stats.multivariate_t(mean, scale, df),
        "Weibull": lambda shape, scale: stats.weibull_min(shape, scale=scale),
    }[type(dist).__name__]
    parameters = tuple(dist.parameters.values())

    def log_density(value: Array, *state: int) -> float:
        at_state = frozen(*(p[state] for p in parameters))
        log_prob = at_state.logpmf if hasattr(at_state, "pmf") else at_state.logpdf
        return log_prob(value).item()

    return log_density


def describe(model: lem.Model) -> oracle.Oracle:
    """The oracle of a parameterised model: latents, and a scalar density for every node."""
    states = {node.name: node.dist.n_states for node in model.nodes}
    factors = {}
    for node in model.nodes:
        parents = tuple(parent.name for parent in node.given)
        shape = tuple(states[parent] for parent in parents)
        factors[node.name] = oracle.Factor(density(model[node.name], shape), parents)
    return oracle.Oracle({node.name: states[node.name] for node in model.latents}, factors)


# -- families --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Family:
    """A distribution to check: a template, and values ``(n, *event)`` typical of it."""

    name: str
    dist: lem.Distribution
    value: Array
    oracle: bool = True

    def __str__(self) -> str:
        return self.name

    @property
    def fits_alone(self) -> bool:
        """Whether it can be a node without parents, fitted from nothing."""
        return (
            not self.dist.requires_hard
            and not isinstance(self.dist, lem.Switch)
            and not self.dist.is_parameterised
        )


def _families() -> list[Family]:
    rng = np.random.default_rng(20240229)
    n = 40
    real = rng.normal(3.0, 2.0, size=n)
    vectors = rng.normal(size=(n, 2)) @ np.array([[2.0, 0.5], [0.0, 0.3]]) + np.array([5.0, -1.0])
    counts = rng.poisson(2.5, size=n)
    inflated = counts * rng.integers(0, 2, size=n)
    levels = rng.integers(0, 3, size=n)
    binary = rng.integers(0, 2, size=n)
    table = [[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]]
    positive = np.random.default_rng(17).gamma(3.0, 2.0, size=n)
    shares = np.random.default_rng(18).dirichlet([2.0, 3.0, 4.0], size=n)
    angles = np.random.default_rng(19).vonmises(2.5, 1.5, size=n)
    directions = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    words = np.random.default_rng(20).poisson([2.0, 3.0, 1.0], size=(n, 3))
    throws = np.random.default_rng(21).multinomial(6, [0.2, 0.3, 0.5], size=n)
    heavy = np.random.default_rng(19).standard_t(2.5, size=(n, 2)) @ [[2.0, 0.5], [0.0, 0.3]]
    items = np.random.default_rng(19).integers(0, 3, size=(n, 4))
    mixed = np.column_stack([np.abs(real), counts**2, binary])
    gaussians = [
        Family(
            f"gaussian-{covariance}{'-shared' if shared else ''}",
            lem.Gaussian(covariance=covariance, shared=shared),
            vectors,
        )
        for covariance in ("full", "diagonal", "spherical")
        for shared in (False, True)
    ]
    gaussians += [
        Family(f"gaussian-{letters}", lem.Gaussian(covariance=letters), vectors)
        for letters in lem.covariance.LETTERS
    ]
    zip_ = lem.Switch([lem.PointMass(0), lem.Poisson()])
    return [
        Family("categorical", lem.Categorical(3), levels),
        Family("categorical-levels-from-data", lem.Categorical(), levels),
        Family("bernoulli", lem.Bernoulli(), binary),
        Family("bernoulli-of-booleans", lem.Bernoulli(), binary.astype(bool)),
        Family("poisson", lem.Poisson(), counts),
        Family("poisson-of-floats", lem.Poisson(), counts.astype(float)),
        Family("poisson-parameterised", lem.Poisson(rate=[1.0, 4.0]), counts),
        Family("binomial", lem.Binomial(7), np.minimum(counts, 7)),
        Family("binomial-of-one-trial", lem.Binomial(1), binary),
        Family("geometric", lem.Geometric(), counts),
        Family("negative-binomial", lem.NegativeBinomial(), counts**2),
        Family(
            "negative-binomial-of-known-size", lem.NegativeBinomial(size=2.0), counts, oracle=False
        ),
        Family("independent-categorical", lem.Independent(lem.Categorical(3)), items),
        Family("independent-gamma", lem.Independent(lem.Gamma(), 2), np.exp(vectors)),
        Family("independent-plug-in", lem.Independent(CountedRayleigh(), 2), np.exp(vectors)),
        Family("product", lem.Product([lem.Normal(), lem.Poisson(), lem.Bernoulli()]), mixed),
        Family(
            "product-of-rows",
            lem.Product([CountedRayleigh(), lem.NegativeBinomial()]),
            mixed[:, :2],
        ),
        Family("normal", lem.Normal(), real),
        Family("normal-shared", lem.Normal(shared=True), real),
        Family("normal-far-away", lem.Normal(), real * 1e-3 + 1e5, oracle=False),
        *gaussians,
        Family("gaussian-of-one-column", lem.Gaussian(), real[:, None]),
        Family("gaussian-of-five-columns", lem.Gaussian(), rng.normal(size=(90, 5))),
        Family("point-mass", lem.PointMass(0), levels),
        Family("switch-zero-inflated", zip_, inflated),
        Family("switch-of-normals", lem.Switch([lem.Normal(), lem.Normal(), lem.Normal()]), real),
        Family("fixed-poisson", lem.fixed(lem.Poisson(rate=[1.0, 2.0, 4.0])), counts),
        Family("fixed-table", lem.fixed(lem.Categorical(probs=table)), levels),
        Family("rayleigh", Rayleigh(), np.abs(real) + 0.1),
        Family("rayleigh-with-sampler", CountedRayleigh(), np.abs(real) + 0.1),
        Family("exponential", Exponential(), np.abs(real) + 0.1),
        Family("library-exponential", lem.Exponential(), positive),
        Family("gamma", lem.Gamma(), positive),
        Family("gamma-of-large-shape", lem.Gamma(), 1e8 * (1 + 1e-3 * (real - 3)), oracle=False),
        Family("inverse-gaussian", lem.InverseGaussian(), positive),
        Family("log-normal", lem.LogNormal(), positive),
        Family("log-normal-shared", lem.LogNormal(shared=True), positive),
        Family("library-rayleigh", lem.Rayleigh(), positive),
        Family("weibull", lem.Weibull(), positive),
        Family("von-mises", lem.VonMises(), angles),
        Family("von-mises-fisher", lem.VonMisesFisher(), directions),
        Family("multinomial", lem.Multinomial(), words),
        Family("multinomial-of-known-total", lem.Multinomial(n=6), throws),
        Family("pareto", lem.Pareto(), 2.0 + positive),
        Family("pareto-of-known-minimum", lem.Pareto(minimum=1.5), 2.0 + positive),
        Family("beta", lem.Beta(), positive / (1.0 + positive)),
        Family("dirichlet", lem.Dirichlet(), shares),
        Family("laplace", lem.Laplace(), real),
        Family("uniform", lem.Uniform(), real),
        Family("discrete-uniform", lem.DiscreteUniform(), counts),
        Family("student-t", lem.StudentT(), heavy),
        Family("student-t-of-known-df", lem.StudentT(df=4.0, scale="spherical"), heavy),
        Family("student-t-of-one-column", lem.StudentT(), heavy[:, :1]),
        Family("prototype", lem.Prototype(), vectors),
        Family("prototype-l1", lem.Prototype(lem.dissimilarity.L1()), vectors, oracle=False),
        Family(
            "prototype-cosine", lem.Prototype(lem.dissimilarity.Cosine()), vectors, oracle=False
        ),
        Family(
            "prototype-hamming",
            lem.Prototype(lem.dissimilarity.Hamming()),
            rng.integers(0, 3, size=(n, 4)),
            oracle=False,
        ),
        Family(
            "prototype-medoid",
            lem.Prototype(lem.dissimilarity.Medoid(lambda x, m: np.abs(x - m).max(axis=1))),
            vectors,
            oracle=False,
        ),
    ]


FAMILIES = _families()


# -- models ----------------------------------------------------------------------------------------

Data = Mapping[str, Array]


@dataclass(frozen=True)
class Case:
    """A model template with data, and the assignment rules that it takes."""

    name: str
    model: lem.Model
    data: Data
    hard_only: bool = False

    def __str__(self) -> str:
        return self.name

    @property
    def n(self) -> int:
        return len(next(iter(self.data.values())))

    def rows(self, index: Array) -> dict[str, Array]:
        """The data of the rows ``index``, repeated or permuted."""
        return {name: column[index] for name, column in self.data.items()}


def _gaussian_mixture(covariance: str, shared: bool) -> Case:
    rng = np.random.default_rng(1)
    z = rng.choice(3, p=[0.5, 0.3, 0.2], size=60)
    centres = np.array([[0.0, 0.0], [3.0, 1.0], [1.0, 4.0]])
    x = centres[z] + rng.normal(size=(60, 2)) * [1.0, 0.7]
    latent = lem.latent("z", lem.Categorical(3))
    dist = lem.Gaussian(covariance=covariance, shared=shared)
    name = f"gaussian mixture, {covariance}{', shared' if shared else ''}"
    return Case(name, lem.Model([latent, lem.observed("x", dist, given=latent)]), {"x": x})


def _normal_mixture(dist: lem.Distribution, name: str) -> Case:
    rng = np.random.default_rng(2)
    x = np.concatenate([rng.normal(0, 1, 30), rng.normal(3, 1.5, 30)])
    z = lem.latent("z", lem.Categorical(2))
    return Case(name, lem.Model([z, lem.observed("x", dist, given=z)]), {"x": x})


def _poisson_mixture() -> Case:
    rng = np.random.default_rng(3)
    x = np.concatenate([rng.poisson(2, 30), rng.poisson(9, 30)])
    z = lem.latent("z", lem.Categorical(2))
    model = lem.Model([z, lem.observed("x", lem.Poisson(), given=z)])
    return Case("poisson mixture", model, {"x": x})


def _latent_classes() -> Case:
    rng = np.random.default_rng(4)
    state = rng.integers(0, 2, size=60)
    z = lem.latent("z", lem.Categorical(2))
    nodes = [z]
    data = {}
    for i in range(4):
        data[f"item{i}"] = (rng.random(60) < np.array([0.2, 0.8])[state]).astype(int)
        nodes.append(lem.observed(f"item{i}", lem.Bernoulli(), given=z))
    return Case("latent classes", lem.Model(nodes), data)


def _mixed_table() -> Case:
    rng = np.random.default_rng(5)
    state = rng.integers(0, 3, size=70)
    data = {
        "x": rng.normal(size=(70, 2)) + np.array([[0, 0], [2, 1], [-1, 3]])[state],
        "count": rng.poisson(np.array([1.0, 4.0, 8.0])[state]),
        "level": (state + (rng.random(70) < 0.3)) % 3,
        "score": rng.normal(np.array([0.0, 2.0, 1.0])[state]),
    }
    z = lem.latent("z", lem.Categorical(3))
    nodes = [
        z,
        lem.observed("x", lem.Gaussian(covariance="diagonal"), given=z),
        lem.observed("count", lem.Poisson(), given=z),
        lem.observed("level", lem.Categorical(3), given=z),
        lem.observed("score", lem.Normal(), given=z),
    ]
    return Case("mixed table", lem.Model(nodes), data)


def _two_parents(dist: lem.Distribution, name: str) -> Case:
    rng = np.random.default_rng(6)
    a, b = rng.integers(0, 2, size=80), rng.integers(0, 3, size=80)
    centre = np.array([[2.0, 6.0, 12.0], [4.0, 9.0, 20.0]])[a, b]
    left, right = lem.latent("a", lem.Categorical(2)), lem.latent("b", lem.Categorical(3))
    noisy = (b + (rng.random(80) < 0.2)) % 3
    nodes = [
        left,
        right,
        lem.observed("y", dist, given=[left, right]),
        lem.observed("hint", lem.Categorical(3), given=right),
    ]
    return Case(name, lem.Model(nodes), {"y": rng.poisson(centre) + 1, "hint": noisy})


def _chain_of_latents() -> Case:
    rng = np.random.default_rng(7)
    first = rng.integers(0, 2, size=70)
    second = (first + (rng.random(70) < 0.25)) % 2
    third = (second + (rng.random(70) < 0.25)) % 3
    a = lem.latent("a", lem.Categorical(2))
    b = lem.latent("b", lem.Categorical(2), given=a)
    c = lem.latent("c", lem.Categorical(3), given=b)
    nodes = [
        a,
        b,
        c,
        lem.observed("u", lem.Normal(), given=a),
        lem.observed("v", lem.Poisson(), given=b),
        lem.observed("w", lem.Normal(), given=c),
    ]
    data = {
        "u": rng.normal(first * 2.0),
        "v": rng.poisson(1 + 4 * second),
        "w": rng.normal(third * 3.0),
    }
    return Case("chain of latents", lem.Model(nodes), data)


def _observed_between_latents() -> Case:
    rng = np.random.default_rng(8)
    upper = rng.integers(0, 2, size=70)
    bridge = (upper + (rng.random(70) < 0.2)) % 2
    lower = (bridge + (rng.random(70) < 0.2)) % 2
    z = lem.latent("z", lem.Categorical(2))
    x = lem.observed("x", lem.Categorical(2), given=z)
    w = lem.latent("w", lem.Categorical(2), given=x)
    y = lem.observed("y", lem.Normal(), given=[w, x])
    u = lem.observed("u", lem.Normal(), given=z)
    data = {"x": bridge, "y": rng.normal(3.0 * lower + bridge), "u": rng.normal(2.0 * upper)}
    return Case("observed between latents", lem.Model([z, x, w, y, u]), data)


def _observed_parent() -> Case:
    rng = np.random.default_rng(9)
    group, state = rng.integers(0, 3, size=90), rng.integers(0, 2, size=90)
    g = lem.observed("g", lem.Categorical(3))
    z = lem.latent("z", lem.Categorical(2))
    y = lem.observed("y", lem.Normal(), given=[g, z])
    data = {"g": group, "y": rng.normal(3.0 * state + group)}
    return Case("observed parent", lem.Model([g, z, y]), data)


def _latent_without_child() -> Case:
    rng = np.random.default_rng(10)
    x = np.concatenate([rng.normal(0, 1, 25), rng.normal(4, 1, 35)])
    z = lem.latent("z", lem.Categorical(2))
    idle = lem.latent("idle", lem.Categorical(3), given=z)
    return Case(
        "latent without child",
        lem.Model([z, idle, lem.observed("x", lem.Normal(), given=z)]),
        {"x": x},
    )


def _zero_inflation() -> Case:
    rng = np.random.default_rng(11)
    x = rng.poisson(3.0, size=80) * (rng.random(80) < 0.7)
    z = lem.latent("z", lem.Categorical(2))
    cases = lem.Switch([lem.PointMass(0), lem.Poisson()])
    return Case("zero inflation", lem.Model([z, lem.observed("x", cases, given=z)]), {"x": x})


def _switch_with_second_parent() -> Case:
    rng = np.random.default_rng(12)
    group, state = rng.integers(0, 2, size=90), rng.integers(0, 2, size=90)
    x = np.where(state, rng.poisson(3 + 4 * group), 0)
    z, g = lem.latent("z", lem.Categorical(2)), lem.observed("g", lem.Bernoulli())
    cases = lem.Switch([lem.PointMass(0), lem.Poisson()])
    nodes = [z, g, lem.observed("x", cases, given=[z, g])]
    return Case("switch with a second parent", lem.Model(nodes), {"x": x, "g": group})


def _fixed_table() -> Case:
    # Two alleles in free proportions, and a known table from pairs of alleles to blood groups.
    table = np.zeros((3, 3, 4))
    for pair, group in {(0, 0): 0, (0, 2): 0, (1, 1): 1, (1, 2): 1, (0, 1): 2, (2, 2): 3}.items():
        table[pair][group] = table[pair[::-1]][group] = 1.0
    mother, father = (
        lem.latent("mother", lem.Categorical(3)),
        lem.latent("father", lem.Categorical(3)),
    )
    blood = lem.observed("blood", lem.fixed(lem.Categorical(probs=table)), given=[mother, father])
    data = {"blood": np.repeat([0, 1, 2, 3], [36, 8, 3, 54])}
    return Case("fixed table", lem.Model([mother, father, blood]), data)


def _rayleigh_mixture() -> Case:
    rng = np.random.default_rng(13)
    x = np.concatenate([rng.rayleigh(1.0, 40), rng.rayleigh(4.0, 40)])
    z = lem.latent("z", lem.Categorical(2))
    return Case(
        "rayleigh mixture", lem.Model([z, lem.observed("x", Rayleigh(), given=z)]), {"x": x}
    )


def _mixture_of(dist: lem.Distribution, name: str) -> Case:
    rng = np.random.default_rng(14)
    x = np.concatenate([rng.gamma(4.0, 0.5, 40), rng.gamma(9.0, 1.0, 40)])
    z = lem.latent("z", lem.Categorical(2))
    return Case(name, lem.Model([z, lem.observed("x", dist, given=z)]), {"x": x})


def _table_of_positive_values() -> Case:
    rng = np.random.default_rng(15)
    state = rng.integers(0, 2, size=70)
    data = {
        "wait": rng.exponential(np.array([1.0, 6.0])[state]),
        "time": rng.wald(np.array([1.0, 4.0])[state], 5.0),
        "income": rng.lognormal(np.array([0.0, 2.0])[state], 0.7),
        "share": rng.beta(np.array([2.0, 6.0])[state], 3.0),
    }
    z = lem.latent("z", lem.Categorical(2))
    nodes = [
        z,
        lem.observed("wait", lem.Exponential(), given=z),
        lem.observed("time", lem.InverseGaussian(), given=z),
        lem.observed("income", lem.LogNormal(), given=z),
        lem.observed("share", lem.Beta(), given=z),
    ]
    return Case("table of positive values", lem.Model(nodes), data)


def _angles() -> Case:
    rng = np.random.default_rng(16)
    x = np.concatenate([rng.vonmises(3.0, 4.0, 40), rng.vonmises(0.0, 1.5, 30)])
    z = lem.latent("z", lem.Categorical(2))
    model = lem.Model([z, lem.observed("x", lem.VonMises(), given=z)])
    return Case("mixture of angles", model, {"x": x})


def _kmeans() -> Case:
    x = _gaussian_mixture("full", shared=False).data["x"]
    z = lem.latent("z", lem.Choice(3))
    model = lem.Model([z, lem.observed("x", lem.Prototype(), given=z)])
    return Case("k-means", model, {"x": x}, hard_only=True)


MODELS = [
    *(_gaussian_mixture(c, s) for c in ("full", "diagonal", "spherical") for s in (False, True)),
    _gaussian_mixture("VEV", shared=False),
    _normal_mixture(lem.Normal(), "normal mixture"),
    _normal_mixture(lem.Normal(shared=True), "normal mixture, shared"),
    _normal_mixture(lem.Switch([lem.Normal(), lem.Normal()]), "switch of normals"),
    _poisson_mixture(),
    _latent_classes(),
    _mixed_table(),
    _two_parents(lem.Poisson(), "two parents"),
    _two_parents(CountedRayleigh(), "two parents of a plug-in"),
    _chain_of_latents(),
    _observed_between_latents(),
    _observed_parent(),
    _latent_without_child(),
    _zero_inflation(),
    _switch_with_second_parent(),
    _fixed_table(),
    _rayleigh_mixture(),
    _mixture_of(lem.Gamma(), "gamma mixture"),
    _mixture_of(lem.Weibull(), "weibull mixture"),
    _table_of_positive_values(),
    _angles(),
    _kmeans(),
]

PROBABILISTIC = [case for case in MODELS if not case.hard_only]


def numbers(model: lem.Model) -> dict[str, Any]:
    """All parameters of a model, flat names: what two equal models agree in."""
    return {
        f"{node.name}.{name}": array
        for node in model.nodes
        for name, array in model[node.name].parameters.items()
    }
