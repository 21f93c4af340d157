"""`auditor verify`: is an audit folder as it was written, and where does it come from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from auditor.errors import StoreError
from auditor.folder import Columns, exported
from auditor.store import read_audit, read_verdict
from auditor.types import AuditRecord

UNHASHED = ("artifacts/samples/sprite.json",)
"""Written beside the audit, and hashed nowhere."""


def verify(folder: Path) -> str:
    """What the audit is made from. Raises StoreError that names every file that is missing, altered or foreign."""
    record = read_audit(folder)
    wrong = [*altered(folder, record), *unlike(folder, record)]
    if wrong:
        raise StoreError(f"{folder} is not as it was written: {'; '.join(wrong)}; run the audit again, or get its files anew")
    return told(folder, record)


def altered(folder: Path, record: AuditRecord) -> list[str]:
    """Files that are missing or have another sha256 than audit.json says, and artifacts that it does not name."""
    found = []
    for name, digest in sorted(record.files.items()):
        path = folder / name
        if not path.is_file():
            found.append(f"{name} is missing")
        elif hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            found.append(f"{name} is altered")
    root = folder / "artifacts"
    listed = {path.relative_to(folder).as_posix() for path in root.rglob("*") if path.is_file()} if root.is_dir() else set()
    return found + [f"{name} is foreign" for name in sorted(listed - set(record.files) - set(UNHASHED))]


def unlike(folder: Path, record: AuditRecord) -> list[str]:
    """Exports that do not say what gate.json says."""
    verdict = read_verdict(folder)
    if verdict is None:
        return []
    texts = exported(record, verdict, Columns(folder))
    paths = {name: folder / name for name in texts}
    return [
        f"{n} is not of this gate.json" for n, path in paths.items() if path.is_file() and path.read_bytes() != texts[n].encode()
    ]


def told(folder: Path, record: AuditRecord) -> str:
    """Names by content of all that the figures come from."""
    model, verdict = record.provenance.get("model"), read_verdict(folder)
    about = model if isinstance(model, Mapping) else {}
    versions = record.provenance.get("versions")
    program = versions.get("auditor") if isinstance(versions, Mapping) else None
    rows = {
        "audit": f"{record.name}, audit.json {hashlib.sha256((folder / 'audit.json').read_bytes()).hexdigest()}",
        "files": f"{len(record.files):,}, all as they were written",
        "model": f"{about.get('source')}, weights {about.get('digest')}",
        "data": f"{record.dataset.get('listed')} images, {record.provenance.get('dataset_digest')}",
        "plan": f"{record.plan.get('profile')}, seed {record.plan.get('seed')}, {record.plan.get('digest')}",
        "program": f"auditor {program}, sources {record.provenance.get('sources')}",
        "gate": "not judged" if verdict is None else f"{verdict.verdict}, policy {verdict.policy_digest or 'none'}",
    }
    return "\n".join(f"{key:<8} {value}" for key, value in rows.items())
