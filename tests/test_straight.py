"""Fits that go straight are those of the general way."""

from __future__ import annotations

import gc
import pickle
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import attrs
import numpy as np
import pytest
from test_natural import AT_ONCE, MODELS

import latentem as lem
from latentem.em import fit as fitting
from latentem.em import straight
from latentem.em.accelerate import squarem
from latentem.em.natural import MOST_AT_ONCE
from latentem.kernels import compiled
from latentem.kernels.steps import EMSteps
from latentem.repeats import FEWEST

if not compiled.available():
    pytest.skip("without the compiler", allow_module_level=True)
compiled.loops()


def _generally(monkeypatch: pytest.MonkeyPatch, call: Callable[[], Any]) -> Any:
    with monkeypatch.context() as patch:
        patch.setattr(fitting, "fit_straight", lambda *_: None)
        return call()


def _is_straight(fit: lem.Fit) -> bool:
    return isinstance(fit._outcome, straight._Outcome)


def _start(name: str) -> lem.Model:
    model, data = MODELS[name]
    return lem.initialize(model, data, init=lem.init.random, seed=3)


def _geyser(k: int = 2) -> tuple[lem.Model, np.ndarray]:
    x = lem.datasets.old_faithful().data
    return lem.initialize(lem.models.gaussian_mixture(k), x, seed=0), x


