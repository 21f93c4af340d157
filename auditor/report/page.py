"""One audit as one page: what its first screen says, then a section a probe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from auditor import store
from auditor.gate.reading import regrouped
from auditor.report import engine, rules
from auditor.report.figures import METHOD, Drawing, View
from auditor.report.pictures import SAMPLES, Files, Picture, read_sprite
from auditor.report.samples import Sample, Samples
from auditor.report.values import Shown, all_shown, facts, headline
from auditor.types import CHAPTERS, METHOD_TITLES, VERDICTS, AuditRecord, Json, Section, Verdict

STATUSES: Mapping[str, str] = {"done": "done", "not_applicable": "not applicable", "failed": "failed", "skipped": "not run"}
NOT_GATED = Verdict("not_gated", 0, "No rules were given, so nothing was judged.")


@dataclass(frozen=True)
class Stamped:
    """A stamp as the section that it concerns shows it."""

    subject: str
    """The method it is about; "" where it is about the whole section."""
    verdict: str
    why: str
    origin: str
    title: str
    """Of the section that put it there, and its title."""


@dataclass(frozen=True)
class Chapter:
    """A section as the templates see it: the record's section with its figures drawn and its values in words."""

    id: str
    title: str
    status: str
    word: str
    reason: str
    traceback: str
    values: tuple[Shown, ...]
    scoped: tuple[Shown, ...]
    figures: tuple[View, ...]
    notes: tuple[str, ...]
    stamps: tuple[Stamped, ...]
    asks: str
    formula: str
    read: str
    misleads: str
    cites: tuple[str, ...]
    parameters: tuple[tuple[str, str], ...]
    cost: tuple[tuple[str, str], ...]
    timings: tuple[tuple[str, str], ...] = ()
    """What the clock measured: run.json's word."""


def ordered(record: AuditRecord) -> list[Section]:
    """The sections in the chapters' order."""
    place = {id: i for i, id in enumerate(CHAPTERS)}
    return sorted(record.sections.values(), key=lambda s: (place.get(s.id, len(CHAPTERS)), s.id))


def stamps_on(record: AuditRecord, section: Section) -> tuple[Stamped, ...]:
    """The stamps of other sections on this one as a whole, or on a method whose maps it shows."""
    methods = {f"{METHOD}{key}": key for figure in section.figures for key in figure.data.get("keys") or () if key}
    return tuple(
        Stamped(METHOD_TITLES.get(methods.get(stamp.about, ""), ""), stamp.verdict, stamp.why, other.id, other.title)
        for other in record.sections.values()
        for stamp in other.stamps
        if stamp.about == section.id or stamp.about.startswith(section.id + ".") or stamp.about in methods
    )


def chapter(record: AuditRecord, section: Section, drawing: Drawing, timings: Mapping[str, Json]) -> Chapter:
    """One section, drawn; stamps that other sections put on it come with it."""
    found = all_shown(record, section)
    return Chapter(
        id=section.id,
        title=section.title,
        status=section.status,
        word=STATUSES[section.status],
        reason=section.reason,
        traceback=section.traceback,
        values=tuple(v for v in found if not v.scope),
        scoped=tuple(v for v in found if v.scope),
        figures=tuple(drawing.draw(section.id, figure) for figure in section.figures),
        notes=tuple(section.notes),
        stamps=stamps_on(record, section),
        asks=section.about.asks,
        formula=section.about.formula,
        read=section.about.read,
        misleads=section.about.misleads,
        cites=tuple(section.cites),
        parameters=tuple(facts(section.parameters)),
        cost=tuple(facts(section.cost)),
        timings=tuple(facts(timings)),
    )


def inputs(files: Files, samples: Samples) -> tuple[tuple[Picture, Sample | None], ...]:
    """artifacts/samples/inputs-0.jpg, ...: each with its sample where the folder says which it is."""
    found = []
    for i in range(8):
        picture = next((p for kind in ("jpg", "png") if (p := files.picture(SAMPLES, f"inputs-{i}.{kind}"))), None)
        if picture is not None:
            known = samples.sprite.inputs if samples.sprite else ()
            found.append((picture, samples[known[i]] if i < len(known) else None))
    return tuple(found)


def warnings(record: AuditRecord, verdict: Verdict) -> tuple[str, ...]:
    """What a reader must know before believing any figure: the label rule, what was left out, what was unwrapped."""
    ledger, told = record.dataset, []
    if ledger.get("label_rule"):
        told.append(f"Labels meet logits by this rule: {ledger['label_rule']}.")
    if ledger.get("quarantined"):
        told.append(f"{ledger['quarantined']:,} of {ledger.get('listed', 0):,} listed images could not be used (see the ledger).")
    learnt = ledger.get("train")
    if isinstance(learnt, Mapping):
        told += [f"Training data: {warning}." for warning in learnt.get("warnings") or ()]
    model = record.provenance.get("model")
    for source in (
        ledger.get("warnings"),
        ledger.get("notes"),
        record.provenance.get("notes"),
        model.get("notes") if isinstance(model, Mapping) else None,
    ):
        told += [str(note) for note in source] if isinstance(source, list | tuple) else [str(source)] if source else []
    told += [f"To keep a budget of time, {name} ran with {how}." for name, how in part(record.plan, "cuts").items()]
    told += computed(record.plan)
    if verdict.policy.get("decide") == "point":
        told.append("Rules were decided on point values, without regard to sampling error.")
    told += [f"{s.title} failed: {s.reason or 'see its section'}." for s in record.sections.values() if s.status == "failed"]
    rule = str(ledger.get("label_rule") or "-")
    kept = [line for line in dict.fromkeys(told) if not line.endswith(f"labels meet logits {rule}")]  # said above already
    return tuple(kept)


