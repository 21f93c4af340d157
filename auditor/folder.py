"""An audit folder from outside: judged, rendered, and put in place only when it is whole."""

from __future__ import annotations

import shutil
from pathlib import Path

from auditor.config import GateSettings
from auditor.errors import StoreError
from auditor.exports.junit import junit
from auditor.exports.summary import summary
from auditor.gate import judge
from auditor.report import render
from auditor.store import read_audit, read_columns, read_json, sync_folder, write_bytes, write_verdict
from auditor.types import Verdict


def judge_folder(folder: Path, policy: GateSettings) -> Verdict:
    """Judge the audit in `folder` under a policy, without writing."""
    return judge(read_audit(folder), read_columns(folder), policy)


def write_judgement(folder: Path, verdict: Verdict) -> None:
    """gate.json, junit.xml, summary.md and index.html of one verdict."""
    record = read_audit(folder)
    write_verdict(folder, verdict)
    write_bytes(folder / "junit.xml", junit(record, verdict).encode())
    write_bytes(folder / "summary.md", summary(record, verdict).encode())
    render(folder)


def partial(out: Path) -> Path:
    """Where an audit is written until it is whole; what an earlier run left there is cleared."""
    folder = out.parent / f".{out.name}.partial"
    shutil.rmtree(folder, ignore_errors=True)
    return folder


def existing_key(out: Path) -> str | None:
    """The work key of the finished audit in `out`, None where there is none."""
    if not (out / "audit.json").exists():
        return None
    return str(read_json(out / "audit.json").get("provenance", {}).get("key", ""))


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
