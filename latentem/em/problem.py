r"""The two half-steps of EM, for any model on any data.

With the posterior r(z) = p(z | x, θ_old) of each row,

.. math:: Q(\theta, \theta_{old}) = \sum_i w_i \sum_z r_i(z) \log p(x_i, z \mid \theta)
          = \sum_v Q_v(\theta_v)

is a sum over nodes, and each term needs only expected statistics of its node: the `Expectation` is
the record of them all. An E-step is one pass over blocks of rows that adds up the record; an M-step
hands each node its part; Q at any θ is read off the record without touching the data again.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Container, Sequence
from functools import cached_property
from typing import Any

import attrs
import numpy as np

from latentem import data as binding
from latentem.data import Data, is_certain, weighted_sum
from latentem.distributions.arrays import LOG_ZERO, Array
from latentem.distributions.base import Distribution, ExponentialFamily
from latentem.distributions.kernels import AttachedStack, Divided, Stack
from latentem.distributions.records import Choices, Counts, Record, Rows, StackRecord
from latentem.em.assign import Assignment, Hard, Soft
from latentem.em.expectation import Beliefs, Block, Expectation, Term
from latentem.em.layout import Family, Layout
from latentem.em.mixture import Mixture, is_mixture
from latentem.em.theta import Theta
from latentem.errors import DataError, DegenerateError, ModelError
from latentem.graph import Model, check_model
from latentem.inference.elimination import Factor
from latentem.inference.posterior import Posterior, concatenate
from latentem.parallel import map_blocks
from latentem.repeats import merged

#: Statistics are kept from step to step if they are at most so many numbers (8 MiB).
MOST_KEPT = 2**20


@attrs.frozen(eq=False, slots=False)
class Problem:
    """A model bound to data.

    Attributes
    ----------
    model : Model
    data : Data
    layout : Layout
    whole : Data
        All rows, from which reference points are taken, if this problem is on some rows only.
    """

    model: Model
    data: Data
    layout: Layout
    whole: Data

    @classmethod
    def of(cls, model: Model, data: object, weights: object = None) -> Problem:
        """Bind data to a model; see `latentem.data.bind`."""
        check_model(model)
        model, bound = binding.bind(model, data, weights)
        return cls(model, bound, Layout.of(model, bound), bound)

    def theta(self, model: Model | None = None, *, renew: bool = False) -> Theta:
        """Return the parameters of a model on this graph, bound to the data.

        Parameters
        ----------
        model : Model, optional
            By default the problem's.
        renew : bool
            Take reference points from these data even where the model has some from others.
        """
        model = self.model if model is None else model
        dists: dict[str, Distribution] = {}
        for name, dist in model.distributions.items():
            first = self.model.tied(name)[0]
            if first in dists:
                dists[name] = dists[first]
                continue
            tied = self.tied_values(name)
            if tied and (renew or getattr(dist, "reference", None) is None):
                dist = binding.bound(tied, dist, self.whole)
            dists[name] = dists[first] = dist.flatten(model.parents_shape(name))
        return Theta(self.layout, dists)

    def tied_values(self, name: str) -> list[str]:
        """Return those of the nodes with one θ with a node that have values."""
        return [tied for tied in self.model.tied(name) if tied in self.data.values]

    def to_model(self, theta: Theta) -> Model:
        """Return the model with these parameters, parents' axes unfolded."""
        shape = self.model.parents_shape
        return self.model.replace(
            {name: dist.unflatten(shape(name)) for name, dist in theta.dists.items()}
        )

    # -- the E-step ----------------------------------------------------------------------------

    def expectation(self, theta: Theta, source: Assignment | Beliefs) -> Expectation:
        """Return the expected statistics under the posterior at theta, or under given beliefs."""
        if isinstance(source, Assignment) and self.reduced_for(source) is not self:
            return self.reduced_for(source).expectation(theta, source)
        if isinstance(source, Soft | Hard) and is_mixture(self.layout, self.data):
            return self._mixture_expectation(theta, source)

        def expect(rows: slice) -> Expectation:
            block = self.block(theta, rows, source)
            data, posterior = block.data, block.posterior
            stacks, counts = self._statistics(block.attached, data, posterior)
            objective, evidence = posterior.objective, posterior.evidence
            return Expectation(
                stacks,
                counts,
                0.0 if objective is None else weighted_sum(objective, data),
                None if evidence is None else weighted_sum(evidence, data),
            )

        return self._sum(expect, theta.cells)

    def _mixture_expectation(self, theta: Theta, rule: Soft | Hard) -> Expectation:
        """Return the expected statistics of a mixture."""
        mixture = Mixture.of(theta, rule)
        pass_over = mixture.assign if rule.is_hard else mixture.expect
        (family,) = self.layout.observed

        def expect(rows: slice) -> Expectation:
            data = self.data[rows]
            attached = self.attached(mixture.stack, family, data, rows)
            expectation, objective = pass_over(data, family, attached)
            self._check_possible(theta, data, objective, rows.start)
            return expectation

        total = self._sum(expect, mixture.cells, mixture.largest_block(self.data, family))
        if mixture.divided is None:
            return total
        return mixture.completed(total, self._common_sums(mixture.divided))

    def _common_sums(self, divided: Divided) -> Array:
        """Return the common sums of all rows, which are taken once."""
        known, sums = self._kept.get("common sums", (None, None))
        if known is divided.basis and sums is not None:
            return sums
        (value,), weights = self.data.values.values(), self.data.weights

        def block(rows: slice) -> Array:
            return divided.common_sums(value[rows], None if weights is None else weights[rows])

        parts = map_blocks(block, self.data.n, divided.linear.n_statistics)
        total = functools.reduce(operator.add, parts)
        self._kept["common sums"] = divided.basis, total
        return total

    def _sum(
        self, expect: Callable[[slice], Expectation], cells: int, largest: int | None = None
    ) -> Expectation:
        """Return the sum of the expectations of all blocks of rows."""
        parts = map_blocks(expect, self.data.n, cells, largest)
        total = next(parts)
        for part in parts:
            total = total + part
        return total

    @cached_property
    def distinct(self) -> Data:
        """The data with equal rows as one; no difference to rules that treat them alike."""
        return merged(self.data)

    def reduced_for(self, rule: Assignment) -> Problem:
        """Return the problem on the distinct rows, or as it is if few repeat or the rule draws."""
        return self._of_distinct if rule.is_monotone else self

    @cached_property
    def _of_distinct(self) -> Problem:
        return self if self.distinct is self.data else attrs.evolve(self, data=self.distinct)

    def posterior(self, theta: Theta, assign: Assignment) -> Posterior:
        """Return the posterior of all rows, as given, at theta."""

        def infer(rows: slice) -> Posterior:
            block = self.block(theta, rows, assign)
            posterior = block.posterior
            base = sum(self._base_rows(theta, block.data).values())
            return attrs.evolve(
                posterior,
                weights=block.data.weights,
                objective=None if posterior.objective is None else posterior.objective + base,
                evidence=None if posterior.evidence is None else posterior.evidence + base,
            )

        posterior = concatenate(list(map_blocks(infer, self.data.n, theta.cells)))
        places = self.data.places
        return posterior if places is None else posterior[places]

    def log_evidence(self, theta: Theta) -> Array:
        """Return log p(x) of each row, as given, ``(n,)``; -inf for one that is impossible."""

        def infer(rows: slice) -> Array:
            data, attached = self._attach(theta, rows)
            factors = self._factors(theta, data, attached)
            evidence, _ = self.layout.elimination.sum_product(factors)
            evidence = evidence + sum(self._base_rows(theta, data).values())
            if not (evidence < np.inf).all():
                bad = int((~(np.broadcast_to(evidence, data.n) < np.inf)).argmax())
                self._refuse_impossible(theta, data, bad, rows.start)
            possible = evidence > LOG_ZERO / 10
            return np.broadcast_to(np.where(possible, evidence, -np.inf), data.n)

        evidence = np.concatenate(list(map_blocks(infer, self.data.n, theta.cells)))
        places = self.data.places
        return evidence if places is None else evidence[places]

    def log_densities(self, theta: Theta) -> list[tuple[tuple[str, ...], Array]]:
        """Return log p of each observed family in all rows, ``(*scope, n)``, with its scope."""
        data, attached = self._attach(theta, slice(0, self.data.n))
        return [
            (family.scope, _density_table(family, stack, data))
            for family, stack in zip(self.layout.observed, attached, strict=True)
        ]

    def block(self, theta: Theta, rows: slice, source: Assignment | Beliefs) -> Block:
        """Return a block of data with its posterior."""
        data, attached = self._attach(theta, rows)
        if not isinstance(source, Assignment):
            return Block(data, attached, source[rows])
        posterior = source(self.layout.elimination, self._factors(theta, data, attached), rows)
        assert posterior.objective is not None
        self._check_possible(theta, data, posterior.objective, rows.start)
        return Block(data, attached, posterior)

    def _check_possible(self, theta: Theta, data: Data, objective: Array, start: int) -> None:
        """Raise unless the rows of a block, the first of which is given, have a density."""
        if any(not base > LOG_ZERO / 10 for base in self._log_base(theta).values()):
            objective = objective + sum(self._base_rows(theta, data).values())
        if not (objective.min() > LOG_ZERO / 10 and objective.max() < np.inf):
            objective = np.broadcast_to(objective, data.n)
            impossible = ~((objective > LOG_ZERO / 10) & (objective < np.inf))
            if data.weights is not None:
                # A row without weight may be impossible; what is no number stays none times 0.
                impossible &= (data.weights > 0) | ~(objective < np.inf)
            if impossible.any():
                self._refuse_impossible(theta, data, int(impossible.argmax()), start)

    def _attach(self, theta: Theta, rows: slice) -> tuple[Data, tuple[AttachedStack, ...]]:
        """Return a block of data, and the stacks of kernels on it."""
        data = self.data[rows]
        attached = tuple(
            self.attached(stack, family, data, rows)
            for stack, family in zip(theta.stacks, self.layout.observed, strict=True)
        )
        return data, attached

    def attached(self, stack: Stack, family: Family, data: Data, rows: slice) -> AttachedStack:
        """Return a stack of kernels on a block of data; what few statistics there are is kept."""
        place = (family.names, rows.start, rows.stop, stack.factored)
        known, matrix = self._kept.get(place, (None, None))
        if known is not None and not stack.same_statistics(known):
            matrix = None
        attached = stack.on(
            tuple(data.argument(name) for name in family.names),
            tuple(
                data.present(name) if name in self.layout.incomplete else None
                for name in family.names
            ),
            matrix,
        )
        if matrix is None and self.keeps(stack):
            self._kept[place] = stack, attached.matrix
        return attached

    def keeps(self, stack: Stack) -> bool:
        """Return whether the statistics that a stack of kernels takes are kept."""
        return self.data.n * stack.n_columns <= MOST_KEPT

    @cached_property
    def _kept(self) -> dict[object, tuple[Any, Array | None]]:
        """Statistics of blocks of rows with the stack that made them, and common sums."""
        return {}

    def _factors(self, theta: Theta, data: Data, attached: Sequence[AttachedStack]) -> list[Factor]:
        """Return log p of each family given the data, as factors over the latents."""
        factors = []
        for family in self.layout.latents:
            (name,) = family.names
            k = self.layout.elimination.sizes[name]
            scope = (*family.scope, name)
            with_own = attrs.evolve(
                family,
                parents=(*family.parents, name),
                sizes=(*family.sizes, k),
                scope=scope,
            )
            if name in self.layout.regressed:
                column = _regressed_table(theta.dists[name], data.inputs[name], k)
            else:
                column = theta.latent_tables[name].reshape(-1, 1)
            if family.observed:
                column = np.broadcast_to(column, (len(column), data.n))
            factors.append(Factor(scope, with_own.at_observed(column, data)))
            if name in data.labels:
                weights = binding.label_weights(data.labels[name], k)
                with np.errstate(divide="ignore"):
                    factors.append(Factor((name,), np.log(weights)))
        for family, stack in zip(self.layout.observed, attached, strict=True):
            factors.append(Factor(family.scope, _density_table(family, stack, data)))
        return factors

    def _refuse_impossible(self, theta: Theta, data: Data, bad: int, first_row: int) -> None:
        """Raise the error that says which row has no density, and which node is to blame."""
        row = data.row(bad) if data.order is not None else first_row + bad
        partly = []
        for family in self.layout.observed:
            for name in family.names:
                if name in data.missing and data.missing[name][bad]:
                    continue
                value = data[slice(bad, bad + 1)].argument(name)
                log_density = theta.kernels[name].on(value).log_density()
                if not (log_density < np.inf).all():  # NaN too
                    raise ModelError(
                        f"Node '{name}': {type(theta.dists[name]).__name__}.log_prob must be a "
                        f"number or -inf, got {log_density.max()} for row {row}, value {value[0]}. "
                        "Check its formula and the support of the data.",
                        node=name,
                    )
                if not (log_density > LOG_ZERO / 10).any():
                    raise DataError(
                        f"data['{name}'] must have positive density under some state of Node "
                        f"'{name}', got value {value[0]} in row {row}, impossible under all. "
                        "Drop the row, or choose a family or start that allows it.",
                        node=name,
                    )
                if not (log_density > LOG_ZERO / 10).all():
                    partly.append(f"'{name}' ({value[0]})")
        known = [name for name, labels in data.labels.items() if is_certain(labels[bad : bad + 1])]
        labels = f" with its label of {', '.join(map(repr, known))}" if known else ""
        values = f" with {' and '.join(partly)}" if partly else ""
        raise DataError(
            f"data must have positive density under the model, got row {row}{values}{labels}, "
            "which no joint state of the latents allows. Drop the row or label, or allow the "
            "combination.",
            node=known[0] if known else None,
        )

    def _statistics(
        self, attached: Sequence[AttachedStack], data: Data, posterior: Posterior
    ) -> tuple[tuple[StackRecord, ...], tuple[Counts | Choices, ...]]:
        """Return the records of the observed families and of the latents."""
        weights = data.weights
        stacks = []
        for family, stack in zip(self.layout.observed, attached, strict=True):
            table = posterior.table(family.scope)
            if weights is not None:
                table = table * weights
            table = family.over_parents(table, data)
            if table.shape[-1] != data.n:
                table = np.broadcast_to(table, (len(table), data.n))
            stacks.append(stack.record(table))
        counts = [self._counts(family, data, posterior) for family in self.layout.latents]
        return tuple(stacks), tuple(counts)

    def _counts(self, family: Family, data: Data, posterior: Posterior) -> Counts | Choices:
        """Return the expected counts of a latent's states for each of its parents' states."""
        (name,) = family.names
        table = posterior.table((*family.scope, name))
        by_state = np.moveaxis(table, -2, 0)  # (states, *scope, rows or 1)
        if family.observed:
            parts = [family.over_parents(part, data) for part in by_state]
            by_state = np.stack([np.broadcast_to(p, (len(p), data.n)) for p in parts])
        by_state = by_state.reshape(len(by_state), -1, by_state.shape[-1])  # (states, K, rows or 1)
        if name in self.layout.regressed:
            return Choices.of(data.inputs[name], by_state, data.weights)
        if by_state.shape[-1] != data.n:
            return Counts(by_state[..., 0] * data.total_weight)
        return Counts(by_state.sum(-1) if data.weights is None else by_state @ data.weights)

    # -- Q and the M-step ----------------------------------------------------------------------

    def records(self, theta: Theta, expectation: Expectation) -> dict[str, Record]:
        """Return each node's record; ``theta`` is the one the expectation was taken with."""
        records: dict[str, Record] = {}
        for family, counts in zip(self.layout.latents, expectation.counts, strict=True):
            records[family.names[0]] = counts
        for family, stack, sums in zip(
            self.layout.observed, theta.stacks, expectation.stacks, strict=True
        ):
            records.update(zip(family.names, stack.split(sums), strict=True))
        return records

    def m_step(
        self, theta: Theta, records: dict[str, Record], *, keep: Container[str] = ()
    ) -> Theta:
        """Return the parameters that maximise Q, node by node; those of nodes to keep stay."""
        dists = dict(theta.dists)
        for name, record in self.by_theta(records).items():
            if name in keep:
                continue
            try:
                new = theta.dists[name].update(record)
            except (DegenerateError, ModelError) as error:
                raise type(error)(f"Node '{name}': {error}", node=name) from error.__cause__
            dists.update(dict.fromkeys(self.model.tied(name), new))
        return Theta(self.layout, dists)

    def by_theta(self, records: dict[str, Record]) -> dict[str, Record]:
        """Return the records of nodes with one θ as one, by the node the others are tied to."""
        pooled: dict[str, Record] = {}
        for name, record in records.items():
            first = self.model.tied(name)[0]
            if first in pooled:
                record = pooled_record(self.model[first].free, pooled[first], record)
            pooled[first] = record
        return pooled

    def q(self, theta: Theta, records: dict[str, Record]) -> dict[str, Term]:
        """Return Q at theta under the records, node by node."""
        terms = {}
        base = self._log_base(theta)
        for name, record in records.items():
            if isinstance(record, Counts):
                value, magnitude = record.expected_log_prob(theta.latent_tables[name].T)
            elif isinstance(record, Choices):
                value, magnitude = record.expected_log_prob(theta.dists[name])
            else:
                value, magnitude = theta.kernels[name].expected_log_prob(record)
            terms[name] = Term(value + base.get(name, 0.0), magnitude)
        return terms

    def log_priors(self, theta: Theta) -> dict[str, float]:
        """Return the log-densities of the parameters under their priors, once for tied nodes."""
        if not self.has_priors:
            return {}
        own = {name: d for name, d in theta.dists.items() if self.model.tied(name)[0] == name}
        return {name: dist.log_prior for name, dist in own.items() if dist.has_prior}

    @cached_property
    def has_priors(self) -> bool:
        """Whether any parameters have a prior."""
        return any(dist.has_prior for dist in self.model.distributions.values())

    def base_total(self, theta: Theta) -> float:
        """Return the constant that `Expectation.objective` leaves out."""
        return sum(self._log_base(theta).values())

    def _log_base(self, theta: Theta) -> dict[str, float]:
        """Return the log base measures of the nodes whose kernels leave them out."""
        if not self._base:
            return {}
        return {name: self._base[name] for name in theta.linear if name in self._base}

    @cached_property
    def _base(self) -> dict[str, float]:
        """The log base measures of exponential families, where not 0; constants of the data."""
        families = {
            name: dist.free
            for name, dist in self.model.distributions.items()
            if name in self.data.values and isinstance(dist.free, ExponentialFamily)
        }

        def block(rows: slice) -> dict[str, float]:
            data = self.distinct[rows]
            return {
                name: weighted_sum(_base_measure(family, data, name), data)
                for name, family in families.items()
            }

        totals = dict.fromkeys(families, 0.0)
        for part in map_blocks(block, self.distinct.n, cells=2):
            for name, value in part.items():
                totals[name] += value
        return {name: value for name, value in totals.items() if value != 0.0}

    def _base_rows(self, theta: Theta, data: Data) -> dict[str, Array]:
        """Return the log base measures, ``(rows,)`` each, that the nodes' kernels leave out."""
        return {name: _base_measure(family, data, name) for name, family in theta.linear.items()}

    def filled(self, rng: np.random.Generator) -> Problem:
        """Return the problem with missing parts of values drawn from their columns."""
        if not self.data.gapped:
            return self
        layout = attrs.evolve(self.layout, gapped=frozenset())
        return attrs.evolve(self, data=self.data.filled_from(self.whole, rng), layout=layout)

    def take(self, rows: Array) -> Problem:
        """Return the problem on these rows only; they keep their numbers."""
        data = self.data[rows]
        if data.order is None:
            data = attrs.evolve(data, order=rows)
        return attrs.evolve(self, data=data)