@pytest.mark.parametrize("options", [{}, {"tol": 1e-9}, {"tol": 0, "max_iter": 7}], ids=str)
@pytest.mark.parametrize("accelerate", [None, squarem], ids=["plain", "squarem"])
@pytest.mark.parametrize("name", sorted(AT_ONCE))
def test_a_fit_is_the_same_straight_and_generally(
    name: str, accelerate: Any, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    start, data = _start(name), MODELS[name][1]
    n = len(next(iter(data.values()))) if isinstance(data, dict) else len(data)
    assert n < FEWEST

    def call() -> lem.Fit:
        return lem.fit(start, data, accelerate=accelerate, **options)

    mine, theirs = call(), _generally(monkeypatch, call)
    assert _is_straight(mine) is (theirs.iterations <= MOST_AT_ONCE)
    assert not _is_straight(theirs)
    assert mine.status is theirs.status
    assert mine.starts[0].status is theirs.starts[0].status
    assert (mine.n_rows, mine.total_weight, mine.events) == (n, n, ())
    assert mine.starts[0].iterations == mine.iterations
    assert mine.starts[0].objective == mine.objective == mine.trace.rows[-1].objective
    rows, others = list(mine.trace), list(theirs.trace)
    if accelerate is None or options:  # else rounding may decide on a leap near the end
        assert abs(len(rows) - len(others)) <= 2
    size = abs(theirs.objective)
    for row, other in zip(rows[:12], others, strict=False):
        assert (row.iteration, row.phase) == (other.iteration, other.phase)
        for column in ("objective", "q", "entropy", "log_likelihood"):
            a, b = getattr(row, column), getattr(other, column)
            assert a == b or a == pytest.approx(b, rel=1e-8, abs=1e-9 * size), column
    assert mine.log_likelihood == pytest.approx(theirs.log_likelihood, abs=1e-7 * size)
    assert mine.log_likelihood == pytest.approx(lem.log_likelihood(mine.model, data), rel=1e-10)
    assert mine.bic == pytest.approx(theirs.bic, rel=1e-6)
    if options.get("tol") == 0:
        for node, dist in mine.model.distributions.items():
            for field, value in dist.parameters.items():
                exact = theirs.model[node].parameters[field]
                scale = np.abs(exact).max()
                np.testing.assert_allclose(value, exact, rtol=1e-7, atol=1e-8 * scale)
        z = mine.model.latents[0].name
        np.testing.assert_allclose(
            mine.posterior().marginal(z), theirs.posterior().marginal(z), rtol=1e-5, atol=1e-7
        )


def test_all_that_a_fit_is_asked_for_later_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = _geyser()
    fit = lem.fit(model, x)
    general = _generally(monkeypatch, lambda: lem.fit(model, x))
    assert _is_straight(fit)
    again = pickle.loads(pickle.dumps(fit))
    for each in (fit, again):
        assert repr(each) == repr(general)
        assert str(each.summary()) == str(general.summary())
        np.testing.assert_array_equal(each.predict(), general.predict())
        np.testing.assert_allclose(each.score_samples(), general.score_samples(), rtol=1e-8)
        assert each.to_dataframe("trace").shape == general.to_dataframe("trace").shape
        errors, expected = each.standard_errors(), general.standard_errors()
        np.testing.assert_allclose(errors["x"]["mean"], expected["x"]["mean"], rtol=1e-4)
    on = lem.fit(fit.model, x)
    assert _is_straight(on)
    assert on.log_likelihood >= fit.log_likelihood


def test_data_changed_after_the_fit_change_no_parameters() -> None:
    model, x = _geyser()
    expected = lem.fit(model, x).model["x"].mean
    own = x.copy()
    given = {"x": own}
    fit = lem.fit(model, given)
    own *= 2.0
    given["x"] = own[:3]
    np.testing.assert_array_equal(fit.model["x"].mean, expected)
    assert fit.n_rows == len(x)


def test_data_changed_into_what_no_row_can_be_are_not_asked_again() -> None:
    z = lem.latent("z", lem.Categorical(probs=[0.5, 0.5]))
    counts = np.random.default_rng(0).poisson(np.repeat([2.0, 9.0], 50))
    x = lem.observed("x", lem.Poisson(rate=[1.0, 5.0]), given=z)
    fit = lem.fit(lem.Model([z, x]), counts)
    assert _is_straight(fit)
    expected = fit.log_likelihood
    counts[:] = -1
    assert fit.n_rows == 100
    assert fit.score_samples().sum() == pytest.approx(expected)


def test_a_limit_of_iterations_is_said() -> None:
    model, x = _geyser()
    with pytest.warns(lem.ConvergenceWarning, match="After 3 iterations") as caught:
        fit = lem.fit(model, x, max_iter=3)
    assert caught[0].filename == __file__
    assert _is_straight(fit)
    assert fit.status is lem.Status.ITERATION_LIMIT
    assert fit.iterations == 3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert lem.fit(model, x, max_iter=3, tol=0).iterations == 3
        start = lem.fit(model, x, max_iter=0, tol=0)
    assert start.iterations == 0


def _with(x: np.ndarray, row: int, value: float) -> np.ndarray:
    x = x.copy()
    x[row, 0] = value
    return x


def _equal_states() -> lem.Model:
    z = lem.latent("z", lem.Categorical(probs=[0.5, 0.5]))
    x = lem.Gaussian(mean=[[3.0, 70.0]] * 2, covariance=[np.diag([1.0, 100.0])] * 2)
    return lem.Model([z, lem.observed("x", x, given=z)])


@pytest.mark.parametrize(
    "data",
    [
        lambda x: _with(x, 3, np.nan),
        lambda x: _with(x, 3, np.inf),
        lambda x: _with(x, 3, 1e160),
        lambda x: _with(x, slice(None), 2.5),  # type: ignore[arg-type]
        lambda x: x[:, :1],
        lambda x: x[:, 0],
        lambda x: x[:1],
        lambda x: x[:0],
        lambda x: x[None],
        lambda x: x.astype(complex),
        lambda x: x.astype(str),
        lambda x: x.astype(object),
        lambda x: x.tolist(),
        lambda x: x.astype(np.float32),
        lambda x: np.asfortranarray(x),
        lambda x: x[::-1],
        lambda x: x.astype(int),
        lambda x: np.ma.masked_less(x, 2.0),
        lambda x: {"x": x},
        lambda x: {"y": x},
        lambda x: {"x": x, "z": np.zeros(len(x))},
        lambda x: {"x": x, "z": np.full(len(x), np.nan)},
        lambda x: {"x": 3.0},
        lambda x: np.float64(3.0),
        lambda x: None,
        lambda x: np.vstack([x] * 4),
        lambda x: np.vstack([x[:5]] * 3),
        lambda x: 1e-140 * x,
        lambda x: x + 1e9,
    ],
)
@pytest.mark.parametrize("make", [lambda: _geyser()[0], _equal_states])
def test_whatever_is_given_ends_as_it_does_generally(
    make: Callable[[], lem.Model],
    data: Callable[[np.ndarray], Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, x = make(), _geyser()[1]

    def call() -> Any:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                fit = lem.fit(model, data(x))
            except lem.LatentemError as error:
                return type(error), str(error)
        messages = sorted(str(warning.message) for warning in caught)
        return fit, messages

    mine, theirs = call(), _generally(monkeypatch, call)
    if not isinstance(mine[0], lem.Fit):
        assert mine == theirs
        return
    assert mine[1] == theirs[1]
    a, b = mine[0], theirs[0]
    assert a.status is b.status
    assert a.n_rows == b.n_rows
    assert a.log_likelihood == pytest.approx(b.log_likelihood, rel=1e-7)
    assert a.events == b.events


def test_a_state_that_collapses_is_left_to_the_general_way(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    x = np.vstack([rng.normal(size=(40, 2)), np.full((6, 2), 9.0)])
    z = lem.latent("z", lem.Categorical(probs=[0.8, 0.2]))
    dist = lem.Gaussian(mean=[[0.0, 0.0], [8.0, 8.0]], covariance=[np.eye(2)] * 2)
    model = lem.Model([z, lem.observed("x", dist, given=z)])
    with pytest.warns(lem.DegenerateWarning):
        fit = lem.fit(model, x)
    assert not _is_straight(fit)
    assert fit.status is lem.Status.DEGENERATE


def test_what_has_more_to_it_goes_the_general_way() -> None:
    model, x = _geyser()
    steps: list[Any] = []
    for options in (
        {"on_step": steps.append},
        {"weights": np.ones(len(x))},
        {"assign": lem.tempered([0.5, 1.0])},
        {"restarts": 2},
        {"parameter_tol": 1e-3},
        {"accelerate": lem.anderson},
        {"init": lem.init.random},
    ):
        assert not _is_straight(lem.fit(model, x, **options)), options
    assert steps
    z = lem.latent("z", lem.Categorical(probs=[0.5, 0.5]))
    held = lem.Gaussian(mean=[[2.0, 55.0], [4.0, 80.0]], covariance="full", held=("mean",))
    assert not _is_straight(lem.fit(lem.Model([z, lem.observed("x", held, given=z)]), x))


@attrs.frozen(eq=False)
class _Elsewhere(lem.Normal):
    """Starts from other parameters than those it has."""

    def started_from(self, other: Any) -> Any:
        return attrs.evolve(other, mean=np.array([2.0, 4.5]))


@attrs.frozen(eq=False)
class _Confined(lem.Normal):
    """Moves what it starts from into a range."""

    def feasible(self) -> Any:
        return attrs.evolve(self, mean=np.clip(self.mean, 2.0, 4.5))


@pytest.mark.parametrize("kind", [_Elsewhere, _Confined])
def test_a_family_that_changes_what_it_starts_from_is_heard(
    kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    z = lem.latent("z", lem.Categorical(probs=[0.5, 0.5]))
    dist = kind(mean=[3.4, 9.0], variance=[1.0, 1.0])
    model = lem.Model([z, lem.observed("x", dist, given=z)])
    x = lem.datasets.old_faithful().data[:, 0]

    def call() -> lem.Fit:
        return lem.fit(model, x, tol=0, max_iter=1)

    mine, theirs = call(), _generally(monkeypatch, call)
    first, other = mine.trace.rows[0], theirs.trace.rows[0]
    assert first.objective == pytest.approx(other.objective, rel=1e-12)


def test_a_model_is_not_kept_by_having_been_fitted() -> None:
    model, x = _geyser()
    assert _is_straight(lem.fit(model, x))
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


def test_wrong_options_are_refused_straight_away() -> None:
    model, x = _geyser()
    for wrong in (
        {"tol": -1.0},
        {"max_iter": -1},
        {"restarts": 0},
        {"seed": "a"},
        {"seed": -1},
        {"restarts": True},
        {"restarts": 1.0},
    ):
        with pytest.raises(lem.ModelError):
            lem.fit(model, x, **wrong)


class _Shifted(lem.Poisson):
    """Whose base measure is one number for all rows, as an array."""

    def log_base_measure(self, value: Any) -> Any:
        return np.array([-3.0])


class _Late(lem.Poisson):
    """Whose parameters cannot be read after a fit."""

    def unflatten(self, parents: tuple[int, ...]) -> Any:
        raise RuntimeError("no parameters")


def _counts(family: type[lem.Poisson]) -> tuple[lem.Model, np.ndarray]:
    z = lem.latent("z", lem.Categorical(probs=[0.5, 0.5]))
    x = np.concatenate([np.arange(30) % 3, 5 + np.arange(30) % 7])
    return lem.Model([z, lem.observed("x", family(rate=[1.0, 6.0]), given=z)]), x


def test_a_base_measure_may_be_one_number_for_all_rows() -> None:
    model, x = _counts(_Shifted)
    fit = lem.fit(model, x)
    assert _is_straight(fit)
    assert fit.log_likelihood == pytest.approx(lem.log_likelihood(fit.model, x), rel=1e-12)


def test_what_a_plug_in_raises_is_raised_by_the_fit() -> None:
    with pytest.raises(RuntimeError, match="no parameters"):
        lem.fit(*_counts(_Late))


def test_an_interrupt_between_steps_that_nobody_looks_at_keeps_the_best(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x = _geyser()[1]
    calls, take = [], EMSteps.take

    def interrupted(*given: Any) -> Any:
        calls.append(given)
        if len(calls) == 12:
            raise KeyboardInterrupt
        return take(*given)

    monkeypatch.setattr(EMSteps, "take", interrupted)
    with pytest.warns(lem.ConvergenceWarning, match="Interrupted"):
        fit = lem.fit(lem.models.gaussian_mixture(3), x, seed=0)
    assert fit.interrupted
    assert len(calls) == 12
    assert len(fit.trace.rows) > fit.iterations > 3
    assert fit.log_likelihood == pytest.approx(lem.log_likelihood(fit.model, x), rel=1e-12)
