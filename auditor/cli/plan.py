"""What a run will do and about what it costs, before it does it."""

from __future__ import annotations

from collections.abc import Collection

from auditor.api import Fitted
from auditor.budget import Budgeted
from auditor.job import Job, unmet
from auditor.memory import room
from auditor.probe import Probe
from auditor.tune import Tuned


def print_plan(fitted: Fitted, asked: Collection[str] = ()) -> None:
    """What will be done, and about what it costs, before it is done. `asked`: probes that rules name."""
    job, rates = fitted.job, fitted.rates
    assert rates is not None
    target, dataset = job.target, job.dataset
    side = "x".join(map(str, target.input_shape))
    print(f"model   {target.source}: {target.task}, {target.outputs} outputs, input {side}, on {target.device}")
    for note in target.notes:
        print(f"        {note}")
    ledger = dataset.ledger
    parts = " + ".join(f"{ledger[name]} {name}" for name in ("ok", "normalised", "quarantined"))
    print(f"data    {ledger['listed']} listed = {parts}; labels: {ledger['label_rule']}")
    for warning in ledger.get("warnings", []):
        print(f"        {warning}")
    if fitted.tuned is not None:
        print_tuned(fitted.tuned)
    forward = rates.forward
    print(
        f"pass    {len(dataset)} images in batches of {job.plan.batch}: {lasts(forward * len(dataset))} "
        f"at {forward * 1000:.1f} ms an image"
    )
    if fitted.tuned is None and not target.forward.as_it_is:
        print(f"        computed with {target.forward.told()}, as the plan says")
    print_room(job)
    train_line(job, forward)
    for probe in job.probes:
        reason, seconds = unmet(probe, target, dataset), rates.of(probe, job)
        more = f"{lasts(seconds)}; " if seconds else ""
        print(f"probe   {probe.id()}: " + (f"not applicable: {reason}" if reason else more + parameters_line(probe)))
    for name, reason in job.plan.left_out.items():
        ruled = "; a rule asks for it, so the audit will be incomplete" if name in asked else ""
        print(f"        {name} left out: {reason}{ruled}")
    print(f"        {lasts(rates.of_all(job))} in all; a gradient takes {rates.gradient * 1000:.1f} ms an image")
    if fitted.budgeted is not None:
        print_budget(fitted.budgeted)


def print_room(job: Job) -> None:
    """Memory and disk."""
    found = room(job)
    beside = "" if found.held is None else f" beside the {found.held / 1e6:.0f} MB of program and model"
    print(f"memory  about {found.memory / 1e6:.0f} MB at most{beside}; {found.files / 1e6:.0f} MB of files in --work")


def print_tuned(tuned: Tuned) -> None:
    """What was chosen, out of what, and what was refused."""
    forward, seen = tuned.job.target.forward, tuned.job.plan.tuned
    told = f"scores differ by at most {seen['apart']:.1e} of the largest" if "apart" in seen else "as before"
    print(f"tuned   {forward.told()}, in batches of {forward.batch}; predictions agree on {seen.get('images', 0)} images, {told}")
    timed = [trial for trial in tuned.trials if trial.seconds is not None]
    for way in dict.fromkeys(trial.forward.told() for trial in tuned.trials):
        mine = [trial for trial in timed if trial.forward.told() == way]
        if mine:
            best = min(mine, key=lambda trial: trial.seconds or 0.0)
            last = max(trial.forward.batch for trial in mine)
            print(
                f"        {way}: {1000 * (best.seconds or 0):.2f} ms an image in batches of {best.forward.batch}, tried to {last}"
            )
        for trial in tuned.trials:
            if trial.refused and trial.forward.told() == way:
                print(f"        {way}: refused: {trial.refused}")


def print_budget(budgeted: Budgeted) -> None:
    """What was cut, and whether it sufficed."""
    granted, whole = budgeted.deadline.seconds, budgeted.rates.of_all(budgeted.job)
    print(f"budget  {granted:g} s; when it is used up, what no rule asks for is stopped")
    for name, how in budgeted.cuts.items():
        print(f"        {name} made smaller: {how}")
    if whole > granted:
        print(f"        nothing more can be cut: the pass and what rules ask for take {lasts(whole)}")


def train_line(job: Job, forward: float) -> None:
    """Tell of the training set."""
    if job.train is None:
        return
    ledger = job.train.ledger
    parts = " + ".join(f"{ledger[name]} {name}" for name in ("ok", "normalised", "quarantined"))
    readers = [probe.id() for probe in job.probes if probe.reads_train and unmet(probe, job.target, job.dataset) is None]
    seconds = forward * len(job.train) if readers else 0.0
    what = f"features for {', '.join(readers)}: {lasts(seconds)}" if readers else "no probe that is asked for reads it"
    print(f"train   {ledger['listed']} listed = {parts}; {what}")
    for warning in ledger.get("warnings", []):
        print(f"        {warning}")


def lasts(seconds: float) -> str:
    """A rough time in words."""
    return f"about {seconds:.0f} s" if seconds < 90 else f"about {seconds / 60:.0f} min"


def parameters_line(probe: Probe) -> str:
    """A probe's parameters on one line."""
    return ", ".join(f"{key}={value}" for key, value in probe.parameters().items()) or "no parameters"
