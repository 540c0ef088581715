"""The workloads: what is fitted, by whom else, and how fast it is meant to be. One entry a row.

A `Case` holds a workload's data and sides, made for a number of rows. latentem's side is always the
public call `lem.fit`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import peers
from limits import Cost
from peers import MixtureStart, Result, Side

import latentem as lem

Array = peers.Array
Parameters = Callable[[lem.Model], tuple[Array, ...]]

PAGODA = Path(__file__).parents[1] / "models" / "pagoda.png"


@attrs.frozen
class Case:
    """The sides of one workload; those of peers are made when asked for."""

    ours: Side
    peers: Mapping[str, Callable[[], Side]]


@attrs.frozen
class Workload:
    """One row of the table.

    Attributes
    ----------
    title : str
        With ``{n}`` for the number of rows.
    rows : int
    make : callable
        Number of rows -> `Case`.
    bars : dict
        Peer -> least ratio (its time / ours), and the one to head for. "best": of all peers.
    kind : str
        ``"step"``: the same number of steps; ``"converged"``: from one start until convergence;
        ``"seeds"``: default calls with one seed after the other; ``"seeding"``: the same of what
        only chooses a start; ``"memory"``: the peak beside the data.
    steps : int
        Steps of a timed fit; how many seeds.
    cost : callable or None
        Number of rows -> `Cost` of a step.
    quoted : dict
        Milliseconds a step that others published.
    """

    title: str
    rows: int
    make: Callable[[int], Case]
    bars: dict[str, tuple[float, float | None]]
    kind: str = "step"
    steps: int = 10
    cost: Callable[[int], Cost] | None = None
    quoted: dict[str, float] = attrs.field(factory=dict)
    fixed_rows: bool = False  # real data: all of them, always


def fitted(model: lem.Model, data: Any, parameters: Parameters, **options: Any) -> Side:
    """Return latentem's side: m plain steps from the start that ``model`` is.

    Or a fit until converged, with the options.
    """

    def call(m: int | None) -> lem.Fit:
        plain = {"accelerate": None, "tol": 0, "max_iter": m}
        return lem.fit(model, data, restarts=1, **{**options, **(plain if m else {})})

    def read(fit: lem.Fit) -> Result:
        kmeans = bool(fit.model.requires_hard)
        sign = -1.0 if kmeans else 1.0
        e_steps = [row.objective for row in fit.trace if row.phase == "E"]
        objective = fit.distortion if kmeans else fit.log_likelihood
        earlier = sign * e_steps[-2] if len(e_steps) > 1 else None
        return Result(objective, parameters(fit.model), fit.iterations, earlier=earlier)

    return Side(call, read)


def blobs(n: int, d: int, k: int, *, near: bool = False) -> tuple[Array, Array]:
    """Return rows (n, d) of k overlapping Gaussians of random shapes, and k points as a start.

    Any rows, or of many columns, where from these some states would lose theirs, points near the
    Gaussians' means.
    """
    rng = np.random.default_rng(0)
    mean = 2.0 * rng.normal(size=(k, d))
    shape = rng.normal(size=(k, d, d)) / np.sqrt(d) + 0.5 * np.eye(d)
    z = rng.integers(k, size=n)
    X = rng.normal(size=(n, d))
    for j in range(k):
        rows = z == j
        X[rows] = mean[j] + X[rows] @ shape[j].T
    return X, mean + rng.normal(size=mean.shape) if near else X[rng.choice(n, k, replace=False)]


def mixture_start(X: Array, mean: Array, form: str) -> MixtureStart:
    """Return equal proportions, and the covariance of all rows for every state."""
    k, d = mean.shape
    covariance = np.atleast_2d(np.cov(X.T, bias=True))
    if form == "diagonal":
        covariance = np.diag(np.diag(covariance))
    if form == "spherical":
        covariance = np.eye(d) * np.trace(covariance) / d
    return MixtureStart(np.full(k, 1 / k), mean, np.repeat(covariance[None], k, axis=0), form)


def mixture_model(start: MixtureStart) -> lem.Model:
    form: dict[str, Any] = {"structure": start.form}
    if start.form == "shared":
        form = {"shared": True}
    z = lem.latent("z", lem.Categorical(probs=start.probs))
    x = lem.Gaussian(mean=start.mean, covariance=start.covariance, **form)
    return lem.Model([z, lem.observed("x", x, given=z)])


def mixture_parameters(form: str) -> Parameters:
    """Return a reader: covariances as peers give them."""

    def read(model: lem.Model) -> tuple[Array, ...]:
        covariance = {
            "full": lambda c: c,
            "diagonal": lambda c: np.einsum("kii->ki", c),
            "spherical": lambda c: c[:, 0, 0],
            "shared": lambda c: c[0],
        }[form](model["x"].covariance)
        return model["z"].probs, model["x"].mean, covariance

    return read


def mixture(n: int, *, d: int, k: int, form: str = "full", near: bool = False) -> Case:
    X, mean = blobs(n, d, k, near=near)
    return mixture_case(X, mixture_start(X, mean, form))


def mixture_case(X: Array, start: MixtureStart) -> Case:
    others: dict[str, Callable[[], Side]] = {
        "scikit-learn": lambda: peers.sklearn_mixture(X, start)
    }
    if start.form in ("full", "diagonal"):
        others["daal4py"] = lambda: peers.daal4py_mixture(X, start)
    return Case(fitted(mixture_model(start), X, mixture_parameters(start.form)), others)


def old_faithful(n: int) -> Case:
    X = lem.datasets.old_faithful().data
    return mixture_case(X, mixture_start(X, np.array([[2.0, 80.0], [4.5, 55.0]]), "full"))


def latent_classes(n: int) -> Case:
    items, levels, k = 20, 4, 6
    rng = np.random.default_rng(0)
    truth, start = rng.dirichlet(np.ones(levels), size=(2, k, items))
    edges = truth.cumsum(axis=-1)[rng.integers(k, size=n)]  # (n, items, levels)
    X = (rng.random((n, items, 1)) > edges[..., :-1]).sum(axis=-1)
    probs = np.full(k, 1 / k)
    z = lem.latent("z", lem.Categorical(probs=probs))
    nodes = [
        lem.observed(f"q{i}", lem.Categorical(probs=start[:, i]), given=z) for i in range(items)
    ]

    def parameters(model: lem.Model) -> tuple[Array, ...]:
        tables = [model[f"q{i}"].probs for i in range(items)]
        return model["z"].probs, np.stack(tables, axis=1)

    ours = fitted(lem.Model([z, *nodes]), {f"q{i}": X[:, i] for i in range(items)}, parameters)
    return Case(ours, {"StepMix": lambda: peers.stepmix_classes(X, probs, start)})


def counts(n: int) -> Case:
    k = 5
    rng = np.random.default_rng(0)
    x = rng.poisson(np.array([1.0, 4.0, 9.0, 16.0, 25.0])[rng.integers(k, size=n)])
    probs, rate = np.full(k, 1 / k), np.array([2.0, 5.0, 8.0, 14.0, 22.0])
    z = lem.latent("z", lem.Categorical(probs=probs))
    model = lem.Model([z, lem.observed("x", lem.Poisson(rate=rate), given=z)])
    ours = fitted(model, {"x": x}, lambda model: (model["z"].probs, model["x"].rate))
    return Case(ours, {"pomegranate": lambda: peers.pomegranate_counts(x, probs, rate)})


def mixed_table(n: int) -> Case:
    k = 4
    rng = np.random.default_rng(0)
    z = rng.integers(k, size=n)
    table = {
        "a": 2.0 * z + rng.normal(size=n),
        "b": -1.5 * z + 2.0 * rng.normal(size=n),
        "count": rng.poisson(2.0 + 3.0 * z),
        "c": (z + rng.integers(2, size=n)) % 4,
        "d": (z + rng.integers(3, size=n)) % 3,
    }
    start = {
        "z": np.full(k, 1 / k),
        "a_mean": np.array([0.5, 1.5, 4.0, 5.0]),
        "a_var": np.full(k, 2.0),
        "b_mean": np.array([0.0, -1.0, -3.0, -4.0]),
        "b_var": np.full(k, 3.0),
        "count": np.array([2.0, 4.0, 8.0, 10.0]),
        "c": rng.dirichlet(np.full(4, 5.0), size=k),
        "d": rng.dirichlet(np.full(3, 5.0), size=k),
    }
    latent = lem.latent("z", lem.Categorical(probs=start["z"]))
    normal = {
        x: lem.Normal(mean=start[f"{x}_mean"], variance=start[f"{x}_var"]) for x in ("a", "b")
    }
    dists = {
        **normal,
        "count": lem.Poisson(rate=start["count"]),
        "c": lem.Categorical(probs=start["c"]),
        "d": lem.Categorical(probs=start["d"]),
    }
    nodes = [lem.observed(name, dist, given=latent) for name, dist in dists.items()]

    def parameters(model: lem.Model) -> tuple[Array, ...]:
        return (
            model["z"].probs,
            *(model[x].mean for x in ("a", "b")),
            *(model[x].variance for x in ("a", "b")),
            model["count"].rate,
            *(model[x].probs for x in ("c", "d")),
        )

    return Case(
        fitted(lem.Model([latent, *nodes]), table, parameters),
        {"pomegranate": lambda: peers.pomegranate_table(table, start)},
    )


def regressions(n: int) -> Case:
    d, k = 10, 4
    rng = np.random.default_rng(0)
    truth, start = rng.normal(size=(2, k, 1, d))
    u, z = rng.normal(size=(n, d)), rng.integers(k, size=n)
    y = np.einsum("nd,nd->n", u, truth[z, 0]) + 0.5 * rng.normal(size=n)
    latent, given = lem.latent("z", lem.Categorical(probs=np.full(k, 1 / k))), lem.covariate("u")
    line = lem.LinearGaussian(
        intercept=np.zeros((k, 1)), coefficients=start, covariance=np.full((k, 1, 1), y.var())
    )
    model = lem.Model([latent, given, lem.observed("y", line, given=[latent, given])])
    return Case(fitted(model, {"u": u, "y": y}, lambda model: (model["z"].probs,)), {})


def gaps(n: int, *, form: str) -> Case:
    """A fifth of the entries missing, at random."""
    X, mean = blobs(n, 8, 8)
    start = mixture_start(X, mean, form)
    holed = np.where(np.random.default_rng(1).random(X.shape) < 0.2, np.nan, X)
    model, parameters = mixture_model(start), mixture_parameters(form)

    def without_holes() -> Side:
        return attrs.evolve(fitted(model, X, parameters), compares=False)

    others: dict[str, Callable[[], Side]] = {"without holes": without_holes}
    if form == "diagonal":
        # Its step averages observed entries only: another map, with the same fixed points.
        others["pomegranate"] = lambda: attrs.evolve(
            peers.pomegranate_mixture(holed, start), compares=False
        )
    return Case(fitted(model, holed, parameters), others)


def photograph(n: int, *, enlarged: bool = False) -> Array:
    """Return the colours of the gallery's photograph, or n of them from a smooth enlargement."""
    from matplotlib.image import imread
    from scipy.ndimage import zoom

    picture = 255.0 * imread(PAGODA)[..., :3].astype(float)
    if enlarged:
        factor = np.sqrt(n / (picture.shape[0] * picture.shape[1])) * 1.01
        picture = zoom(picture, (factor, factor, 1), order=3).clip(0, 255)
    return np.ascontiguousarray(picture.reshape(-1, 3)[:n].round())


