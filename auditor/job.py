"""Target + Dataset + probes -> an audit in a folder."""

from __future__ import annotations

import dataclasses
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import numpy as np
import torch

from auditor import plan as planning
from auditor.dataset import Dataset
from auditor.errors import AuditError, ConfigError, ContractError, TargetError
from auditor.evidence import Evidence, Features, Outputs, Training
from auditor.plan import Plan
from auditor.probe import Probe, Results, about
from auditor.samples import sample_index, sample_pictures, sample_table
from auditor.store import sync_folder, write_artifacts, write_audit, write_columns, write_json
from auditor.stream import Progress, run_pass, run_study, silent
from auditor.target import Target
from auditor.types import SCHEMA_VERSION, AuditRecord, Finding, Section

OUTPUTS, TRAIN = "outputs", "train"


@dataclass(frozen=True)
class Job:
    """All that an audit is made from."""

    target: Target
    dataset: Dataset
    probes: Sequence[Probe]
    plan: Plan
    name: str
    train: Dataset | None = None
    """What the model was trained on, to be looked through for leaks."""

    @property
    def train_digest(self) -> str:
        """ "" without a training set."""
        return "" if self.train is None else self.train.digest

    def key(self) -> str:
        """Names the work by content."""
        preprocess = getattr(self.target.preprocess, "digest", "")
        digest = preprocess() if callable(preprocess) else preprocess
        second = self.target.second
        other = "" if second is None else f":{second.digest}:{getattr(second.preprocess, 'digest', '')}"
        model = f"{self.target.digest}:{self.target.task}:{digest}{other}"
        return planning.run_key(model, self.dataset.digest, self.plan, self.train_digest)


def unmet(probe: Probe, target: Target, dataset: Dataset) -> str | None:
    """Why a probe does not apply here, None where it does."""
    needs = probe.needs
    if needs.scores and target.task == "features":
        return "it needs class scores, and the audit runs with --task features"
    if needs.labels and not bool((np.asarray(dataset.labels) >= 0).any()):
        return "it needs labels, and no sample has one"
    if needs.convolutions and not target.choose("spatial", 1):
        return "no layer of the model gives maps or tokens with a place in the image"
    if needs.pixels and not getattr(target.preprocess, "invertible", True):
        return "the preprocessing is an opaque function: a change cannot be bounded in image space; give --mean, --std, --resize"
    return None


def in_order(probes: Sequence[Probe]) -> list[Probe]:
    """So sorted that every probe comes after those it reads."""
    by_id = {probe.id(): probe for probe in probes}
    graph = {name: [r for r in probe.reads if r in by_id] for name, probe in by_id.items()}
    try:
        return [by_id[name] for name in TopologicalSorter(graph).static_order()]
    except CycleError as error:
        raise ConfigError(f"these probes read each other in a circle: {' -> '.join(error.args[1])}") from error


def not_run(status: str, reason: str, trace: str = "") -> Finding:
    """The finding of a probe that brought none."""
    return Finding(status=status, reason=reason, traceback=trace)  # type: ignore[arg-type]


def failure(trace: str) -> Finding:
    """A failed finding; its reason is the last line of the traceback, paths of this machine are cut from the rest."""
    lines = trace.strip().splitlines()
    root = str(Path(__file__).resolve().parent.parent)
    return not_run("failed", lines[-1] if lines else "unknown", trace.replace(root + "/", ""))


