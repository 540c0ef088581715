"""The peers: each as a call that makes m steps from a given start, and how to read its result.

Every function takes the data and the start of a workload and returns a `Side`. What a peer does
differently in the same number of steps stands in `README.md`. Modules are imported where they are
used: a peer that is not installed is skipped.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@attrs.frozen
class Result:
    """What a fit found.

    ``objective`` is the log-likelihood, or J. A peer that ends on an M-step knows it only of the
    parameters before (``lag`` 1); ``earlier`` is what such a one is compared with.
    """

    objective: float
    parameters: tuple[Array, ...]
    iterations: int
    lag: int = 0
    earlier: float | None = None


@attrs.frozen
class Side:
    """``call`` is timed: with m steps, until convergence with None, or with the seed of a fit."""

    call: Callable[[Any], Any]
    read: Callable[[Any], Result]
    compares: bool = True  # whether its parameters are those of the other side


@attrs.frozen
class MixtureStart:
    """A Gaussian mixture; ``form`` is full, diagonal, spherical or shared."""

    probs: Array  # (k,)
    mean: Array  # (k, d)
    covariance: Array  # (k, d, d)
    form: str

    @property
    def k(self) -> int:
        return len(self.probs)


PACKAGES = {
    "scikit-learn": "sklearn",
    "scikit-learn-intelex": "sklearnex",
    "daal4py": "daal4py",
    "faiss": "faiss",
    "StepMix": "stepmix",
    "pomegranate": "pomegranate",
}
DISTRIBUTIONS = {"faiss": "faiss-cpu", "daal4py": "scikit-learn-intelex"}


def is_installed(name: str) -> bool:
    return name not in PACKAGES or importlib.util.find_spec(PACKAGES[name]) is not None


def version(name: str) -> str:
    return importlib.metadata.version(DISTRIBUTIONS.get(name, name))


def _one_blas_thread() -> contextlib.AbstractContextManager[Any]:
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1, user_api="blas")


def _one_thread() -> contextlib.AbstractContextManager[Any]:
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1)


@contextlib.contextmanager
def _one_daal_thread() -> Iterator[None]:
    import daal4py

    threads = daal4py.num_threads()
    daal4py.daalinit(1)
    try:
        yield
    finally:
        daal4py.daalinit(threads)


Context = Callable[[], contextlib.AbstractContextManager[Any]]


def settings(name: str) -> dict[str, Context]:
    """Return the ways in which a side is run, of which the fastest counts.

    Of scikit-learn's threads only BLAS's get in the way; torch's and faiss's wait for each other
    actively, which costs a lot where others use the machine.
    """
    own: dict[str, Context] = {"own threads": contextlib.nullcontext}
    if name in ("latentem", "without holes"):
        return own
    if name == "daal4py":
        return own | {"one thread": _one_daal_thread}
    if name.startswith("scikit-learn"):
        return own | {"one BLAS thread": _one_blas_thread}
    return own | {"one thread": _one_thread}


def sklearn_mixture(X: Array, start: MixtureStart) -> Side:
    from sklearn.mixture import GaussianMixture

    precisions = np.linalg.inv(start.covariance)
    form, precisions = {
        "full": ("full", precisions),
        "diagonal": ("diag", np.einsum("kii->ki", precisions)),
        "spherical": ("spherical", precisions[:, 0, 0]),
        "shared": ("tied", precisions[0]),
    }[start.form]

    def call(m: int | None) -> Any:
        return GaussianMixture(
            start.k,
            covariance_type=form,
            weights_init=start.probs,
            means_init=start.mean,
            precisions_init=precisions,
            max_iter=m or 1000,
            tol=0 if m else 1e-6,
            reg_covar=0,
        ).fit(X)

    def read(fit: Any) -> Result:
        parameters = (fit.weights_, fit.means_, fit.covariances_)
        return Result(len(X) * fit.lower_bound_, parameters, fit.n_iter_, lag=1)

    return Side(call, read)


def daal4py_mixture(X: Array, start: MixtureStart) -> Side:
    import daal4py

    covariance = start.covariance
    if start.form == "diagonal":
        covariance = np.einsum("kii->ki", covariance)[:, None]

    def call(m: int | None) -> Any:
        algorithm = daal4py.em_gmm(
            nComponents=start.k,
            maxIterations=m or 1000,
            accuracyThreshold=0.0 if m else 1e-6 * len(X),  # on the sum over rows
            regularizationFactor=0.0,
            covarianceStorage=start.form,
        )
        return algorithm.compute(X, start.probs[None], start.mean, list(covariance))

    def read(fit: Any) -> Result:
        covariance = np.array(fit.covariances)
        if start.form == "diagonal":
            covariance = covariance[:, 0]
        parameters = (fit.weights[0], fit.means, covariance)
        return Result(float(fit.goalFunction[0, 0]), parameters, int(fit.nIterations[0, 0]), lag=1)

    return Side(call, read)


def _pomegranate(X: Array, make: Callable[[Any], tuple[Any, Any]], read: Any) -> Side:
    """Return a side for ``make(tensor) -> (distributions, priors)``; read(fit) -> parameters."""
    import torch
    from pomegranate.gmm import GeneralMixtureModel

    # Its records take torch's default, and float32 ones would spoil the comparison.
    torch.set_default_dtype(torch.float64)
    holes = np.isnan(X)
    data = torch.from_numpy(np.where(holes, 0.0, X) if holes.any() else X)
    if holes.any():
        data = torch.masked.MaskedTensor(data, mask=torch.from_numpy(~holes))

    def call(m: int | None) -> Any:
        dists, priors = make(torch.tensor)  # copies: pomegranate writes into its parameters
        return GeneralMixtureModel(dists, priors=priors, max_iter=m, tol=-np.inf).fit(data)

    def result(fit: Any) -> Result:
        parameters = (fit.priors.numpy(), *read(fit.distributions))
        return Result(np.nan, parameters, fit.max_iter, lag=1)

    return Side(call, result)


def pomegranate_mixture(X: Array, start: MixtureStart) -> Side:
    from pomegranate.distributions import Normal

    variance = np.einsum("kii->ki", start.covariance)

    def make(tensor: Any) -> tuple[Any, Any]:
        pairs = zip(start.mean, variance, strict=True)
        dists = [Normal(tensor(m), tensor(v), covariance_type="diag") for m, v in pairs]
        return dists, tensor(start.probs)

    def read(dists: Any) -> tuple[Array, ...]:
        return np.stack([dist.means for dist in dists]), np.stack([dist.covs for dist in dists])

    return _pomegranate(X, make, read)


def pomegranate_counts(counts: Array, probs: Array, rate: Array) -> Side:
    from pomegranate.distributions import Poisson

    return _pomegranate(
        counts[:, None].astype(float),
        lambda tensor: ([Poisson(tensor([each])) for each in rate], tensor(probs)),
        lambda dists: (np.concatenate([dist.lambdas for dist in dists]),),
    )


def pomegranate_table(table: dict[str, Array], start: dict[str, Array]) -> Side:
    """Two Normal columns, one Poisson, two categorical."""
    import torch
    from pomegranate.distributions import Categorical, IndependentComponents, Normal, Poisson

    class Codes(Categorical):  # type: ignore[misc]
        """A table is of one type, floats; Categorical indexes by its column, so by integers."""

        def log_probability(self, X: Any) -> Any:
            return super().log_probability(X.to(torch.int64))

    def make(tensor: Any) -> tuple[Any, Any]:
        def component(j: int) -> Any:
            a, b = (
                Normal(tensor(start[f"{x}_mean"][j : j + 1]), tensor(start[f"{x}_var"][j : j + 1]),
                       covariance_type="diag")
                for x in ("a", "b")
            )  # fmt: skip
            codes = [Codes(tensor(start[x][j][None])) for x in ("c", "d")]
            return IndependentComponents([a, b, Poisson(tensor(start["count"][j : j + 1])), *codes])

        return [component(j) for j in range(len(start["z"]))], tensor(start["z"])

    def read(dists: Any) -> tuple[Array, ...]:
        a, b, count, c, d = zip(*(dist.distributions for dist in dists), strict=True)
        return (
            *(np.concatenate([x.means for x in column]) for column in (a, b)),
            *(np.concatenate([x.covs for x in column]) for column in (a, b)),
            np.concatenate([x.lambdas for x in count]),
            *(np.concatenate([x.probs for x in column]) for column in (c, d)),
        )

    return _pomegranate(np.column_stack(list(table.values())).astype(float), make, read)


def stepmix_classes(X: Array, start_probs: Array, start_items: Array) -> Side:
    """``X`` (n, items) of codes; ``start_items`` (k, items, levels)."""
    from stepmix import StepMix

    k, items, levels = start_items.shape

    class Started(StepMix):  # type: ignore[misc]
        """StepMix from a start of ours; its own is random."""

        def _initialize_parameters(self, X: Array, random_state: Any) -> None:
            self.weights_ = start_probs
            self.log_resp_ = np.zeros((1, k))
            self._initialize_parameters_measurement(X, random_state, init_emission=False)
            self._mm.parameters |= {
                "pis": start_items.reshape(k, -1),
                "max_n_outcomes": levels,
                "total_outcomes": items * levels,
            }

    def call(m: int | None) -> Any:
        return Started(
            k, measurement="categorical", max_iter=m, abs_tol=0, rel_tol=0, progress_bar=0
        ).fit(X)

    def read(fit: Any) -> Result:
        tables = fit.get_parameters()["measurement"]["pis"].reshape(start_items.shape)
        objective = len(X) * fit.lower_bound_
        return Result(objective, (fit.weights_, tables), fit.n_iter_, lag=1)

    return Side(call, read)


def _kmeans(estimator: Any, X: Array, prototypes: Array) -> Side:
    def call(m: int | None) -> Any:
        options = {"n_init": 1, "max_iter": m or 10_000, "tol": 0, "algorithm": "lloyd"}
        return estimator(len(prototypes), init=prototypes, **options).fit(X)

    def read(fit: Any) -> Result:
        return Result(float(fit.inertia_), (fit.cluster_centers_,), fit.n_iter_)

    return Side(call, read)


def sklearn_kmeans(X: Array, prototypes: Array) -> Side:
    from sklearn.cluster import KMeans

    return _kmeans(KMeans, X, prototypes)


def sklearnex_kmeans(X: Array, prototypes: Array) -> Side:
    from sklearnex.cluster import KMeans

    return _kmeans(KMeans, X, prototypes)


def faiss_kmeans(X: Array, prototypes: Array) -> Side:
    import faiss

    every_row = {"max_points_per_centroid": len(X), "min_points_per_centroid": 1}

    def call(m: int | None) -> Any:
        kmeans = faiss.Kmeans(X.shape[1], len(prototypes), niter=m, **every_row)
        kmeans.train(X, init_centroids=prototypes)
        return kmeans

    def read(fit: Any) -> Result:
        return Result(float(fit.obj[-1]), (fit.centroids,), len(fit.obj), lag=1)

    return Side(call, read)


def sklearn_default_mixture(X: Array, k: int) -> Side:
    """The default call with a seed."""
    from sklearn.mixture import GaussianMixture

    def read(fit: Any) -> Result:
        return Result(len(X) * fit.score(X), (), fit.n_iter_)

    return Side(lambda seed: GaussianMixture(k, random_state=seed).fit(X), read)


def sklearn_seeds(X: Array, k: int) -> Side:
    from sklearn.cluster import kmeans_plusplus

    return Side(
        lambda seed: kmeans_plusplus(X, k, random_state=seed)[0],
        lambda points: Result(np.nan, (points,), 0),
    )


def daal4py_seeds(X: Array, k: int) -> Side:
    """Seeds by as many trials as the others make; it has a random number generator of its own."""
    import daal4py

    real = "float" if X.dtype == np.float32 else "double"
    options = {"method": "plusPlusDense", "fptype": real, "nTrials": 2 + int(np.log(k))}

    def call(seed: int) -> Array:
        engine = daal4py.engines_mt19937(seed=seed, fptype=real, method="defaultDense")
        return daal4py.kmeans_init(k, engine=engine, **options).compute(X).centroids

    return Side(call, lambda points: Result(np.nan, (points,), 0))
