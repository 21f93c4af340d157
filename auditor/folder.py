"""An audit folder from outside: judged, rendered, and put in place only when it is whole."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from functools import cached_property
from importlib import import_module
from pathlib import Path

from auditor.config import Settings
from auditor.config.lines import located
from auditor.errors import StoreError
from auditor.gate import judge
from auditor.store import read_audit, read_columns, read_json, sync_folder, write_bytes, write_verdict
from auditor.types import Array, AuditRecord, Verdict


class Columns(Mapping[str, Array]):
    """predictions.parquet of a folder, read when a column is first asked for: most checks ask for none."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def held(self) -> dict[str, Array]:
        """Column -> (N,)."""
        return read_columns(self.folder)

    def __getitem__(self, name: str) -> Array:
        return self.held[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.held)

    def __len__(self) -> int:
        return len(self.held)


def judge_folder(folder: Path, settings: Settings, *, today: date | None = None, record: AuditRecord | None = None) -> Verdict:
    """Judge the audit in `folder` under [gate], without writing. `today`: the clock's day where None; `record`: if it is read."""
    policy = settings.gate
    baseline = None
    if policy.baseline is not None and any(rule.paired for rule in policy.all_rules):
        from auditor.baseline import read_baseline  # here, not above: most checks need none

        baseline = read_baseline(policy.baseline)
    verdict = judge(
        record or read_audit(folder),
        Columns(folder),
        policy,
        baseline=baseline,
        today=today or date.today(),
        group=settings.data.group or "",
    )
    return replace(verdict, source=located(settings))


def write_judgement(folder: Path, verdict: Verdict) -> None:
    """gate.json, every export of it, and index.html."""
    from auditor.report import render  # here, not above: `auditor check` answers without the report's libraries

    write_verdict(folder, verdict)
    for name, text in exported(read_audit(folder), verdict, Columns(folder)).items():
        write_bytes(folder / name, text.encode())
    render(folder)


def exported(record: AuditRecord, verdict: Verdict, columns: Mapping[str, Array]) -> dict[str, str]:
    """File name -> content of what is written beside gate.json; all of it says what gate.json says."""
    from auditor.exports.images import images
    from auditor.exports.junit import junit
    from auditor.exports.model_card import eval_results, model_card
    from auditor.exports.sarif import sarif
    from auditor.exports.summary import summary

    version = str(import_module("auditor").__version__)
    found = {
        "junit.xml": junit(record, verdict),
        "summary.md": summary(record, verdict),
        "results.sarif": sarif(record, verdict, version=version),
        "model_card.md": model_card(record, verdict),
        "images.csv": images(verdict, columns),
    }
    results = eval_results(record, verdict)
    return found if results is None else {**found, ".eval_results/auditor.yaml": results}


@contextmanager
def whole_or_nothing(out: Path) -> Iterator[Path]:
    """A folder beside `out` to write an audit into: it becomes `out` when the block ends well, and goes when it does not."""
    folder = out.parent / f".{out.name}.partial"
    shutil.rmtree(folder, ignore_errors=True)  # what a run that was killed left there
    try:
        yield folder
        put_in_place(folder, out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def existing_key(out: Path) -> str | None:
    """The work key of the finished audit in `out`, None where there is none: of the plan that it began with."""
    if not (out / "audit.json").exists():
        return None
    began = read_json(out / "run.json").get("key") if (out / "run.json").exists() else None
    return str(began or read_json(out / "audit.json").get("provenance", {}).get("key", ""))


def require_free(out: Path, key: str, *, force: bool) -> None:
    """Refuse a folder that holds another audit, or files that are no audit at all."""
    found = existing_key(out)
    if found is None:
        if out.is_dir() and any(out.iterdir()):
            raise StoreError(f"{out} exists and is no audit; nothing was touched; give another folder with --out")
        if out.exists() and not out.is_dir():
            raise StoreError(f"{out} is a file; give a folder with --out")
    elif found != key and not force:
        raise StoreError(f"{out} holds an audit of other inputs; give another --out, or --force to replace it")


def put_in_place(folder: Path, out: Path) -> None:
    """Move a finished folder to `out`; an audit that stood there is removed after the new one is in place."""
    old = out.parent / f".{out.name}.old"
    shutil.rmtree(old, ignore_errors=True)
    if out.exists():
        out.rename(old)
    folder.rename(out)
    sync_folder(out.parent)
    shutil.rmtree(old, ignore_errors=True)