def collect(
    job: Job, work: Path, *, progress: Progress = silent
) -> tuple[dict[str, Finding], Evidence, dict[str, dict[str, float]]]:
    """Pass, studies, conclusions. Returns findings by probe id, the evidence, and the cost of each probe."""
    target, dataset = job.target, job.dataset
    findings: dict[str, Finding] = {}
    for probe in job.probes:
        reason = unmet(probe, target, dataset)
        if reason is not None:
            findings[probe.id()] = not_run("not_applicable", reason)
    active = [probe for probe in in_order(job.probes) if probe.id() not in findings]
    folds = {OUTPUTS: Outputs()} | looks(active, target, findings)
    merged, broken = run_pass(target, dataset, folds, job.plan, work, progress=progress)
    if OUTPUTS in broken:
        raise AuditError(f"the pass over the data failed: {broken[OUTPUTS].strip().splitlines()[-1]}")
    findings.update({name: failure(trace) for name, trace in broken.items()})
    outputs = merged[OUTPUTS]
    assert isinstance(outputs, Outputs)
    train = training(job, work, progress=progress) if any(probe.reads_train for probe in active) else None
    evidence = Evidence(dataset, outputs, seed=job.plan.seed, train=train)
    costs: dict[str, dict[str, float]] = {}
    for probe in active:
        name = probe.id()
        if name in findings:
            continue
        progress(name, 0, 1)
        try:
            results = Results(merged.get(name), findings={r: findings[r] for r in probe.reads if r in findings})
            study = probe.study(target, evidence, results)
            rows = {} if study is None else run_study(name, study, target, dataset, job.plan, work, progress=progress)
            if study is not None:
                costs[name] = dataclasses.asdict(probe.cost(target, dataset))
            findings[name] = probe.conclude(target, evidence, dataclasses.replace(results, rows=rows))
        except (ContractError, TargetError):  # the model's fault in this probe's work alone
            findings[name] = failure(traceback.format_exc())
        except AuditError:
            raise
        except Exception:  # noqa: BLE001 - a probe's fault is its own finding; the run goes on
            findings[name] = failure(traceback.format_exc())
        progress(name, 1, 1)
    return findings, evidence, costs


def training(job: Job, work: Path, *, progress: Progress = silent) -> Training | None:
    """The features of the training set, by a pass of its own that resumes as the first one does."""
    if job.train is None:
        return None
    merged, broken = run_pass(job.target, job.train, {TRAIN: Features()}, job.plan, work, what=TRAIN, progress=progress)
    if broken:
        raise AuditError(f"the pass over the training data failed: {broken[TRAIN].strip().splitlines()[-1]}")
    return Training(job.train, merged[TRAIN].save()["features"])


def looks(probes: Sequence[Probe], target: Target, findings: dict[str, Finding]) -> dict[str, Outputs]:
    """The folds of all probes that look at the pass; one that cannot be made is that probe's failure."""
    folds = {}
    for probe in probes:
        try:
            fold = probe.look(target)
        except Exception:  # noqa: BLE001 - as above
            findings[probe.id()] = failure(traceback.format_exc())
            continue
        if fold is not None:
            folds[probe.id()] = fold
    return folds  # type: ignore[return-value]


def write(
    job: Job, findings: Mapping[str, Finding], evidence: Evidence, costs: Mapping[str, dict[str, float]], folder: Path
) -> AuditRecord:
    """Write the whole audit folder but for gate and page; audit.json comes last."""
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
        sections[name] = section(probe, finding, costs.get(name, {}))
    for name, reason in job.plan.left_out.items():
        sections[name] = Section(id=name, title=name, status="skipped", reason=reason)
    files.update(write_artifacts(folder, "samples", sample_pictures(job.dataset, evidence)))
    write_json(folder / "artifacts" / "samples" / "sprite.json", sample_index(evidence))
    files.update(write_columns(folder, columns))
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
        about=about(type(probe)),
        cites=probe.cites,
        cost=cost,
        traceback=finding.traceback,
    )


def provenance(job: Job) -> dict[str, object]:
    """Where the figures come from, by content: nothing of the machine, nothing of the clock."""
    target = job.target
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
            **({} if target.second is None else {"second": {"source": target.second.source, "digest": target.second.digest}}),
        },
        "preprocess": describe(),
        "dataset_digest": job.dataset.digest,
        **({"train_digest": job.train_digest} if job.train is not None else {}),
        "versions": planning.versions(),
        "sources": planning.sources_digest(),
    }


def execute(job: Job, folder: Path, work: Path, *, progress: Progress = silent) -> AuditRecord:
    """Collect and write; `run.json` gets what may differ between equal runs: clock, host, seconds."""
    import platform

    begin, clock = time.time(), time.monotonic()
    torch.set_num_threads(job.plan.threads)
    torch.manual_seed(job.plan.seed)
    work.mkdir(parents=True, exist_ok=True)
    findings, evidence, costs = collect(job, work, progress=progress)
    record = write(job, findings, evidence, costs, folder)
    write_json(
        folder / "run.json",
        {
            "began": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(begin)),
            "seconds": round(time.monotonic() - clock, 2),
            "host": platform.node(),
            "system": platform.platform(),
            "python": platform.python_version(),
            "device": torch.cuda.get_device_name() if job.target.device.type == "cuda" else job.target.device.type,
        },
    )
    sync_folder(folder)
    return record
