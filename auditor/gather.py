"""From a job to what its probes find: the pass, helper nets, studies, conclusions."""

from __future__ import annotations

import dataclasses
import time
import traceback
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch

from auditor.engines import Engine, traceback_of
from auditor.engines.local import LOCAL
from auditor.errors import AuditError, ContractError, TargetError, WorkerError
from auditor.evidence import Evidence, Features, Outputs, Training
from auditor.fold import Fold
from auditor.job import Job, in_order, unmet
from auditor.learn import learn
from auditor.ops.room import in_folder
from auditor.probe import Probe, Results
from auditor.stream import Late, OutOfTime, Progress, on_time, run_pass, run_study, silent
from auditor.target import Target
from auditor.types import Finding

OUTPUTS, TRAIN, HELPERS, ROOM = "outputs", "train", "helpers", "room"


@dataclass(frozen=True)
class Deadline:
    """When to drop what no rule asks for."""

    seconds: float
    """From the start of the work with the model."""
    kept: Collection[str] = ()
    """Probes that are carried out however late it is: those that rules name, and those that they read."""
    began: float = field(default_factory=time.monotonic)

    def late(self) -> bool:
        """Whether the time is used up."""
        return time.monotonic() - self.began >= self.seconds


@dataclass
class Gathered:
    """What a job brought."""

    evidence: Evidence
    findings: dict[str, Finding] = field(default_factory=dict)
    costs: dict[str, dict[str, float]] = field(default_factory=dict)
    """Probe id -> its study's work, in images through the network."""
    spent: dict[str, dict[str, float]] = field(default_factory=dict)
    """Stage -> seconds by the clock of the wall and of the processor, the workers' with it: for run.json."""
    dropped: dict[str, str] = field(default_factory=dict)
    """Probe id -> why the deadline left it out."""


@contextmanager
def clocked(spent: dict[str, dict[str, float]], stage: str, engine: Engine) -> Iterator[None]:
    """Write down what the block took, also where it fails."""
    wall, processor = time.monotonic(), time.process_time() + engine.cpu_seconds
    try:
        yield
    finally:
        took = time.process_time() + engine.cpu_seconds - processor
        spent[stage] = {"seconds": round(time.monotonic() - wall, 3), "cpu_seconds": round(took, 3)}


def not_run(status: str, reason: str, trace: str = "") -> Finding:
    """The finding of a probe that brought none."""
    return Finding(status=status, reason=reason, traceback=trace)  # type: ignore[arg-type]


def failure(trace: str) -> Finding:
    """A failed finding; its reason is the last line of the traceback, paths of this machine are cut from the rest."""
    lines = trace.strip().splitlines()
    root = str(Path(__file__).resolve().parent.parent)
    return not_run("failed", lines[-1] if lines else "unknown", trace.replace(root + "/", ""))


def collect(
    job: Job,
    work: Path,
    *,
    helpers: Path | None = None,
    deadline: Deadline | None = None,
    progress: Progress = silent,
    engine: Engine = LOCAL,
) -> Gathered:
    """Pass, lessons, studies, conclusions. `helpers`: where trained helper nets are kept (a folder of `work` where None)."""
    target, dataset = job.target, job.dataset
    findings: dict[str, Finding] = {}
    spent: dict[str, dict[str, float]] = {}
    for probe in job.probes:
        reason = unmet(probe, target, dataset)
        if reason is not None:
            findings[probe.id()] = not_run("not_applicable", reason)
    active = [probe for probe in in_order(job.probes) if probe.id() not in findings]
    folds: dict[str, Fold] = {OUTPUTS: Outputs()} | looks(active, target, findings)
    with clocked(spent, "pass", engine):
        merged, broken = run_pass(target, dataset, folds, job.plan, work, progress=progress, engine=engine)
    if OUTPUTS in broken:
        raise AuditError(f"the pass over the data failed: {broken[OUTPUTS].strip().splitlines()[-1]}")
    findings.update({name: failure(trace) for name, trace in broken.items()})
    outputs = merged[OUTPUTS]
    assert isinstance(outputs, Outputs)
    train = None
    if job.train is not None and any(probe.reads_train for probe in active):
        with clocked(spent, "train", engine):
            train = training(job, work, progress=progress, engine=engine)
    evidence = Evidence(dataset, outputs, seed=job.plan.seed, train=train, room=in_folder(work / ROOM))
    found = Gathered(evidence, findings, spent=spent)
    desk = Desk(job, found, work, helpers or work / HELPERS, progress, deadline, engine)
    for probe in active if deadline is None else kept_first(active, deadline.kept):
        if probe.id() not in findings:
            with clocked(spent, probe.id(), engine):
                desk.carry_out(probe, merged.get(probe.id()))
    return found


