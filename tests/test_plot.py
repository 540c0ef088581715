"""Pictures: what is drawn, not how it looks."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import latentem as lem
from latentem.plot.canvas import AFTER_E, AFTER_M, SHADED, blend, palette
from latentem.plot.layout import layered

pytest.importorskip("matplotlib")
from matplotlib import colors, patches
from matplotlib import pyplot as plt

X = lem.datasets.old_faithful().data


@pytest.fixture(autouse=True)
def no_screen() -> Iterator[None]:
    plt.switch_backend("agg")
    yield
    plt.close("all")


def mixture() -> lem.Model:
    z = lem.latent("z", lem.Categorical(probs=[0.36, 0.64]))
    covariance = np.array([[[0.07, 0.4], [0.4, 34.0]], [[0.17, 0.9], [0.9, 36.0]]])
    x = lem.Gaussian(mean=[[2.0, 54.5], [4.3, 80.0]], covariance=covariance)
    return lem.Model([z, lem.observed("x", x, given=z)])


def test_a_certain_point_has_the_colour_of_its_state_and_others_a_blend() -> None:
    responsibilities = np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])
    first, second = palette(2)
    np.testing.assert_allclose(blend(responsibilities), [first, second, (first + second) / 2])


def test_responsibilities_draws_every_row_and_two_contours_a_component() -> None:
    model = mixture()
    ax = lem.plot.responsibilities(model, X)
    (points,) = ax.collections
    np.testing.assert_allclose(points.get_offsets(), X)
    expected = blend(lem.e_step(model, X).marginal("z"))
    np.testing.assert_allclose(points.get_facecolors()[:, :3], expected)
    contours = [patch for patch in ax.patches if isinstance(patch, patches.Ellipse)]
    assert len(contours) == 4


def test_contours_lie_at_one_and_two_standard_deviations() -> None:
    model = mixture()
    ax = lem.plot.responsibilities(model, X)
    contours = [patch for patch in ax.patches if isinstance(patch, patches.Ellipse)]
    mean, covariance = model["x"].mean[0], model["x"].covariance[0]
    for contour, deviations in zip(contours, (1.0, 2.0), strict=False):
        edge = contour.get_patch_transform().transform(contour.get_path().vertices) - mean
        distance = np.sqrt(np.einsum("ni,ij,nj->n", edge, np.linalg.inv(covariance), edge))
        # A circle of Bezier curves is a circle to 3e-4; its control points lie outside.
        assert distance.min() == pytest.approx(deviations, rel=1e-3)


def test_student_t_components_have_the_contours_of_their_covariances() -> None:
    rng = np.random.default_rng(0)
    dist = lem.StudentT(
        [3.0, 1.5], mean=[[0.0, 0.0], [9.0, 0.0]], scale=[np.diag([4.0, 1.0]), np.eye(2)]
    )
    z = lem.latent("z", lem.Categorical(probs=[0.5, 0.5]))
    model = lem.Model([z, lem.observed("x", dist, given=z)])
    ax = lem.plot.responsibilities(model, rng.normal(size=(20, 2)))
    contours = [patch for patch in ax.patches if isinstance(patch, patches.Ellipse)]
    # Variance scale 3 / (3 - 2) of the first; the second, of df below 2, has none.
    sizes = [sorted([contour.width, contour.height]) for contour in contours]
    np.testing.assert_allclose(sizes[0], 2 * np.sqrt([3.0, 12.0]))
    assert len(sizes) == 2


def test_one_dimension_draws_densities_that_sum_to_the_marginal() -> None:
    z = lem.latent("z", lem.Categorical(probs=[0.4, 0.6]))
    x = lem.observed("x", lem.Normal(mean=[2.0, 4.3], variance=[0.1, 0.2]), given=z)
    model = lem.Model([z, x])
    ax = lem.plot.responsibilities(model, X[:, 0])
    *parts, total = ax.lines
    assert len(parts) == 2
    np.testing.assert_allclose(sum(part.get_ydata() for part in parts), total.get_ydata())
    assert np.trapezoid(total.get_ydata(), total.get_xdata()) == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize(
    ("start", "names"),
    [(0.0, ["0", "π/2", "π", "3π/2", "2π"]), (-np.pi, ["−π", "−π/2", "0", "π/2", "π"])],
)
def test_angles_are_drawn_over_one_turn_that_closes(start: float, names: list[str]) -> None:
    mean, turn = np.array([3.0, -3.0]), 2 * np.pi
    z = lem.latent("z", lem.Categorical(probs=[0.7, 0.3]))
    x = lem.observed("x", lem.VonMises(mean=mean, concentration=[4.0, 1.0]), given=z)
    model, within = lem.Model([z, x]), np.random.default_rng(0).uniform(0, turn, 200)
    angles = start + within + turn * (np.arange(200) % 2 if start == 0 else 0)
    angles[0] = np.nan
    ax = lem.plot.responsibilities(model, angles)
    *parts, total = ax.lines
    for part in parts:
        assert part.get_xdata()[[0, -1]] == pytest.approx([start, start + turn])
        assert part.get_ydata()[0] == pytest.approx(part.get_ydata()[-1])
    assert np.trapezoid(total.get_ydata(), total.get_xdata()) == pytest.approx(1.0, abs=1e-9)
    (rug,) = ax.collections
    np.testing.assert_allclose(rug.get_offsets()[:, 0], start + within[1:])
    centred = lem.plot.clusters(model, angles)
    places = np.array([line.get_xdata()[0] for line in centred.lines])
    np.testing.assert_allclose(places, start + (mean - start) % turn)
    for drawn in (ax, centred):
        assert drawn.get_xlim() == pytest.approx((start, start + turn))
        assert [tick.get_text() for tick in drawn.get_xticklabels()] == names


def test_counts_draw_probabilities_at_whole_numbers() -> None:
    z = lem.latent("z", lem.Categorical(probs=[0.5, 0.5]))
    model = lem.Model([z, lem.observed("x", lem.Poisson(rate=[1.0, 9.0]), given=z)])
    data = lem.sample(model, 300, seed=0)["x"]
    grid = lem.plot.responsibilities(model, data).lines[0].get_xdata()
    np.testing.assert_array_equal(grid, np.arange(data.min(), data.max() + 1))


def test_clusters_colours_by_hard_assignment_and_marks_the_prototypes() -> None:
    fit = lem.fit(lem.models.kmeans(2), X, assign=lem.hard, restarts=1, seed=0)
    ax = lem.plot.clusters(fit, X)
    (points,) = ax.collections
    np.testing.assert_allclose(points.get_facecolors()[:, :3], palette(2)[fit.predict(X)])
    crosses = {tuple(line.get_xydata()[0]) for line in ax.lines}
    assert crosses == {tuple(prototype) for prototype in fit.model["x"].prototypes}


@pytest.mark.parametrize("column", [0, 1])
def test_clusters_in_one_dimension_counts_every_row(column: int) -> None:
    fit = lem.fit(lem.models.kmeans(2), X[:, column], assign=lem.hard, restarts=1, seed=0)
    ax = lem.plot.clusters(fit, X[:, column])
    bars = [patch for patch in ax.patches if isinstance(patch, patches.Polygon | patches.Rectangle)]
    assert sum(bar.get_height() for bar in bars) == len(X)


def test_trace_marks_each_half_step_blue_after_e_and_red_after_m() -> None:
    fit = lem.fit(mixture(), X, max_iter=3, tol=0)
    ax = lem.plot.trace(fit)
    _, after_e, after_m = ax.lines
    rows = list(fit.trace)
    assert [after_e.get_color(), after_m.get_color()] == [AFTER_E, AFTER_M]
    for line, phase in ((after_e, "E"), (after_m, "M")):
        heights = [row.objective for row in rows if row.phase == phase]
        np.testing.assert_allclose(line.get_ydata(), heights)


def test_trace_of_k_means_draws_the_distortion() -> None:
    fit = lem.fit(lem.models.kmeans(2), X, assign=lem.hard, restarts=1, seed=0)
    ax = lem.plot.trace(fit.trace)
    assert ax.get_ylabel() == "distortion J, total"
    assert ax.lines[0].get_ydata()[-1] == pytest.approx(fit.distortion)


def drawing(model: lem.Model) -> dict[str, Any]:
    ax = lem.plot.graph(model)
    return {
        "circles": [patch for patch in ax.patches if isinstance(patch, patches.Circle)],
        "arrows": [patch for patch in ax.patches if isinstance(patch, patches.FancyArrowPatch)],
        "texts": {text.get_text() for text in ax.texts},
        "title": ax.get_title(),
    }


def test_graph_shows_latents_open_observed_shaded_and_the_plate() -> None:
    a, b = lem.latent("a", lem.Categorical(2)), lem.latent("b", lem.Categorical(3))
    model = lem.Model([a, b, lem.observed("y", lem.Poisson(), given=[a, b])])
    drawn = drawing(model)
    fills = [colors.to_hex(circle.get_facecolor()) for circle in drawn["circles"]]
    assert fills == ["#ffffff", "#ffffff", SHADED]
    assert len(drawn["arrows"]) == 2
    assert drawn["texts"] == {"a", "b", "y", "n", "Categorical(2)", "Categorical(3)", "Poisson"}
    assert drawn["title"] == str(model)


def test_graph_names_a_number_of_states_where_one_is_declared() -> None:
    z = lem.latent("z", lem.fixed(lem.Categorical(probs=[0.2, 0.3, 0.5])))
    nodes = [z, lem.observed("x", lem.Bernoulli(), given=z), lem.observed("y", lem.Categorical())]
    words = {"Categorical(3), fixed", "Bernoulli", "Categorical"}
    assert drawing(lem.Model(nodes))["texts"] == {"z", "x", "y", "n"} | words


def test_graph_has_room_for_the_names_of_all_families() -> None:
    known = lem.fixed(lem.Categorical(probs=[0.5, 0.5]))
    z = lem.latent("z", known)
    part = lem.latent("part", lem.Switch([known, lem.Categorical(2)]), given=z)
    x = lem.observed("x", lem.fixed(lem.DiscreteUniform(low=[0, 1], high=[3, 4])), given=part)
    for nodes in ([z, part, x], [z], [z, lem.observed("y", lem.StudentT(), given=z)]):
        _, ax = plt.subplots(figsize=(2.5, 4))
        lem.plot.graph(lem.Model(nodes), ax)
        ax.figure.canvas.draw()
        (plate,) = [p for p in ax.patches if isinstance(p, patches.FancyBboxPatch)]
        left, right = plate.get_window_extent().intervalx
        assert len(ax.texts) > len(nodes)
        spare = 0.04 * (right - left)  # layouts shrink axes after their text has been drawn
        for text in ax.texts:
            start, end = text.get_window_extent().intervalx
            assert left + spare <= start <= end <= right - spare, text.get_text()


def test_a_long_joint_is_broken_between_factors_where_it_would_leave_the_axes() -> None:
    z = lem.latent("membership", lem.Categorical(2))
    items = [lem.observed(f"question {i}", lem.Bernoulli(), given=z) for i in range(5)]
    model = lem.Model([z, *items])
    figure, ax = plt.subplots(figsize=(4, 4))
    title = lem.plot.graph(model, ax).title
    assert title.get_text().replace("\n", " ") == str(model)
    assert all(line.endswith(")") for line in title.get_text().split("\n"))
    assert title.get_window_extent(figure.canvas.get_renderer()).width <= ax.bbox.width


def test_graph_draws_into_the_axes_given() -> None:
    ax = plt.figure().add_subplot()
    assert lem.plot.graph(mixture(), ax) is ax


@st.composite
def acyclic_graphs(draw: st.DrawFn) -> dict[str, list[str]]:
    names = [f"v{i}" for i in range(draw(st.integers(1, 8)))]
    parents = {name: [p for p in names[:i] if draw(st.booleans())] for i, name in enumerate(names)}
    order = draw(st.permutations(names))
    return {name: parents[name] for name in order}


@settings(deadline=None, max_examples=60)
@given(acyclic_graphs())
def test_layout_puts_parents_above_children_and_nothing_on_top_of_anything(
    parents: dict[str, list[str]],
) -> None:
    layout = layered(parents)
    assert list(layout.nodes) == list(parents)
    bends = [point for points in layout.arrows.values() for point in points[1:-1]]
    for (x, y), (u, v) in itertools.combinations([*layout.nodes.values(), *bends], 2):
        assert abs(x - u) > 0.99 or abs(y - v) > 0.99
    for (parent, child), points in layout.arrows.items():
        assert points[0] == layout.nodes[parent]
        assert points[-1] == layout.nodes[child]
        assert all(lower[1] == upper[1] - 1 for upper, lower in itertools.pairwise(points))


def test_layout_of_a_chain_is_straight_and_of_a_tree_does_not_cross() -> None:
    chain = layered({"a": [], "b": ["a"], "c": ["b"]})
    assert len({x for x, _ in chain.nodes.values()}) == 1
    tree = layered({"r": [], "a": ["r"], "b": ["r"], "b1": ["b"], "a1": ["a"], "b2": ["b"]}).nodes
    assert (tree["a"][0] < tree["b"][0]) == (tree["a1"][0] < min(tree["b1"][0], tree["b2"][0]))


def test_selection_marks_the_best() -> None:
    chosen = lem.select(lem.models.gaussian_mixture, X, [3, 1, 2], seed=0, restarts=2)
    ax = lem.plot.selection(chosen)
    line, points, mark = ax.lines
    assert line.get_xdata().tolist() == points.get_xdata().tolist() == [1, 2, 3]
    expected = [chosen.fits[k].bic for k in (1, 2, 3)]
    np.testing.assert_array_equal(points.get_ydata(), expected)
    assert list(mark.get_xdata()) == [2]
    assert list(mark.get_ydata()) == [min(expected)]
    assert ax.get_ylabel() == "BIC (smaller is better)"


def test_selection_among_names_has_a_tick_for_each() -> None:
    forms = ["spherical", "diagonal", "full"]
    chosen = lem.select(lambda c: lem.models.gaussian_mixture(2, c), X, forms, seed=0, restarts=2)
    ax = lem.plot.selection(chosen)
    assert [label.get_text() for label in ax.get_xticklabels()] == forms
    assert list(ax.lines[-1].get_xdata()) == [forms.index(chosen.best_k)]


# -- missing entries -------------------------------------------------------------------------------

HOLED = X.copy()
HOLED[np.random.default_rng(0).random(X.shape) < 0.2] = np.nan
WHOLE = ~np.isnan(HOLED).any(axis=1)


def test_points_with_missing_coordinates_are_left_out_and_counted() -> None:
    model = mixture()
    shares = lem.e_step(model, HOLED).marginal("z")[WHOLE]
    expected = {"responsibilities": blend(shares), "clusters": palette(2)[shares.argmax(axis=1)]}
    for name, colour in expected.items():
        ax = getattr(lem.plot, name)(model, HOLED)
        (points,) = ax.collections
        np.testing.assert_array_equal(points.get_offsets(), X[WHOLE])
        np.testing.assert_allclose(points.get_facecolors()[:, :3], colour)
        assert f"{np.count_nonzero(~WHOLE)} of 272 rows" in ax.get_title(loc="right")


def test_wholly_missing_rows_of_a_vector_are_no_points() -> None:
    data = X.copy()
    data[5:40] = np.nan
    (points,) = lem.plot.clusters(mixture(), data).collections
    np.testing.assert_array_equal(points.get_offsets(), np.delete(X, np.s_[5:40], axis=0))


def test_missing_scalars_are_not_counted() -> None:
    z = lem.latent("z", lem.Categorical(probs=[0.4, 0.6]))
    x = lem.observed("x", lem.Normal(mean=[2.0, 4.3], variance=[0.1, 0.2]), given=z)
    model, data = lem.Model([z, x]), HOLED[:, 0]
    known = ~np.isnan(data)
    ax = lem.plot.clusters(model, data)
    bars = [patch for patch in ax.patches if isinstance(patch, patches.Polygon | patches.Rectangle)]
    assert sum(bar.get_height() for bar in bars) == known.sum()
    (rug,) = lem.plot.responsibilities(model, data).collections
    np.testing.assert_array_equal(rug.get_offsets()[:, 0], data[known])
    expected = blend(lem.e_step(model, data).marginal("z")[known])
    np.testing.assert_allclose(rug.get_facecolors()[:, :3], expected)


def test_a_complete_node_beside_one_with_gaps_keeps_its_order() -> None:
    z = lem.latent("z", lem.Categorical(2))
    x = lem.observed("x", lem.Gaussian(), given=z)
    y = lem.observed("y", lem.Normal(), given=z)
    data = {"x": HOLED, "y": X[:, 0]}
    fit = lem.fit(lem.Model([z, x, y]), data, seed=0, restarts=2)
    (rug,) = lem.plot.responsibilities(fit, data, node="y").collections
    np.testing.assert_array_equal(rug.get_offsets()[:, 0], X[:, 0])
    expected = blend(fit.posterior(data).marginal("z"))
    np.testing.assert_allclose(rug.get_facecolors()[:, :3], expected)


def test_a_node_without_any_value_cannot_be_drawn() -> None:
    with pytest.raises(lem.DataError, match="must have a row with both columns to draw"):
        lem.plot.clusters(mixture(), np.where([True, False], X, np.nan))


# -- legends and levels ----------------------------------------------------------------------------


def legend(ax: Any) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_the_legend_names_states_and_contours() -> None:
    model = mixture()
    states = ["z = 0", "z = 1"]
    contours = ["mean", "1 standard deviation", "2 standard deviations"]
    assert legend(lem.plot.responsibilities(model, X)) == states + contours
    assert legend(lem.plot.clusters(model, X)) == [*states, "mean"]
    line = lem.fit(lem.models.gaussian_mixture(2), X[:, 0], seed=0, restarts=1)
    assert legend(lem.plot.responsibilities(line, X[:, 0])) == [
        *states,
        "share x density",
        "their sum",
    ]
    fit = lem.fit(lem.models.kmeans(2), X, assign=lem.hard, restarts=1, seed=0)
    assert legend(lem.plot.clusters(fit, X)) == [*states, "prototype"]


def test_the_legend_has_the_labels_of_states() -> None:
    data = {"x": X, "z": np.where(X[:, 0] > 3, "long", "short")}
    fit = lem.fit(lem.models.gaussian_mixture(2), data, seed=0)
    assert legend(lem.plot.clusters(fit, data))[:2] == ["z = long", "z = short"]


def test_levels_are_drawn_as_bars_with_their_names() -> None:
    z = lem.latent("z", lem.Categorical(probs=[0.5, 0.5]))
    table = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]])
    c = lem.observed("c", lem.Categorical(probs=table, levels=["no", "some", "all"]), given=z)
    model = lem.Model([z, c])
    data = lem.sample(model, 200, seed=0)["c"].astype(object)
    data[::10] = None
    shares = lem.e_step(model, data).marginal("z")
    known = np.array([entry is not None for entry in data])
    counted = {
        "responsibilities": [
            [shares[data == level, state].sum() / known.sum() for level in ("no", "some", "all")]
            for state in (0, 1)
        ],
        "clusters": [
            [np.sum(shares[data == level].argmax(axis=1) == state) for level in c.dist.levels]
            for state in (0, 1)
        ],
    }
    for name, expected in counted.items():
        ax = getattr(lem.plot, name)(model, data)
        assert [tick.get_text() for tick in ax.get_xticklabels()] == ["no", "some", "all"]
        heights = [[bar.get_height() for bar in bars] for bars in ax.containers]
        np.testing.assert_allclose(heights, expected)
    (expected_line,) = lem.plot.responsibilities(model, data).lines
    np.testing.assert_allclose(expected_line.get_ydata(), shares[known].mean(axis=0) @ table)


# -- what cannot be drawn --------------------------------------------------------------------------


def test_what_cannot_be_drawn_is_refused() -> None:
    model = mixture()
    for draw in (lem.plot.clusters, lem.plot.responsibilities):
        with pytest.raises(lem.ModelError, match=r"node must be .* observed nodes 'x', got 'q'"):
            draw(model, X, node="q")
        with pytest.raises(lem.ModelError, match=r"node must be .* observed nodes 'x', got 'z'"):
            draw(model, X, node="z")
        for columns in ((0, 5), (0, 0), (0, -1), (0, 1, 1), 1):
            with pytest.raises(lem.ModelError, match=r"columns must be two .* of the 2 columns"):
                draw(model, X, columns=columns)
        with pytest.raises(lem.ModelError, match="must be given a Model or a Fit, got 3"):
            draw(3, X)
    with pytest.raises(lem.ModelError, match="must be given a Selection or a Comparison, got 3"):
        lem.plot.selection(3)  # type: ignore[arg-type]
    with pytest.raises(lem.ModelError, match="must be given a Fit or a Trace, got 3"):
        lem.plot.trace(3)  # type: ignore[arg-type]
    with pytest.raises(lem.ModelError, match="must be given a Model, got 3"):
        lem.plot.graph(3)  # type: ignore[arg-type]


# -- traces and comparisons ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["gmm", "hard", "kmeans"])
def test_nothing_of_a_trace_is_cut_off_and_its_unit_is_named(kind: str) -> None:
    model = lem.models.kmeans(2) if kind == "kmeans" else lem.models.gaussian_mixture(2)
    fit = lem.fit(model, X, assign=lem.soft if kind == "gmm" else lem.hard, restarts=1, seed=0)
    ax = lem.plot.trace(fit)
    figure = ax.figure
    figure.canvas.draw()
    inside = figure.bbox
    box = ax.get_tightbbox()
    assert box.x0 >= inside.x0
    assert box.y0 >= inside.y0
    assert box.x1 <= inside.x1
    assert box.y1 <= inside.y1
    label = ax.get_ylabel()
    assert label.startswith(
        "distortion J, total" if kind == "kmeans" else "objective F, total nats"
    )
    assert ("ln p(X | θ)" in label) == (kind == "gmm")


def test_a_comparison_is_drawn_with_its_names() -> None:
    fits = {
        name: lem.fit(lem.models.gaussian_mixture(2, name), X, seed=0, restarts=1)
        for name in ("spherical", "full")
    }
    ax = lem.plot.selection(lem.compare(fits))
    assert [label.get_text() for label in ax.get_xticklabels()] == ["spherical", "full"]
    assert ax.get_xlabel() == ""
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), [fit.bic for fit in fits.values()])


def test_a_comparison_of_prototypes_is_drawn_without_a_best() -> None:
    fits = {
        k: lem.fit(lem.models.kmeans(k), X, assign=lem.hard, seed=0, restarts=1) for k in (1, 2)
    }
    ax = lem.plot.selection(lem.compare(fits))
    assert ax.get_ylabel() == "distortion J, total"
    assert ax.get_legend() is None
    assert list(ax.lines[-1].get_ydata()) == [fit.distortion for fit in fits.values()]


def test_a_regression_is_drawn_against_its_covariate() -> None:
    rng = np.random.default_rng(0)
    u = rng.uniform(0, 10, 60)
    y = np.where(rng.random(60) < 0.5, 5 + u, 15 - u)
    y[3] = np.nan
    z, covariate = lem.latent("z", lem.Categorical(2)), lem.covariate("u")
    for dist in (lem.LinearGaussian(), lem.GammaRegression()):
        model = lem.Model([z, covariate, lem.observed("y", dist, given=[z, covariate])])
        data = {"u": u, "y": y + rng.normal(size=60) * 0.1}
        fit = lem.fit(model, data, seed=0, restarts=3)
        for draw in (lem.plot.clusters, lem.plot.responsibilities):
            ax = draw(fit, data)
            assert (ax.get_xlabel(), ax.get_ylabel()) == ("u", "y")
            points = ax.collections[0].get_offsets()
            np.testing.assert_allclose(points, np.column_stack([u, data["y"]])[~np.isnan(y)])
            first = ax.lines[1]  # on a white one
            grid = np.column_stack([first.get_xdata(), first.get_xdata()])[:, :1]
            means = fit.model["y"].expected_value(grid).reshape(len(grid), -1)
            np.testing.assert_allclose(first.get_ydata(), means[:, 0])
            assert "1 of 60" in ax.get_title(loc="right")


def test_a_regression_is_not_drawn_against_its_offset() -> None:
    rng = np.random.default_rng(0)
    u, o = rng.uniform(0, 3, 60), rng.normal(size=60)
    y = rng.poisson(np.exp(np.where(np.arange(60) % 2, u, -u) + o))
    z, names = lem.latent("z", lem.Categorical(2)), [lem.covariate(name) for name in "ou"]
    node = lem.observed("y", lem.PoissonRegression(offset="o"), given=[z, *names])
    data = {"u": u, "o": o, "y": y}
    fit = lem.fit(lem.Model([z, *names, node]), data, seed=0, restarts=1, max_iter=20, tol=0)
    ax = lem.plot.clusters(fit, data)
    assert ax.get_xlabel() == "u"
    np.testing.assert_allclose(ax.collections[0].get_offsets(), np.column_stack([u, y]))
    grid = ax.lines[1].get_xdata()
    means = fit.model["y"].expected_value(np.column_stack([np.full(200, o.mean()), grid]))
    np.testing.assert_allclose(ax.lines[1].get_ydata(), means[:, 0])
