"""From a job to an audit folder."""

from __future__ import annotations

import dataclasses
import platform
import time
import traceback
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from auditor import plan as planning
from auditor.engines import Engine
from auditor.engines.local import LOCAL
from auditor.gather import Deadline, Gathered, collect, failure
from auditor.job import Job
from auditor.probe import Probe, about
from auditor.samples import sample_features, sample_index, sample_pictures, sample_table
from auditor.store import sync_folder, write_artifacts, write_audit, write_columns, write_features, write_json
from auditor.stream import Progress, silent
from auditor.target import Forward
from auditor.types import SCHEMA_VERSION, AuditRecord, Finding, Section


def write(job: Job, found: Gathered, folder: Path, *, keep_features: bool = False) -> AuditRecord:
    """Write the whole audit folder but for gate, page and run.json; audit.json comes last. `keep_features`: of all images."""
    findings, evidence = found.findings, found.evidence
    files: dict[str, str] = {}
    sections: dict[str, Section] = {}
    columns = sample_table(job.dataset, evidence)
    by_id = {probe.id(): probe for probe in job.probes}
    for name, probe in by_id.items():
        finding = findings[name]
        try:
            files.update(write_artifacts(folder, name, finding.artifacts))
        except ValueError:
            finding = failure(traceback.format_exc())
        columns.update({key: np.asarray(column) for key, column in finding.columns.items()})
        sections[name] = section(probe, finding, found.costs.get(name, {}))
    for name, reason in job.plan.left_out.items():
        sections[name] = Section(id=name, title=name, status="skipped", reason=reason)
    files.update(write_artifacts(folder, "samples", sample_pictures(job.dataset, evidence) | sample_features(evidence)))
    write_json(folder / "artifacts" / "samples" / "sprite.json", sample_index(evidence))
    files.update(write_columns(folder, columns))
    if keep_features:
        files.update(write_features(folder, columns["key"], evidence.features))
    record = AuditRecord(
        schema_version=SCHEMA_VERSION,
        name=job.name,
        provenance=provenance(job),
        dataset=job.dataset.ledger if job.train is None else {**job.dataset.ledger, "train": job.train.ledger},
        plan=dataclasses.asdict(job.plan) | {"digest": job.plan.digest()},
        catalogue={name: probe.measures for name, probe in by_id.items()},
        sections=sections,
        files=files,
    )
    write_audit(folder, record)
    return record


def section(probe: Probe, finding: Finding, cost: Mapping[str, float]) -> Section:
    """A finding with its probe's words."""
    return Section(
        id=probe.id(),
        title=probe.title,
        status=finding.status,
        reason=finding.reason,
        values=finding.values,
        figures=finding.figures,
        notes=finding.notes,
        stamps=finding.stamps,
        parameters=probe.parameters(),
        only_shown=tuple(sorted(probe.only_shown)),
        about=about(type(probe)),
        cites=probe.cites,
        cost=cost,
        traceback=finding.traceback,
    )


def provenance(job: Job) -> dict[str, object]:
    """Where the figures come from, by content: nothing of the machine, nothing of the clock."""
    target = job.target
    beside = {"second": target.second, "generator": target.generator}
    describe = getattr(target.preprocess, "describe", dict)
    return {
        "key": job.key(),
        "model": {
            "source": target.source,
            "name": target.name,
            "digest": target.digest,
            "task": target.task,
            "outputs": target.outputs,
            "input_shape": list(target.input_shape),
            "parameters": sum(p.numel() for p in target.model.parameters()),
            "layers": len(target.trace),
            "notes": list(target.notes),
            **{name: {"source": x.source, "digest": x.digest} for name, x in beside.items() if x is not None},
        },
        "preprocess": describe(),
        "dataset_digest": job.dataset.digest,
        **({"train_digest": job.train_digest} if job.train is not None else {}),
        "versions": planning.versions(),
        "sources": planning.sources_digest(),
    }


def execute(
    job: Job,
    folder: Path,
    work: Path,
    *,
    helpers: Path | None = None,
    deadline: Deadline | None = None,
    progress: Progress = silent,
    engine: Engine = LOCAL,
    keep_features: bool = False,
    told: Mapping[str, object] | None = None,
) -> AuditRecord:
    """Collect and write; `run.json` gets what may differ between equal runs: clock, host, seconds, and what is `told`.

    What the deadline left out is left out of the plan that the audit holds: under that plan its figures come again.
    """
    begin, clock = time.time(), time.monotonic()
    torch.set_num_threads(job.plan.threads)
    torch.manual_seed(job.plan.seed)
    job.target.compute_as(Forward.of(job.plan.forward))
    work.mkdir(parents=True, exist_ok=True)
    found = collect(job, work, helpers=helpers, deadline=deadline, progress=progress, engine=engine)
    done = carried_out(job, found.dropped)
    record = write(done, found, folder, keep_features=keep_features)
    write_json(folder / "plan.json", dataclasses.asdict(done.plan))
    write_json(
        folder / "run.json",
        {
            "began": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(begin)),
            "seconds": round(time.monotonic() - clock, 2),
            "host": platform.node(),
            "system": platform.platform(),
            "python": platform.python_version(),
            "device": torch.cuda.get_device_name() if job.target.device.type == "cuda" else job.target.device.type,
            "key": job.key(),
            "engine": engine.facts(),
            "spent": found.spent,
            "timings": {name: dict(finding.timings) for name, finding in found.findings.items() if finding.timings},
            **(told or {}),
        },
    )
    sync_folder(folder)
    return record


def carried_out(job: Job, dropped: Mapping[str, str]) -> Job:
    """The job without the probes that were dropped."""
    plan = replace(
        job.plan,
        probes={name: given for name, given in job.plan.probes.items() if name not in dropped},
        left_out={**job.plan.left_out, **dropped},
    )
    return replace(job, plan=plan, probes=[probe for probe in job.probes if probe.id() not in dropped])