def kept_first(probes: list[Probe], kept: Collection[str]) -> list[Probe]:
    """The probes in their order, but first those that are carried out whatever the time."""
    return sorted(probes, key=lambda probe: probe.id() not in kept)


@dataclass(frozen=True)
class Desk:
    """Where one probe after the other is worked on."""

    job: Job
    found: Gathered
    work: Path
    helpers: Path
    progress: Progress
    deadline: Deadline | None
    engine: Engine = LOCAL

    def carry_out(self, probe: Probe, look: Fold | None) -> None:
        """Lessons, study and conclusion of one probe; what goes wrong in them is that probe's finding."""
        name, found, deadline = probe.id(), self.found, self.deadline
        late: Late = on_time if deadline is None or name in deadline.kept else deadline.late
        self.progress(name, 0, 1)
        torch.set_num_threads(self.job.plan.threads)  # whatever the probe before it has left
        try:
            if late():
                raise OutOfTime("it had not begun")
            found.findings[name] = self.finding(probe, look, late)
        except OutOfTime as came:
            assert deadline is not None
            found.dropped[name] = f"the budget of {deadline.seconds:g} s was used up: {came}, and no rule asks for it"
            found.findings[name] = not_run("skipped", found.dropped[name])
        except (ContractError, TargetError, WorkerError) as error:  # the model's fault in this probe's work alone
            found.findings[name] = failure(traceback_of(error))
        except AuditError:
            raise
        except Exception as error:  # noqa: BLE001 - a probe's fault is its own finding; the run goes on
            found.findings[name] = failure(traceback_of(error))
        self.progress(name, 1, 1)

    def finding(self, probe: Probe, look: Fold | None, late: Late) -> Finding:
        """What the probe concludes."""
        job, evidence = self.job, self.found.evidence
        read = {r: self.found.findings[r] for r in probe.reads if r in self.found.findings}
        results = Results(look, findings=read)
        lessons = probe.lessons(job.target, evidence, results)
        given = (job.target, job.dataset, job.plan)
        trained = {x.name: learn(x, *given, self.helpers, progress=self.progress, late=late) for x in lessons}
        results = dataclasses.replace(results, trained=trained)
        study = probe.study(job.target, evidence, results)
        if study is not None or lessons:
            self.found.costs[probe.id()] = dataclasses.asdict(probe.cost(job.target, job.dataset))
        rows = {}
        if study is not None:
            rows = run_study(
                probe.id(), study, *given, self.work, progress=self.progress, late=late, engine=self.engine
            )  # fmt: skip
        return probe.conclude(job.target, evidence, dataclasses.replace(results, rows=rows))


def training(job: Job, work: Path, *, progress: Progress = silent, engine: Engine = LOCAL) -> Training | None:
    """The features of the training set, by a pass of its own that resumes as the first one does."""
    if job.train is None:
        return None
    looked = {TRAIN: Features()}
    merged, broken = run_pass(job.target, job.train, looked, job.plan, work, what=TRAIN, progress=progress, engine=engine)
    if broken:
        raise AuditError(f"the pass over the training data failed: {broken[TRAIN].strip().splitlines()[-1]}")
    return Training(job.train, merged[TRAIN].save()["features"])


def looks(probes: Sequence[Probe], target: Target, findings: dict[str, Finding]) -> dict[str, Fold]:
    """The folds of all probes that look at the pass; one that cannot be made is that probe's failure."""
    folds: dict[str, Fold] = {}
    for probe in probes:
        try:
            fold = probe.look(target)
        except Exception:  # noqa: BLE001 - as above
            findings[probe.id()] = failure(traceback.format_exc())
            continue
        if fold is not None:
            folds[probe.id()] = fold
    return folds
