"""A model card for the Hugging Face Hub: Markdown with a `model-index`, and an entry of `.eval_results` for a benchmark.

Every figure stands with its interval and n; what fails, is waived or could not be judged is said in the card itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

from auditor.exports.summary import ORDER, count, escaped, figure, interval, told
from auditor.types import VERDICTS, AuditRecord, Json, Value, Verdict

METRICS: Mapping[str, str] = {"top1": "accuracy", "macro_recall": "recall"}
"""Measures that the Hub has a name for."""
MOST_FIGURES = 40


def model_card(record: AuditRecord, verdict: Verdict) -> str:
    """The card."""
    return "\n\n".join(["---\n" + "\n".join(front(record, verdict)) + "\n---", *text(record, verdict)]) + "\n"


def front(record: AuditRecord, verdict: Verdict) -> Iterator[str]:
    """The YAML of the model-index; scalars are JSON, which YAML reads as itself. None for a model without figures."""
    figures = [*headline(record)]
    yield "tags:"
    yield "- image-classification"
    if not figures:
        return
    dataset = hub(verdict).get("dataset") or slug(str(record.dataset.get("source") or "data"))
    yield "model-index:"
    yield f"- name: {scalar(record.name)}"
    yield "  results:"
    yield "  - task:"
    yield "      type: image-classification"
    yield "    dataset:"
    yield f"      type: {scalar(dataset)}"
    yield f"      name: {scalar(hub(verdict).get('dataset') or 'data of the audit')}"
    yield "    metrics:"
    for name, title, value in figures:
        yield f"    - type: {scalar(METRICS.get(name, name))}"
        yield f"      value: {scalar(value.value)}"
        yield f"      name: {scalar(title + (f' (90 % interval {interval(value)})' if interval(value) else ''))}"


def headline(record: AuditRecord) -> Iterator[tuple[str, str, Value]]:
    """(name, title, figure) of what `performance` measures of all images."""
    section = record.sections.get("performance")
    if section is None or section.status != "done":
        return
    titles = {measure.name: measure.title for measure in record.catalogue.get("performance", ())}
    for name, value in section.values.items():
        if "." not in name and value.value is not None:
            yield name, titles.get(name, name), value


def text(record: AuditRecord, verdict: Verdict) -> Iterator[str]:
    """The card's words."""
    yield f"# {escaped(record.name, longest=120)}"
    yield f"**{VERDICTS[verdict.verdict]}.** {escaped(verdict.why)}"
    found = [o for o in sorted(verdict.outcomes, key=lambda o: ORDER.index(o.verdict)) if o.verdict not in ("pass", "undecided")]
    if found:
        yield "## Known limits"
        yield "\n".join(f"- {VERDICTS[o.verdict]}: {told(o)}" for o in found[:MOST_FIGURES])
    yield "## Figures"
    yield table(record)
    yield "Intervals are two-sided 90 %. " + (
        f"Images of one {escaped(verdict.group)} belong together." if verdict.group else "Images are taken as independent."
    )
    yield "## Where it comes from"
    yield "\n".join(f"- {key}: {escaped(value)}" for key, value in provenance(record, verdict))


def table(record: AuditRecord) -> str:
    """All figures without a scope."""
    rows = []
    for probe, section in record.sections.items():
        titles = {measure.name: measure.title for measure in record.catalogue.get(probe, ())}
        for key, value in section.values.items():
            if "." not in key:
                rows.append(f"| {escaped(titles.get(key, key))} | {figure(value)} | {interval(value)} | {count(value)} |")
    return "\n".join(["| figure | value | interval | n |", "| --- | ---: | ---: | ---: |", *rows[:MOST_FIGURES]])


def provenance(record: AuditRecord, verdict: Verdict) -> Iterator[tuple[str, str]]:
    """What names model, data, policy and baseline by content."""
    model = record.provenance.get("model")
    about = model if isinstance(model, Mapping) else {}
    yield "model", f"{about.get('source', 'unknown')}, weights {str(about.get('digest', ''))[:16]}"
    yield "data", f"{record.dataset.get('listed', 0):,} images, {str(record.provenance.get('dataset_digest', ''))[:16]}"
    yield "policy", verdict.policy_digest[:16] or "none"
    if verdict.baseline:
        yield "baseline", f"{verdict.baseline['name']} of {verdict.baseline['made']}"


def eval_results(record: AuditRecord, verdict: Verdict) -> str | None:
    """The content of `.eval_results/NAME.yaml` for the benchmark that [report] hub_dataset names; None without one."""
    about = hub(verdict)
    section = record.sections.get("performance")
    value = section.values.get("top1") if section is not None else None
    if not about.get("dataset") or value is None or value.value is None:
        return None
    notes = f"accuracy, 90 % interval {interval(value)}, n = {count(value)}; auditor: {VERDICTS[verdict.verdict].lower()}"
    lines = [
        "- dataset:",
        f"    id: {scalar(about['dataset'])}",
        f"    task_id: {scalar(about.get('task') or 'default')}",
        f"  value: {scalar(value.value)}",
        f"  notes: {scalar(notes)}",
    ]
    return "\n".join(lines) + "\n"


def hub(verdict: Verdict) -> Mapping[str, Json]:
    """What [report] says of the Hub."""
    found = verdict.source.get("hub")
    return found if isinstance(found, Mapping) else {}


def slug(words: str) -> str:
    """A name that the Hub takes for a data set."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", words).strip("-.") or "data"


def scalar(value: Json) -> str:
    """A JSON scalar; what is no character of YAML is escaped."""
    return json.dumps(value, ensure_ascii=True, allow_nan=False)
