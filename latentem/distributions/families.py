"""The families at hand: those of the library, and those that other packages register."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points

import attrs

from latentem.distributions.base import Distribution
from latentem.distributions.fixed import Fixed
from latentem.errors import ModelError

#: The group of entry points under which a package registers families.
GROUP = "latentem.distributions"


def families() -> Mapping[str, type[Distribution]]:
    """Return the families of distributions at hand, by name.

    They are the library's own and those that installed packages register as entry points of the
    group ``latentem.distributions``. A registered family is imported when it is looked up, so a
    broken package is noticed by those who ask for its families only.

    Returns
    -------
    mapping of str to type
        Looking a name up raises `ModelError` if what a package registers under it cannot be
        imported or is no `Distribution`, or if the name is taken; ``KeyError`` if there is none.

    Examples
    --------
    >>> import latentem as lem
    >>> lem.families()["Poisson"] is lem.Poisson
    True

    A package registers its own by two lines of its ``pyproject.toml``::

        [project.entry-points."latentem.distributions"]
        Maxwell = "physics.families:Maxwell"
    """
    module = importlib.import_module("latentem.distributions")
    public = {name: getattr(module, name) for name in module.__all__}
    built_in = {
        name: kind
        for name, kind in public.items()
        if inspect.isclass(kind) and issubclass(kind, Distribution) and kind is not Fixed
    }
    concrete = {name: kind for name, kind in built_in.items() if not inspect.isabstract(kind)}
    registered: dict[str, list[EntryPoint]] = {}
    for point in sorted(entry_points(group=GROUP), key=_label):
        registered.setdefault(point.name, []).append(point)
    return _Families(concrete, registered)


@attrs.frozen(eq=False, repr=False)
class _Families(Mapping[str, type[Distribution]]):
    """A mapping that imports a registered family when it is looked up."""

    built_in: Mapping[str, type[Distribution]]
    registered: Mapping[str, Sequence[EntryPoint]]

    def __getitem__(self, name: str) -> type[Distribution]:
        points = self.registered.get(name, ())
        if not points and name not in self.built_in:
            close = get_close_matches(str(name), list(self), n=1)
            remedy = f"Did you mean {close[0]!r}?" if close else "Install the package that has it."
            raise KeyError(f"families: name must be one of {list(self)}, got {name!r}. {remedy}")
        holders = [*(["latentem"] if name in self.built_in else []), *map(_package, points)]
        if len(holders) > 1:
            raise ModelError(
                f"families: {name!r} must be the name of one family, got one of each of "
                f"{', '.join(holders)} ({', '.join(map(_label, points))}). Import the one you "
                f"want from its package, or uninstall the other."
            )
        return _loaded(points[0]) if points else self.built_in[name]

    def __contains__(self, name: object) -> bool:
        return name in self.built_in or name in self.registered

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*self.built_in, *self.registered]))

    def __len__(self) -> int:
        return len({*self.built_in, *self.registered})

    def __repr__(self) -> str:
        return f"families({', '.join(self)})"


def _loaded(point: EntryPoint) -> type[Distribution]:
    """Return the class that an entry point names, or raise `ModelError`."""
    remedy = f"Update or uninstall the package {_package(point)}."
    try:
        kind = point.load()
    # Whatever the import of somebody else's package raises is that package's, and is named.
    except Exception as error:
        raise ModelError(
            f"families: {_label(point)} must be importable, got {type(error).__name__}: {error}. "
            f"{remedy}"
        ) from error
    if not (inspect.isclass(kind) and issubclass(kind, Distribution)):
        raise ModelError(
            f"families: {_label(point)} must be a subclass of Distribution, got {kind!r}. {remedy}"
        )
    if inspect.isabstract(kind):
        absent = ", ".join(sorted(kind.__abstractmethods__))
        raise ModelError(
            f"families: {_label(point)} must have all methods of a distribution, got none of the "
            f"name {absent}. {remedy}"
        )
    return kind


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else "an unknown package"


def _label(point: EntryPoint) -> str:
    return f"entry point '{point.name} = {point.value}' of package {_package(point)}"