def computed(plan: Mapping[str, Json]) -> list[str]:
    """How forwards were computed, where it was not as the model is."""
    how, seen = part(plan, "forward"), part(plan, "tuned")
    said = ["channels last"] * bool(how.get("channels_last")) + ["batch norms folded"] * bool(how.get("folded"))
    said += ["convolutions laid out"] * bool(how.get("laid_out"))
    precision = str(how.get("precision", "float32"))
    rough = precision != "float32"
    said += [precision] * rough
    if not said:
        return []
    told = f"Forwards without a gradient are computed with {', '.join(said)} (--tune)"
    if not seen:
        return [f"{told}."]
    apart = f"on {seen.get('images')} images all predictions were the model's own"
    return [f"{told}{', approximately' * rough}: {apart}, and scores differed by at most {seen.get('apart'):.1e} of the largest."]


def class_names(record: AuditRecord) -> tuple[str, ...]:
    """Names of the classes, in the order of the logits: the ledger's, else the model's."""
    model = record.provenance.get("model")
    for source in (
        record.dataset.get("names"),
        record.dataset.get("classes"),
        model.get("classes") if isinstance(model, Mapping) else None,
        record.provenance.get("classes"),
    ):
        if isinstance(source, list | tuple) and source and all(isinstance(c, str) for c in source):
            return tuple(source)
    return ()


def run_facts(folder: Path) -> Mapping[str, Json]:
    """run.json, empty where there is none."""
    path = folder / "run.json"
    found = store.read_json(path) if path.is_file() else {}
    return found if isinstance(found, Mapping) else {}


def part(found: Mapping[str, Json], *keys: str) -> Mapping[str, Json]:
    """The mapping under these keys, empty where there is none."""
    for key in keys:
        inner = found.get(key)
        found = inner if isinstance(inner, Mapping) else {}
    return found


def page(folder: Path) -> str:
    """The whole document of the audit in `folder`."""
    record, verdict = store.read_audit(folder), store.read_verdict(folder) or NOT_GATED
    files, columns = Files(folder), store.read_columns(folder)
    record = regrouped(record, columns, verdict.group)
    samples = Samples(columns, class_names(record), read_sprite(files))
    drawing = Drawing(files, samples, stamps={s.about: s for other in record.sections.values() for s in other.stamps})
    run = run_facts(folder)
    chapters = [chapter(record, section, drawing, part(run, "timings", section.id)) for section in ordered(record)]
    failing, more_failing = rules.failing(verdict, samples)
    judged = rules.singles(verdict, samples)
    env = engine.environment()
    context = {
        "record": record,
        "verdict": verdict,
        "word": VERDICTS[verdict.verdict],
        "chapters": chapters,
        "judged": judged,
        "grouped": rules.groups(verdict, samples),
        "members": (),
        "failing": failing,
        "more_failing": more_failing,
        "turned": turned(verdict),
        "drifts": rules.drifts(verdict.baseline),
        "last_day": rules.expiry(verdict),
        "policy_path": str(verdict.source.get("path") or "audit.toml"),
        "section_ids": [c.id for c in chapters],
        "figures": headline(record, tuple(r.outcome.id for r in failing)),
        "warnings": warnings(record, verdict),
        "inputs": inputs(files, samples),
        "sprite": samples.sprite,
        "ledger": record.dataset,
        "provenance": tuple(facts(record.provenance)),
        "run": tuple(facts({key: value for key, value in run.items() if key != "timings"})),
        "plan": tuple(facts(record.plan)),
        "missing": tuple(sorted(set(record.catalogue) - set(record.sections))),
        "folder": folder.name,
    }
    bodies = [env.select_template([f"probes/{c.id}.html", "section.html"]).render(section=c, **context) for c in chapters]
    script, library = engine.asset("app.js"), engine.plotly() if drawing.specs else ""
    about = {"samples": samples.table(), "sprite": sprite_data(samples)}
    data = engine.inert({"charts": drawing.specs, "places": drawing.places, **about})
    return env.get_template("base.html").render(
        bodies=[Markup(body) for body in bodies],  # noqa: S704 - our own templates, escaped as they were rendered
        data=data,
        script=script,
        library=engine.compressed() if library else "",
        style=engine.asset("app.css"),
        policy=engine.policy(*([str(library)] if library else []), str(script)),
        carried=files.carried,
        **context,
    )


def turned(verdict: Verdict) -> tuple[int, int] | None:
    """Images that are newly wrong and newly right by the first rule on all of them; None where there is none."""
    found = next((o.baseline for o in verdict.outcomes if o.many == 1 and "broken" in o.baseline), None)
    return None if found is None else (int(found["broken"]), int(found["fixed"]))


def sprite_data(samples: Samples) -> Json:
    """The sprite's grid for the script; the picture itself is in the style sheet, once."""
    return {"tile": samples.sprite.tile, "columns": samples.sprite.columns} if samples.sprite else None
