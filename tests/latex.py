r"""Evaluate formulas written in the LaTeX of the library's docstrings.

The dialect is what such formulas need: sums and products of rows, states and entries, fractions,
functions, matrices, means, Iverson brackets. Everything is read as a textbook means it: ``a / b c``
divides by the product, ``\log 2 \pi \sigma^2`` is the logarithm of all of it, and ``\log (x) y``
of the bracket only. A scalar is a float; a vector is a column, ``(d, 1)``.

Subscripts are indices: ``i`` a row, ``k`` a state, other letters an entry; those of rows and
states may be left out. A hat changes nothing: a formula is evaluated at the parameters it claims.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from scipy import special

Expression = Callable[["Scope"], Any]

TOKEN = re.compile(r"\\[A-Za-z]+|\\.|\S")
SPACING = ["\\,", "\\;", "\\!", "\\big", "\\Big", "\\left", "\\right", "\\textstyle"]
INVISIBLE = {"\\hat", *SPACING}
FUNCTIONS: dict[str, Callable[..., Any]] = {
    r"\log": np.log,
    r"\cos": np.cos,
    r"\sin": np.sin,
    r"\sqrt": np.sqrt,
    r"\Gamma": special.gamma,
    r"\psi": special.digamma,
    "I": special.iv,  # its order is the subscript
    r"\operatorname{diag}": lambda a: np.diag(np.diag(a)),
    r"\operatorname{tr}": np.trace,
}
RELATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "=": lambda a, b: np.array_equal(a, b),
    r"\le": lambda a, b: a <= b,
    r"\ge": lambda a, b: a >= b,
    ">": lambda a, b: a > b,
}


@dataclass(frozen=True)
class Scope:
    """What symbols stand for."""

    rows: Mapping[str, np.ndarray]  # (n, ...), the weights r of the rows with an axis of states
    parameters: Mapping[str, np.ndarray]  # (K, ...)
    sizes: Mapping[str, int]  # of each index
    constants: Mapping[str, Any] = field(default_factory=dict)
    definitions: Mapping[str, tuple[list[str], Expression]] = field(default_factory=dict)
    index: Mapping[str, int] = field(default_factory=dict)

    def at(self, **index: int) -> Scope:
        return replace(self, index={**self.index, **index})

    def over(self, letters: str) -> Iterator[Scope]:
        if not letters:
            yield self
            return
        for position in range(self.sizes[letters[0]]):
            yield from self.at(**{letters[0]: position}).over(letters[1:])

    def look_up(self, name: str, letters: list[str]) -> Any:
        entries = [letter for letter in letters if letter not in ("i", "k")]
        if name in self.definitions:
            formal, body = self.definitions[name]
            names = [letter for letter in formal if letter not in ("i", "k")]
            return body(self.at(**{f: self.index[e] for f, e in zip(names, entries, strict=True)}))
        if name == "r":
            return float(self.rows["r"][self.index["i"], self.index["k"]])
        if name in self.rows:
            value = self.rows[name][self.index["i"]]
        elif name in self.parameters:
            value = self.parameters[name][self.index["k"]]
        else:
            known = {r"\pi": math.pi, "e": math.e, **self.constants, **self.index}
            return known[name]
        for letter in entries:
            value = value[self.index[letter]]
        return matrix(value[None] if entries and np.ndim(value) else value)  # of a matrix: a row


def matrix(value: Any) -> Any:
    """A float, or an array of two axes."""
    value = np.asarray(value, dtype=float)
    if value.size == 1:
        return value.item()
    return value[:, None] if value.ndim == 1 else value


def times(a: Any, b: Any) -> Any:
    return matrix(a @ b) if np.ndim(a) and np.ndim(b) else a * b


def power(base: Any, exponent: Any) -> Any:
    return np.linalg.inv(base) if np.ndim(base) and exponent == -1 else base**exponent


def size(a: Any) -> Any:
    """What bars mean: a length, or the determinant of a square matrix."""
    return np.linalg.det(a) if np.ndim(a) and len(a) == np.shape(a)[1] else np.linalg.norm(a)


def mean(values: np.ndarray, weights: np.ndarray) -> Any:
    return matrix(np.average(values, axis=0, weights=weights))


def median(values: np.ndarray, weights: np.ndarray) -> float:
    """The middle of the points with at most half of the weight on either side."""
    points = np.unique(values)
    sides = [[weights[values < x].sum(), weights[values > x].sum()] for x in points]
    in_the_middle = np.max(sides, axis=1) <= weights.sum() / 2 * (1 + 1e-12)
    return float(points[in_the_middle][[0, -1]].mean())


def mode(values: np.ndarray, weights: np.ndarray) -> float:
    return float(max(values, key=lambda value: weights[values == value].sum()))


OVER_ROWS: dict[str, Callable[[np.ndarray, np.ndarray], Any]] = {
    r"\overline": mean,
    r"\operatorname{median}": median,
    r"\operatorname{mode}": mode,
}


class Parser:
    """A recursive descent; each method reads one kind of phrase and returns its meaning."""

    def __init__(self, text: str) -> None:
        text = re.sub(r"\\bar *(\w)", r"\\bar\1 ", text)
        self.tokens = [token for token in TOKEN.findall(text) if token not in INVISIBLE]
        self.bars = False

    @property
    def next(self) -> str:
        return self.tokens[0] if self.tokens else ""

    def take(self, *expected: str) -> str:
        if not self.tokens or (expected and self.next not in expected):
            raise SyntaxError(f"expected {expected}, got {' '.join(self.tokens)!r}")
        return self.tokens.pop(0)

    def accept(self, token: str) -> bool:
        return self.next == token and bool(self.take())

    def relation(self) -> tuple[list[Expression], list[str]]:
        sides, relations = [self.sum()], []
        while self.next in RELATIONS:
            relations.append(self.take())
            sides.append(self.sum())
        return sides, relations

    def sum(self) -> Expression:
        sign = -1 if self.next in ("+", "-") and self.take() == "-" else 1
        terms = [(sign, self.quotient())]
        while self.next in ("+", "-"):
            sign = 1 if self.take() == "+" else -1
            terms.append((sign, self.quotient()))
        if len(terms) == 1 and sign == 1:
            return terms[0][1]
        return lambda s: sum(sign * term(s) for sign, term in terms)

    def quotient(self) -> Expression:
        value = self.product()
        while self.accept("/"):
            value = self._divide(value, self.product())
        return value

    @staticmethod
    def _divide(a: Expression, b: Expression) -> Expression:
        return lambda s: a(s) / b(s)

    def product(self, *, plain: bool = False) -> Expression:
        """Factors side by side; ``plain`` ones are an argument without brackets."""
        first = self.next
        factors = [self.factor()]
        alone = first in FUNCTIONS or first in ("(", "|", r"\sum", r"\operatorname")
        while not (plain and alone) and self._is_factor(plain):
            factors.append(self.factor())

        return lambda s: functools.reduce(times, (factor(s) for factor in factors))

    def _is_factor(self, plain: bool) -> bool:
        token = self.next
        if plain and (token in FUNCTIONS or token in ("(", "[", "|", r"\sum", r"\operatorname")):
            return False
        if token == "|":
            return not self.bars
        return bool(token) and token not in RELATIONS and token not in "+-/)]},:;"

    def factor(self) -> Expression:
        value = self.atom()
        while self.next in ("^", "!"):
            if self.accept("!"):
                value = self._apply(lambda x: special.gamma(x + 1), value)
            elif self.take("^") and self.accept(r"\top"):
                value = self._apply(np.transpose, value)
            else:
                value = self._apply(power, value, self.argument())
        return value

    @staticmethod
    def _apply(function: Callable[..., Any], *arguments: Expression) -> Expression:
        return lambda s: function(*(argument(s) for argument in arguments))

    def argument(self) -> Expression:
        """What TeX takes as one: a group, or a single token."""
        if self.next == "{":
            return self.group("{", "}")
        rest, self.tokens = self.tokens[1:], self.tokens[:1]
        value, self.tokens = self.atom(), rest
        return value

    def group(self, left: str, right: str) -> Expression:
        self.take(left)
        outside, self.bars = self.bars, left == "|"
        values = [self.sum()]
        while self.accept(","):
            values.append(self.sum())
        self.take(right)
        self.bars = outside
        return values[0] if len(values) == 1 else lambda s: [value(s) for value in values]

    def letters(self) -> list[str]:
        if not self.accept("_"):
            return []
        return list(iter(self.take, "}")) if self.accept("{") else [self.take()]

    def atom(self) -> Expression:
        token = self.take()
        if token.isdigit():
            while self.next.isdigit():
                token += self.take()
            return lambda s: float(token)
        if token in ("(", "|", "["):
            self.tokens.insert(0, token)
            if token == "[":
                return self.iverson()
            inside = self.group(token, {"(": ")", "|": "|"}[token])
            return inside if token == "(" else self._apply(size, inside)
        if token in (r"\frac", r"\tfrac"):
            return self._divide(self.argument(), self.argument())
        if token == r"\binom":
            return self._apply(special.binom, self.argument(), self.argument())
        if token in (r"\sum", r"\prod"):
            letters, body = "".join(self.letters()), self.product()
            fold = sum if token == r"\sum" else math.prod
            return lambda s: fold(body(each) for each in s.over(letters))
        if token in (r"\max", r"\min"):
            return self.extreme({r"\max": max, r"\min": min}[token])
        if token == r"\operatorname":
            token += "".join(iter(self.take, "}")) + "}"
        if token in OVER_ROWS:
            return self.over_rows(token)
        if token in FUNCTIONS and (token != "I" or self.next == "_"):
            order = [self.argument()] if self.accept("_") else []
            return self._apply(FUNCTIONS[token], *order, self.product(plain=True))
        letters = self.letters()
        return lambda s: s.look_up(token, letters)

    def iverson(self) -> Expression:
        self.take("[")
        (left, right), (relation,) = self.relation()
        self.take("]")
        return lambda s: float(RELATIONS[relation](left(s), right(s)))

    def over_rows(self, token: str) -> Expression:
        self.letters()  # of the weights
        body = self.argument() if token == r"\overline" else self.product(plain=True)
        weight, of = (lambda s: s.look_up("r", [])), OVER_ROWS[token]

        def value(s: Scope) -> Any:
            rows = list(s.over("i"))
            return of(
                np.array([body(row) for row in rows]), np.array([weight(row) for row in rows])
            )

        return value

    def extreme(self, of: Callable[..., Any]) -> Expression:
        for token in ("_", "{", "i", ":"):
            self.take(token)
        (left, right), (relation,) = self.relation()
        self.take("}")
        body = self.product()
        holds = RELATIONS[relation]
        return lambda s: of(body(row) for row in s.over("i") if holds(left(row), right(row)))


def read(text: str) -> tuple[list[Expression], list[str]]:
    """The sides of an equation or inequality, and the relations between them."""
    parser = Parser(text)
    found = parser.relation()
    if parser.tokens:
        raise SyntaxError(f"{text!r} goes on with {' '.join(parser.tokens)!r}")
    return found


def statements(text: str) -> list[str]:
    """The equations of a formula, which wide spaces separate."""
    return [part.strip().rstrip(",") for part in re.split(r"\\q?quad", text) if part.strip()]


def definition(text: str) -> tuple[str, list[str]] | None:
    """The name and the letters that an equation defines, if its left side is a bare name."""
    left = Parser(text.partition("=")[0])
    if r"\hat" in text.partition("=")[0] or left.next in FUNCTIONS or left.next in "({|[-1":
        return None
    name, letters = left.take(), left.letters()
    return None if left.tokens or "=" not in text else (name, letters)
