"""Jinja2 as the report uses it, and the one document shell: inline scripts under a policy of their own hashes."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from functools import cache
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from auditor.errors import AuditError
from auditor.report import values
from auditor.types import Json


def templates_folder() -> Path:
    """The templates: within the package in a wheel, beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "_templates", package.parent / "templates"):
        if (folder / "base.html").is_file():
            return folder
    raise AuditError(f"expected the report's templates in {package / '_templates'}; found none; install auditor again")


def plugin_folders() -> list[Path]:
    """The folder `templates` of each package that brings probes. Packages are found, not imported: their code may need torch."""
    names = dict.fromkeys(entry.module.partition(".")[0] for entry in entry_points(group="auditor.probes"))
    found = (find_spec(name) for name in names)
    return [Path(place) / "templates" for spec in found if spec for place in spec.submodule_search_locations or ()]


def finalize(value: object) -> object:
    """What every expression of a template passes through: markup of our own as it is, all else as clean, bounded text."""
    return value if isinstance(value, Markup) else values.text(value)


@cache
def environment() -> Environment:
    """Autoescape and StrictUndefined everywhere."""
    env = Environment(
        loader=FileSystemLoader([templates_folder(), *plugin_folders()]),  # ours come first: nobody replaces them
        autoescape=True,
        undefined=StrictUndefined,
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters["formatted"] = values.formatted
    env.filters["short"] = values.name
    return env


def asset(name: str) -> Markup:
    """A file of templates/assets as it is. Ours, so no user's string is in it."""
    return Markup((templates_folder() / "assets" / name).read_text(encoding="utf-8"))  # noqa: S704


LIBRARY = "plotly-cartesian.min.js"
"""plotly.js with the traces that a plane can hold (scatter, bar, heatmap ...): a third of the whole. From npm's package
plotly.js-cartesian-dist-min, as it is; MIT."""


@cache
def plotly() -> Markup:
    """The drawing library, read once."""
    return asset(LIBRARY)


@cache
def compressed() -> Markup:
    """The drawing library as the page carries it: gzip in base64, 0.7 MB for 1.5; the page unpacks it for its first chart."""
    packed = gzip.compress(plotly().encode(), 9, mtime=0)
    return Markup(base64.b64encode(packed).decode("ascii"))  # noqa: S704


def inert(data: Json) -> Markup:
    """JSON for a `<script type="application/json">`: nothing in it can end the element or start another."""
    dumped = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for character, code in (("&", "\\u0026"), ("<", "\\u003c"), (">", "\\u003e")):
        dumped = dumped.replace(character, code)
    return Markup(dumped)  # noqa: S704


def policy(*scripts: str) -> str:
    """The Content-Security-Policy under which exactly these inline scripts run, whoever adds them, and nothing is fetched."""
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in scripts)
    return (
        f"default-src 'none'; script-src {hashes or chr(39) + 'none' + chr(39)}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )
