"""Tied nodes: one θ for several nodes."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import numpy as np
import pytest

import latentem as lem
from latentem.io import save

# Phenotypes O, A, B, AB of two alleles O, A, B.
PHENOTYPE = np.zeros((3, 3, 4))
for _a in range(3):
    for _b in range(3):
        PHENOTYPE[_a, _b, {(0, 0): 0, (0, 1): 1, (1, 1): 1, (0, 2): 2, (2, 2): 2}.get(
            (min(_a, _b), max(_a, _b)), 3)] = 1.0  # fmt: skip


def blood_groups(start: list[float] | None = None) -> lem.Model:
    alleles = lem.Categorical(3) if start is None else lem.Categorical(probs=start)
    mother = lem.latent("mother", alleles)
    father = lem.latent("father", lem.Categorical(3), tie=mother)
    table = lem.fixed(lem.Categorical(probs=PHENOTYPE))
    return lem.Model([mother, father, lem.observed("blood", table, given=[mother, father])])


# Duodenal ulcer patients by phenotype (Clarke et al., British Medical Journal 1959 (i), 603-607),
# and the maximum: K. Lange, Mathematical and Statistical Methods for Genetic
# Analysis, 2nd ed., 2002, chapter 2.
ULCER = np.array([284, 186, 38, 13])


def gene_counting(o: float, a: float, b: float) -> list[float]:
    """One step of EM, as Smith, Annals of Human Genetics 21 (1957), counts genes."""
    n_o, n_a, n_b, n_ab = ULCER
    aa, bb = n_a * a * a / (a * a + 2 * a * o), n_b * b * b / (b * b + 2 * b * o)
    genes = [2 * n_o + n_a - aa + n_b - bb, n_a + aa + n_ab, n_b + bb + n_ab]
    return [count / (2 * ULCER.sum()) for count in genes]


def test_allele_frequencies_of_blood_groups_step_by_step() -> None:
    options = {"weights": ULCER, "tol": 0, "max_iter": 40}
    steps = list(lem.iterate(blood_groups([0.5, 0.3, 0.2]), np.arange(4), **options))
    expected = [0.5, 0.3, 0.2]
    for step in steps:
        np.testing.assert_allclose(step.model["mother"].probs, expected, rtol=1e-12)
        expected = gene_counting(*expected)
    found = steps[-1].model
    np.testing.assert_allclose(
        found["mother"].probs, [0.73626373, 0.21359094, 0.05014533], atol=5e-9
    )
    assert found["father"].probs.tolist() == found["mother"].probs.tolist()
    objectives = [step.objective for step in steps]
    assert (np.diff(objectives) >= -1e-9).all()


@pytest.mark.parametrize("seed", range(5))
def test_allele_frequencies_by_the_default_call(seed: int) -> None:
    fit = lem.fit(blood_groups(), np.arange(4), weights=ULCER, seed=seed)
    np.testing.assert_allclose(fit.model["father"].probs, [0.7363, 0.2136, 0.0501], atol=5e-5)
    assert fit.n_parameters == 2
    o, a, b = fit.model["mother"].probs
    cells = [o * o, a * a + 2 * a * o, b * b + 2 * b * o, 2 * a * b]
    assert fit.log_likelihood == pytest.approx(ULCER @ np.log(cells), abs=1e-9)


def test_standard_errors_are_those_of_the_observed_information() -> None:
    fit = lem.fit(blood_groups(), np.arange(4), weights=ULCER, seed=0, tol=1e-13)

    def log_likelihood(a: float, b: float) -> float:
        o = 1 - a - b
        return float(ULCER @ np.log([o * o, a * a + 2 * a * o, b * b + 2 * b * o, 2 * a * b]))

    _, a, b = fit.model["mother"].probs
    h = 1e-4
    second = np.zeros((2, 2))
    for i, di in enumerate(np.eye(2) * h):
        for j, dj in enumerate(np.eye(2) * h):
            at = [
                log_likelihood(*(np.array([a, b]) + s * di + t * dj))
                for s in (1, -1)
                for t in (1, -1)
            ]
            second[i, j] = (at[0] - at[1] - at[2] + at[3]) / (4 * h * h)
    covariance = np.linalg.inv(-second)
    one = np.array([-1.0, -1.0])
    expected = np.sqrt([one @ covariance @ one, covariance[0, 0], covariance[1, 1]])
    errors = fit.standard_errors()
    np.testing.assert_allclose(errors["mother"]["probs"], expected, rtol=1e-4)
    np.testing.assert_allclose(errors["father"]["probs"], expected, rtol=1e-4)


def test_tied_nodes_without_latents_are_fitted_to_all_their_values() -> None:
    rng = np.random.default_rng(0)
    data = {"a": rng.normal(3, 2, size=50), "b": rng.normal(4, 1, size=50)}
    data["b"][:10] = np.nan
    a = lem.observed("a", lem.Normal())
    fit = lem.fit(lem.Model([a, lem.observed("b", lem.Normal(), tie=a)]), data)
    every = np.concatenate([data["a"], data["b"][10:]])
    assert fit.model["a"].mean == pytest.approx(every.mean(), rel=1e-12)
    assert fit.model["b"].variance == pytest.approx(every.var(), rel=1e-12)
    assert fit.n_parameters == 2
    error = fit.standard_errors()["b"]["mean"]
    assert error == pytest.approx(every.std() / np.sqrt(90), rel=1e-4)


@attrs.frozen(eq=False)
class Rayleigh(lem.Distribution):
    scale: np.ndarray | None = None

    def log_prob(self, value: np.ndarray) -> np.ndarray:
        x = value[:, None]
        return np.log(x) - 2 * np.log(self.scale) - x**2 / (2 * self.scale**2)

    def fit(self, value: np.ndarray, weights: np.ndarray) -> Rayleigh:
        return Rayleigh(np.sqrt(weights.T @ value**2 / weights.sum(0) / 2))


@pytest.mark.parametrize(
    "dist", [lem.Gaussian(), lem.Normal(shared=True), lem.Gamma(), Rayleigh()], ids=repr
)
def test_two_nodes_of_one_latent_are_as_one_observed_twice(dist: lem.Distribution) -> None:
    # x and y given z are independent draws of one density.
    rng = np.random.default_rng(1)
    scale = np.repeat([1.0, 8.0], 60)
    data = {"x": scale * rng.gamma(3.0, size=120), "y": scale * rng.gamma(3.0, size=120)}
    z = lem.latent("z", lem.Categorical(2))
    x = lem.observed("x", dist, given=z)
    model = lem.Model([z, x, lem.observed("y", dist, given=z, tie=x)])
    start = lem.init.from_labels((scale > 2).astype(int))
    found = lem.fit(model, data, init=start, tol=1e-12).model
    assert found["x"] is found["y"]
    both = np.concatenate([data["x"], data["y"]])
    posterior = lem.e_step(found, data).marginal("z")
    again = dist.fit(
        both if not isinstance(dist, lem.Gaussian) else both[:, None], np.tile(posterior, (2, 1))
    )
    for name, value in again.parameters.items():
        np.testing.assert_allclose(found["x"].parameters[name], value, rtol=1e-5)
    objective = [step.objective for step in lem.iterate(model, data, init=start, max_iter=20)]
    assert (np.diff(objective) >= -1e-9).all()


def test_the_posterior_is_the_oracle_s() -> None:
    probs = np.array([0.2, 0.3, 0.5])
    posterior = lem.e_step(blood_groups(probs.tolist()), np.arange(4)).marginal("mother", "father")
    joint = probs[:, None, None] * probs[None, :, None] * PHENOTYPE
    expected = np.moveaxis(joint / joint.sum(axis=(0, 1)), -1, 0)
    np.testing.assert_allclose(posterior, expected, atol=1e-14)


def test_a_latent_tied_to_an_observed_node() -> None:
    first = lem.observed("first", lem.Categorical(2))
    second = lem.latent("second", lem.Categorical(2), tie=first)
    x = lem.observed(
        "x", lem.fixed(lem.Normal(mean=[-9.0, 9.0], variance=[1.0, 1.0])), given=second
    )
    data = {"first": [0, 0, 0, 1], "x": [-9.0, 9.0, 9.0, 9.0]}
    fit = lem.fit(lem.Model([first, second, x]), data, seed=0)
    np.testing.assert_allclose(fit.model["second"].probs, [0.5, 0.5], atol=1e-9)
    with pytest.raises(lem.ModelError, match="tied to an observed node"):
        lem.permute_states(fit.model, {"second": [1, 0]})
    assert fit.n_parameters == 1


def test_tied_columns_of_strings_have_the_levels_of_both() -> None:
    a = lem.observed("a", lem.Categorical())
    model = lem.Model([a, lem.observed("b", lem.Categorical(), tie=a)])
    fit = lem.fit(model, {"a": ["x", "y", "x", "x"], "b": ["z", "x", None, "z"]})
    levels = fit.model["a"].levels
    assert sorted(levels) == ["x", "y", "z"]
    by_level = dict(zip(levels, fit.model["b"].probs, strict=True))
    assert by_level == pytest.approx({"x": 4 / 7, "y": 1 / 7, "z": 2 / 7})


def _two_pairs() -> tuple[lem.Model, dict[str, np.ndarray]]:
    a = lem.latent("a", lem.Categorical(2))
    b = lem.latent("b", lem.Categorical(2))
    x = lem.observed("x", lem.Normal(), given=a)
    y = lem.observed("y", lem.Normal(), given=b, tie=x)
    rng = np.random.default_rng(2)
    centres = np.array([0.0, 6.0])
    data = {name: centres[rng.integers(2, size=80)] + rng.normal(size=80) for name in "xy"}
    return lem.Model([a, b, x, y]), data


def test_states_are_renumbered_where_the_ties_allow_it() -> None:
    model, data = _two_pairs()
    assert set(model.renumbered_together) == {frozenset("ab")}
    fit = lem.fit(model, data, seed=0)
    with pytest.raises(lem.ModelError, match=r"renumber the latents \['a', 'b'\] alike"):
        lem.permute_states(fit.model, {"a": [1, 0]})
    swapped = lem.permute_states(fit.model, {"a": [1, 0], "b": [1, 0]})
    assert swapped["y"].mean.tolist() == fit.model["x"].mean[::-1].tolist()
    assert lem.log_likelihood(swapped, data) == pytest.approx(fit.log_likelihood, rel=1e-12)
    alignment = lem.align(fit, swapped)
    assert {name: order.tolist() for name, order in alignment.permutations.items()} == {
        "a": [1, 0],
        "b": [1, 0],
    }
    assert alignment.model["x"].mean.tolist() == fit.model["x"].mean.tolist()
    blood = blood_groups([0.2, 0.3, 0.5])
    assert set(blood.renumbered_together) == {frozenset({"mother", "father"})}


def test_bootstrap_of_tied_nodes_keeps_them_tied() -> None:
    model, data = _two_pairs()
    boot = lem.fit(model, data, seed=0).bootstrap(4, seed=0)
    for drawn in boot.models:
        assert drawn["x"].mean.tolist() == drawn["y"].mean.tolist()


def test_prototypes_can_be_tied() -> None:
    x = np.concatenate([np.zeros((9, 1)), np.full((9, 1), 10.0)]) + np.arange(18)[:, None] / 10
    z = lem.latent("z", lem.Choice(2))
    node = lem.observed("x", lem.Prototype(), given=z)
    model = lem.Model([z, node, lem.observed("y", lem.Prototype(), given=z, tie=node)])
    fit = lem.fit(model, {"x": x, "y": x[::-1]}, assign=lem.hard, seed=0)
    assert fit.model["x"] is fit.model["y"]
    assert np.isfinite(fit.distortion)


def test_what_is_written_names_the_tie(tmp_path: Path) -> None:
    model = blood_groups()
    assert "tied to mother" in repr(model)
    assert '"mother" -> "father" [style=dashed, dir=none, constraint=false];' in model.to_dot()
    fit = lem.fit(model, np.arange(4), weights=ULCER, seed=0)
    assert "p(father): Categorical, tied to mother" in str(fit.summary())
    save(fit, tmp_path / "fit.json")
    assert json.loads((tmp_path / "fit.json").read_text())["nodes"]["father"]["tie"] == "mother"


def test_one_of_tied_nodes_replaced_is_both() -> None:
    model = blood_groups().replace({"father": lem.Categorical(probs=[0.1, 0.2, 0.7])})
    assert model["mother"] is model["father"]
    with pytest.raises(lem.ModelError, match="'father': it must have the parameters of 'mother'"):
        model.replace(
            {
                "father": lem.Categorical(probs=[0.2, 0.1, 0.7]),
                "mother": lem.Categorical(probs=[0.1, 0.2, 0.7]),
            }
        )


def test_a_third_node_is_tied_to_the_first() -> None:
    a = lem.observed("a", lem.Poisson())
    b = lem.observed("b", lem.Poisson(), tie=a)
    c = lem.observed("c", lem.Poisson(), tie=b)
    assert c.tie == "a"
    model = lem.Model([c, b, a])
    assert model.tied("b") == ("a", "c", "b")
    fit = lem.fit(model, {"a": [1, 2], "b": [3, 4], "c": [5, 6]})
    assert fit.model["c"].rate == pytest.approx(3.5)


@pytest.mark.parametrize(
    ("declare", "message"),
    [
        (lambda a: lem.observed("b", lem.Gamma(), tie=a), "declared as 'a'"),
        (lambda a: lem.observed("b", lem.Poisson(rate=2.0), tie=a), "parameters of 'a'"),
        (lambda a: lem.observed("b", lem.Poisson(rate=2.0), tie=a), "Give them to 'a' only"),
        (lambda a: lem.observed("b", lem.fixed(lem.Poisson(rate=2.0)), tie=a), "declared as 'a'"),
    ],
)
def test_what_cannot_be_tied_is_refused(declare: object, message: str) -> None:
    a = lem.observed("a", lem.Poisson())
    with pytest.raises(lem.ModelError, match=message):
        lem.Model([a, declare(a)])  # type: ignore[operator]


def test_ties_of_other_shapes_are_refused() -> None:
    z, w = lem.latent("z", lem.Categorical(2)), lem.latent("w", lem.Categorical(3))
    x = lem.observed("x", lem.Poisson(), given=z)
    with pytest.raises(lem.ModelError, match="as many states as those of 'x'"):
        lem.Model([z, w, x, lem.observed("y", lem.Poisson(), given=w, tie=x)])
    with pytest.raises(lem.ModelError, match="'w': it must be declared as 'z'"):
        lem.Model([z, lem.latent("w", lem.Categorical(3), tie=z)])
    with pytest.raises(lem.ModelError, match="'x' that it is tied to must be in the model"):
        lem.Model([z, lem.observed("y", lem.Poisson(), given=z, tie=x)])
    with pytest.raises(lem.ModelError, match="tie must be a node"):
        lem.latent("v", lem.Categorical(2), tie="z")  # type: ignore[arg-type]
    a = lem.observed("a", lem.Gaussian())
    model = lem.Model([a, lem.observed("b", lem.Gaussian(), tie=a)])
    with pytest.raises(lem.DataError, match="one shape for the tied nodes"):
        lem.fit(model, {"a": np.random.default_rng(0).normal(size=(9, 2)), "b": np.arange(9.0)})


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (lem.Gaussian(covariance="diagonal"), lem.Gaussian()),
        (lem.Normal(shared=True), lem.Normal()),
        (lem.Normal(mean=0.0, variance=1.0, shared=True), lem.Normal()),
        (lem.Pareto(minimum=1.0), lem.Pareto(minimum=3.0)),
        (lem.PointMass(0), lem.PointMass(3)),
        (lem.Categorical(levels=["a", "b"]), lem.Categorical(levels=["b", "a"])),
        (lem.Binomial(3), lem.Binomial(4)),
    ],
    ids=repr,
)
def test_a_tie_overrides_no_declaration(first: lem.Distribution, second: lem.Distribution) -> None:
    a = lem.observed("a", first)
    with pytest.raises(lem.ModelError, match="'b': it must be declared as 'a'"):
        lem.Model([a, lem.observed("b", second, tie=a)])


def test_a_tie_does_not_change_the_order_of_cases() -> None:
    z = lem.latent("z", lem.Categorical(2))
    x = lem.observed("x", lem.Switch([lem.PointMass(0), lem.Poisson()]), given=z)
    other = lem.Switch([lem.Poisson(), lem.PointMass(0)])
    with pytest.raises(lem.ModelError, match="'y': it must be declared as 'x'"):
        lem.Model([z, x, lem.observed("y", other, given=z, tie=x)])
    same = lem.Switch([lem.PointMass(0), lem.Poisson()])
    assert lem.Model([z, x, lem.observed("y", same, given=z, tie=x)])["y"] is x.dist


@pytest.mark.parametrize(
    "dist", [lem.fixed(lem.Poisson(rate=2.0)), lem.Poisson(rate=2.0), lem.Poisson()], ids=repr
)
def test_a_template_takes_what_it_is_tied_to(dist: lem.Distribution) -> None:
    a = lem.observed("a", dist)
    assert lem.Model([a, lem.observed("b", lem.Poisson(), tie=a)])["b"] is dist


@pytest.mark.parametrize("covariance", ["full", "diagonal", "spherical"])
@pytest.mark.parametrize("gapped", ["a", "b"])
def test_gaps_in_one_of_two_tied_nodes(covariance: str, gapped: str) -> None:
    rng = np.random.default_rng(0)
    data = {"a": rng.normal(size=(50, 2)), "b": rng.normal(size=(50, 2)) + 3}
    data[gapped][0, 0] = np.nan
    a = lem.observed("a", lem.Gaussian(covariance=covariance))
    model = lem.Model([a, lem.observed("b", lem.Gaussian(covariance=covariance), tie=a)])
    fit = lem.fit(model, data, tol=1e-12)
    alone = lem.Model([lem.observed("x", lem.Gaussian(covariance=covariance))])
    both = lem.fit(alone, np.concatenate([data["a"], data["b"]]), tol=1e-12)
    assert fit.log_likelihood == pytest.approx(both.log_likelihood, abs=1e-8)
    np.testing.assert_allclose(fit.model["b"].mean, both.model["x"].mean, rtol=1e-5)
    errors = fit.standard_errors()["a"]["mean"]
    np.testing.assert_allclose(errors, both.standard_errors()["x"]["mean"], rtol=1e-3)


def test_a_tied_node_without_data_has_what_the_other_has() -> None:
    a = lem.observed("a", lem.Normal())
    model = lem.Model([a, lem.observed("b", lem.Normal(), tie=a)])
    fit = lem.fit(model, {"a": [1.0, 2.0, 4.0], "b": [np.nan] * 3})
    assert fit.model["b"].mean == pytest.approx(7 / 3)
    fit = lem.fit(model, {"b": [1.0, 2.0, 4.0], "a": [np.nan] * 3})
    assert fit.model["a"].mean == pytest.approx(7 / 3)


def test_a_start_must_keep_the_tie() -> None:
    a = lem.observed("a", lem.Poisson())
    model = lem.Model([a, lem.observed("b", lem.Poisson(), tie=a)])
    start = lem.Model(
        [lem.observed("a", lem.Poisson(rate=1.0)), lem.observed("b", lem.Poisson(rate=2.0))]
    )
    with pytest.raises(lem.ModelError, match="'b' of the model to start from must have the param"):
        lem.fit(model, {"a": [1, 2], "b": [3, 4]}, init=start)


def test_tied_prototypes_move_to_the_worst_row_of_either_node() -> None:
    z = lem.latent("z", lem.Choice(2))
    x = lem.observed("x", lem.Prototype(), given=z)
    model = lem.Model([z, x, lem.observed("y", lem.Prototype(), given=z, tie=x)])
    start = model.replace({"x": lem.Prototype(prototypes=[[0.0], [50.0]])})
    y = np.concatenate([np.zeros(10), np.full(10, 9.0)])[:, None]
    fit = lem.fit(model, {"x": np.zeros((20, 1)), "y": y}, init=start, assign=lem.hard)
    assert "moved to the worst represented one" in fit.noted[0]
    assert 9.0 in fit.model["x"].prototypes[:, 0]


def test_a_fitted_node_can_be_tied_to_its_equal() -> None:
    found = lem.fit(lem.Model([lem.observed("a", lem.Normal())]), {"a": [1.0, 2.0, 4.0]}).model["a"]
    a = lem.observed("a", lem.Normal(mean=found.mean, variance=found.variance))
    assert lem.Model([a, lem.observed("b", found, tie=a)])["b"] is found


def test_a_state_of_a_parent_may_occur_for_a_tied_node_only() -> None:
    a, b = lem.observed("a", lem.Categorical(2)), lem.observed("b", lem.Categorical(2))
    x = lem.observed("x", lem.Normal(), given=a)
    y = lem.observed("y", lem.Normal(), given=b, tie=x)
    rng = np.random.default_rng(0)
    data = {"a": np.zeros(50, int), "b": np.ones(50, int)}
    data |= {"x": rng.normal(size=50), "y": rng.normal(size=50) + 5}
    fit = lem.fit(lem.Model([a, b, x, y]), data)
    np.testing.assert_allclose(fit.model["x"].mean, [data["x"].mean(), data["y"].mean()])