def pooled_record(dist: Distribution, a: Record, b: Record) -> Record:
    """Return the sum of two records of a distribution, which may be of different nodes."""
    if type(a) is type(b):
        return a + b
    return _of_values(dist, a) + _of_values(dist, b)


def _of_values(dist: Distribution, record: Record) -> Record:
    """Return a latent's record as an observed node would have it."""
    if isinstance(record, Choices):
        return record.rows
    if not isinstance(record, Counts):
        return record
    if not isinstance(dist, ExponentialFamily):
        return Rows(((record.states, record.counts),))
    return record.as_statistics(dist)


def _regressed_table(dist: Distribution, inputs: Array, k: int) -> Array:
    """Return log p(z | parents, covariates) of a latent, ``(K * states, rows)``."""
    with np.errstate(divide="ignore"):
        log_prob = dist.state_log_probs(inputs)  # (rows, K, states)
    table: Array = log_prob.reshape(len(inputs), -1).T
    return table


def _density_table(family: Family, stack: AttachedStack, data: Data) -> Array:
    """Return log p of a family given the data, ``(*scope, rows)``."""
    log_density = stack.log_density()
    family.check(log_density)
    return family.at_observed(log_density, data)


def _base_measure(family: ExponentialFamily, data: Data, name: str) -> Array:
    """Return log h(x) of a node, ``(rows,)``, or ``(1,)`` if it is the same for all."""
    base = np.atleast_1d(np.asarray(family.log_base_measure(data.argument(name)), dtype=float))
    present = data.present(name)
    return base if present is None else base * present
