"""The probes: one module each, found by walking this package and the entry points `auditor.probes`."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from auditor.errors import ConfigError
from auditor.probe import Probe
from auditor.types import CHAPTERS, Json


def probe_of(module_name: str) -> type[Probe]:
    """The one Probe that a module defines; TypeError where there is not exactly one."""
    module = importlib.import_module(module_name)
    found = [
        item
        for _, item in inspect.getmembers(module, inspect.isclass)
        if issubclass(item, Probe) and item.__module__ == module.__name__ and not inspect.isabstract(item)
    ]
    if len(found) != 1:
        raise TypeError(f"{module_name} must define exactly one Probe; it defines {len(found)}")
    return found[0]


def brought(entry: EntryPoint, known: Mapping[str, type[Probe]]) -> type[Probe]:
    """The probe of a plug-in. Raises ConfigError that names the package where it cannot be loaded or takes another's name."""
    whose = f"the plug-in {entry.value} of {entry.dist.name if entry.dist else 'an unknown package'}"
    try:
        probe = entry.load()
    except Exception as error:
        raise ConfigError(f"{whose} cannot be loaded: {type(error).__name__}: {error}; mend or uninstall it") from error
    if not (inspect.isclass(probe) and issubclass(probe, Probe)):
        raise ConfigError(f"{whose}: expected a subclass of auditor.probe.Probe, got {probe!r}; correct its entry point")
    if probe.id() != entry.name or entry.name in known:
        why = "there is a probe of that name" if entry.name in known else f"its module names it {probe.id()!r}"
        raise ConfigError(f"{whose} cannot be called {entry.name!r}: {why}; rename its module and entry point")
    return probe


@cache
def registry() -> Mapping[str, type[Probe]]:
    """Probe id -> class, in the order of the report."""
    found = {info.name: probe_of(f"{__name__}.{info.name}") for info in pkgutil.iter_modules(__path__)}
    for entry in entry_points(group="auditor.probes"):
        found[entry.name] = brought(entry, found)
    rank = {name: place for place, name in enumerate(CHAPTERS)}
    return {name: found[name] for name in sorted(found, key=lambda name: (rank.get(name, len(rank)), name))}


def named(name: str) -> type[Probe]:
    """The probe of that id, or a ConfigError that lists the known ones."""
    known = registry()
    if name not in known:
        raise ConfigError(f"there is no probe {name!r}; the probes are {', '.join(known)}")
    return known[name]


def configured(name: str, settings: Mapping[str, Json], profile: str) -> Probe | None:
    """A probe with the parameters of its profile and of audit.toml; None where the profile leaves it out.

    Raises ConfigError for a parameter that the probe does not have, or of another type.
    """
    probe = named(name)
    preset = probe.profiles.get(profile, {})
    if preset is None and not settings:
        return None
    known = probe().parameters()
    values: dict[str, Json] = dict(preset or {})
    for key, value in settings.items():
        if key not in known:
            raise ConfigError(f"[probes.{name}] has no parameter {key!r}; it has {', '.join(known) or 'none'}")
        values[key] = coerced(name, key, value, known[key])
    try:
        return probe(**values)
    except ValueError as error:
        raise ConfigError(f"[probes.{name}]: {error}") from error


def coerced(probe: str, key: str, value: Json, default: Json) -> Json:
    """`value` in the type of the parameter's default."""
    if isinstance(value, list):
        value = tuple(value)
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if default is not None and type(value) is not type(default):
        raise ConfigError(f"[probes.{probe}] {key}: expected {type(default).__name__} such as {default!r}, got {value!r}")
    return value
