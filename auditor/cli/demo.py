"""`auditor demo`: the embedded models on the embedded data, without a network."""

from __future__ import annotations

from pathlib import Path

from auditor import api
from auditor.cli.request import Request
from auditor.cli.run import run_request
from auditor.config import load_config
from auditor.demo import data
from auditor.errors import ConfigError

AUDITS = {
    "digits": ("demo:digits", "digits"),
    "digits-flawed": ("demo:digits-flawed", "digits-marked"),
    "photographs": ("demo:efficientnet-lite0", "photographs"),
}
"""Report -> (model, data)."""


def run_demo(out: Path, *, only: str | None = None, profile: str = "quick", work: Path | None = None) -> int:
    """Audit each demo, print the verdicts and where to click.

    Returns 0 where every gate said what it was made to say: the flawed model is to fail, that is the demonstration.
    """
    names = list(AUDITS) if only is None else [name.strip() for name in only.split(",")]
    unknown = [name for name in names if name not in AUDITS]
    if unknown:
        raise ConfigError(f"--only: there is no demo {unknown[0]!r}; the demos are {', '.join(AUDITS)}")
    expected = {"digits-flawed": 1}
    codes = {name: run_one(name, out, profile=profile, work=work) for name in names}
    print()
    surprises = []
    for name, code in codes.items():
        verdict = api.open_audit(out / name).verdict
        assert verdict is not None
        print(f"{verdict.verdict.upper():<5} {name}: {verdict.why}\n      {(out / name / 'index.html').resolve().as_uri()}")
        if code != expected.get(name, 0):
            surprises.append(name)
    print(f"\nAll reports: {(out / 'index.html').resolve().as_uri()}")
    if surprises:
        print(f"expected the flawed digits to fail and the others to pass; it was otherwise for {', '.join(surprises)}")
    return 1 if surprises else 0


def run_one(name: str, out: Path, *, profile: str, work: Path | None) -> int:
    """One audit of the demo into `out/name`."""
    model, source = AUDITS[name]
    print(f"\n== {name} ==")
    folder = data.build(source, api.work_folder(work) / "demo" / source)
    settings = load_config(Path(data.__file__).with_name(f"{name}.toml"))
    request = Request(model=model, data=str(folder), out=out / name, work=work, profile=profile, settings=settings)
    return run_request(request, force=True)