def colours(n: int, *, k: int, enlarged: bool = False) -> Case:
    X = photograph(n, enlarged=enlarged)
    distinct = np.unique(X, axis=0)
    return kmeans_case(X, distinct[:: len(distinct) // k][:k])


def prototypes(n: int, *, d: int, k: int) -> Case:
    X, start = blobs(n, d, k)
    return kmeans_case(X.astype(np.float32), start.astype(np.float32))


def kmeans_case(X: Array, start: Array) -> Case:
    z = lem.latent("z", lem.Choice(len(start)))
    model = lem.Model([z, lem.observed("x", lem.Prototype(prototypes=start), given=z)])
    ours = fitted(
        model,
        X,
        lambda model: (model["x"].prototypes,),
        assign=lem.hard,
        accelerate=None,
        tol=1e-15,
    )
    others: dict[str, Callable[[], Side]] = {
        "scikit-learn": lambda: peers.sklearn_kmeans(X, start),
        "scikit-learn-intelex": lambda: peers.sklearnex_kmeans(X, start),
    }
    if X.dtype == np.float32:
        others["faiss"] = lambda: peers.faiss_kmeans(X, start)
    return Case(ours, others)


def seeding(n: int, *, d: int, k: int, real: type = float) -> Case:
    X = blobs(n, d, k)[0].astype(real)
    model = lem.models.kmeans(k)
    ours = Side(
        lambda seed: lem.initialize(model, X, init=lem.init.plus_plus, seed=seed),
        lambda start: Result(np.nan, (start["x"].prototypes,), 0),
    )
    others = {
        "scikit-learn": lambda: peers.sklearn_seeds(X, k),
        "daal4py": lambda: peers.daal4py_seeds(X, k),
    }
    return Case(ours, others)


def default_mixture(n: int, *, d: int, k: int) -> Case:
    X, _ = blobs(n, d, k)
    model = lem.models.gaussian_mixture(k)
    ours = Side(
        lambda seed: lem.fit(model, X, seed=seed),
        lambda fit: Result(fit.log_likelihood, (), fit.iterations),
    )
    return Case(ours, {"scikit-learn": lambda: peers.sklearn_default_mixture(X, k)})


WORKLOADS: dict[str, Workload] = {
    "full": Workload(
        "mixture, full, {n} × 8, k 16",
        1_000_000,
        partial(mixture, d=8, k=16),
        {"daal4py": (2.8, 5), "scikit-learn": (20, 40)},
        cost=lambda n: Cost.mixture(n, 16, 45, 8),
    ),
    "full-32": Workload(
        "mixture, full, {n} × 32, k 32",
        200_000,
        partial(mixture, d=32, k=32, near=True),
        {"daal4py": (2.2, 4), "scikit-learn": (10, None)},
        cost=lambda n: Cost.mixture(n, 32, 561, 32),
    ),
    "full-128": Workload(
        "mixture, full, {n} × 128, k 8",
        20_000,
        partial(mixture, d=128, k=8),
        {"daal4py": (1.0, 2), "scikit-learn": (2.2, None)},
        cost=lambda n: Cost.mixture(n, 8, 8385, 128),
    ),
    "diagonal": Workload(
        "mixture, diagonal, {n} × 16, k 32",
        1_000_000,
        partial(mixture, d=16, k=32, form="diagonal"),
        {"daal4py": (2.2, 4)},
        cost=lambda n: Cost.mixture(n, 32, 33, 16),
    ),
    "shared": Workload(
        "mixture, shared covariance, {n} × 8, k 16",
        1_000_000,
        partial(mixture, d=8, k=16, form="shared"),
        {"scikit-learn": (30, 80)},
        cost=lambda n: Cost.mixture(n, 16, 9, 8),
    ),
    "spherical": Workload(
        "mixture, spherical, {n} × 8, k 16",
        1_000_000,
        partial(mixture, d=8, k=16, form="spherical"),
        {"scikit-learn": (2.3, 8)},
        cost=lambda n: Cost.mixture(n, 16, 10, 8),
    ),
    "one-dimension": Workload(
        "mixture, one dimension, {n}, k 3",
        1_000_000,
        partial(mixture, d=1, k=3),
        {"daal4py": (1.5, 4), "scikit-learn": (20, None)},
        cost=lambda n: Cost.mixture(n, 3, 3, 1),
    ),
    "faithful": Workload(
        "Old Faithful, full, k 2, a step",
        272,
        old_faithful,
        {"scikit-learn": (6, 50)},
        steps=40,  # later steps change nothing, and daal4py then stops
        cost=lambda n: Cost.mixture(272, 2, 6, 2),
        fixed_rows=True,
    ),
    "faithful-converged": Workload(
        "Old Faithful, full, k 2, one start until converged",
        272,
        old_faithful,
        {"daal4py": (1, 5)},
        kind="converged",
        fixed_rows=True,
    ),
    "latent-classes": Workload(
        "latent classes, {n} × 20 items of 4 levels, k 6",
        100_000,
        latent_classes,
        {"StepMix": (8, 20)},
        cost=lambda n: Cost.mixture(n, 6, 80, 20),
    ),
    "poisson": Workload(
        "Poisson mixture, {n}, k 5",
        1_000_000,
        counts,
        {"pomegranate": (1000, None)},
        steps=100,
        cost=lambda n: Cost.mixture(60, 5, 2, 1),  # as many distinct rows
    ),
    "mixed": Workload(
        "2 Gaussian + Poisson + 2 categorical, {n}, k 4",
        200_000,
        mixed_table,
        {"pomegranate": (7, 15)},
        cost=lambda n: Cost.mixture(n, 4, 13, 5),
    ),
    "regressions": Workload(
        "mixture of regressions, {n} × 10, k 4",
        100_000,
        regressions,
        {"flexmix": (8, 20)},
        cost=lambda n: Cost.mixture(n, 4, 45, 11),  # residuals in: 12 each, moments out: 78
        quoted={"flexmix": 192.0},
    ),
    "gaps-diagonal": Workload(
        "20 % missing, diagonal, {n} × 8, k 8",
        100_000,
        partial(gaps, form="diagonal"),
        {"pomegranate": (30, 60)},
        cost=lambda n: Cost.mixture(n, 8, 25, 8),
    ),
    "gaps-full": Workload(
        "20 % missing, full, {n} × 8, k 8",
        100_000,
        partial(gaps, form="full"),
        {"without holes": (1 / 6, 1 / 2)},
        cost=lambda n: Cost.mixture(n, 8, 53, 8),
    ),
    "kmeans-photograph": Workload(
        "K-means until converged, a photograph, {n} × 3, k 10",
        43_200,
        partial(colours, k=10),
        {"best": (1.6, 3)},
        kind="converged",
    ),
    "kmeans-colours": Workload(
        "K-means until converged, its enlargement, {n} × 3, k 16",
        1_000_000,
        partial(colours, k=16, enlarged=True),
        {"best": (1.8, 3)},
        kind="converged",
    ),
    "kmeans-128": Workload(
        "K-means, 20 steps, float32, {n} × 128, k 256",
        100_000,
        partial(prototypes, d=128, k=256),
        {"best": (1.0, 1.3)},
        steps=20,
        cost=lambda n: Cost.assignment(n, 256, 128, True),
    ),
    "kmeans-16": Workload(
        "K-means, 20 steps, float32, {n} × 16, k 64",
        1_000_000,
        partial(prototypes, d=16, k=64),
        {"best": (1.0, 1.3)},
        steps=20,
        cost=lambda n: Cost.assignment(n, 64, 16, True),
    ),
    "seeding": Workload(
        "k-means++, {n} × 8, k 16, five seeds",
        1_000_000,
        partial(seeding, d=8, k=16),
        {"scikit-learn": (1, 6)},
        kind="seeding",
        steps=5,
    ),
    "seeding-128": Workload(
        "k-means++, float32, {n} × 128, k 256, five seeds",
        100_000,
        partial(seeding, d=128, k=256, real=np.float32),
        {"scikit-learn": (1, 6)},
        kind="seeding",
        steps=5,
    ),
    "default": Workload(
        "whole fit by the default call, full, {n} × 8, k 16",
        1_000_000,
        partial(default_mixture, d=8, k=16),
        {"scikit-learn": (20, 40)},
        kind="seeds",
        steps=1,
    ),
    "default-seeds": Workload(
        "whole fit by the default call, full, {n} × 8, k 16, ten seeds",
        200_000,
        partial(default_mixture, d=8, k=16),
        {"scikit-learn": (10, None)},
        kind="seeds",
        steps=10,
    ),
    "memory": Workload(
        "memory beside the data, mixture, full, {n} × 8, k 16",
        1_000_000,
        partial(mixture, d=8, k=16),
        {"scikit-learn": (10, None)},
        kind="memory",
        steps=2,
    ),
}
