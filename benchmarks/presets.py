"""Where the presets' thresholds come from: sound models beside the same ones with weights randomised.

    python benchmarks/presets.py

Sound: the demo's digit network, others of its kind trained here with other seeds and lengths, EfficientNet-Lite0. Controls, of
each: all weights randomised; the first layer randomised; two fifths of its filters randomised at a millionth of their size, as
if they had died away; half of them copies of the other half; and for rules against a baseline the head randomised whole, or for
one class. Prints what each figure is on either side, and how the presets judge each model; writes docs/presets.json, and the
tables into docs/gate.md between its two marks. Returns 1 where a preset finds a sound model bad, or where a rule catches none of
the controls that it is for. Seeded. About ten minutes on one core.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn

import auditor
from auditor import api
from auditor.baseline import baseline_of
from auditor.config import load_config
from auditor.config.presets import PRESETS
from auditor.demo import data, models
from auditor.demo import train as training
from auditor.folder import Columns
from auditor.gate import judge
from auditor.types import AuditRecord, Baseline

SEED = 20260117
DOCS = Path(__file__).resolve().parents[1] / "docs"
BEGIN, END = "<!-- presets: begin -->", "<!-- presets: end -->"
PROBES = "performance,calibration,filters,patches,saliency"
FIGURES = (
    "filters.dead_fraction", "filters.duplicate_fraction", "filters.noise_fraction", "patches.dead_units",
    "saliency.completeness_gap", "saliency.randomisation_spearman",
)  # fmt: skip
SOUND = "sound"
FOR: Mapping[str, tuple[str, ...]] = {
    "filters.dead_fraction": ("dead filters",),
    "filters.duplicate_fraction": ("copied filters",),
    "filters.noise_fraction": ("all random",),
    "performance.top1": ("all random", "head random"),
    "performance.recall": ("all random", "head random", "one class random"),
}
"""Rule -> the controls that it is there to catch; those of other rules are told as they are."""


@dataclass(frozen=True)
class Made:
    """An audited model."""

    name: str
    kind: str
    base: str
    record: AuditRecord
    columns: Mapping[str, np.ndarray] = field(repr=False)


def randomised(module: nn.Module, seed: int) -> None:
    """Every layer that can reset itself, with a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for part in module.modules():
            reset = getattr(part, "reset_parameters", None)
            if callable(reset):
                reset()


def first_of(model: nn.Module) -> nn.Conv2d:
    """The convolution that sees the image."""
    return next(m for m in model.modules() if isinstance(m, nn.Conv2d))


def last_of(model: nn.Module) -> nn.Linear:
    """The head."""
    return [m for m in model.modules() if isinstance(m, nn.Linear)][-1]


def damaged(model: nn.Module, kind: str, seed: int) -> nn.Module:
    """The model with weights randomised in one of the ways above, in place."""
    with torch.no_grad():
        first, head = first_of(model).weight, last_of(model)
        half = len(first) // 2
        spread = float(first.std())
        draw = torch.Generator().manual_seed(seed)
        if kind == "all random":
            randomised(model, seed)
        elif kind == "first layer random":
            randomised(first_of(model), seed)
        elif kind == "dead filters":
            some = 2 * len(first) // 5 + 1
            first[:some] = 1e-6 * spread * torch.randn(first[:some].shape, generator=draw)
        elif kind == "copied filters":
            first[:half] = first[half : 2 * half]
        elif kind == "head random":
            randomised(head, seed)
        elif kind == "one class random":
            row = seed % len(head.weight)
            head.weight[row] = float(head.weight.std()) * torch.randn(head.weight[row].shape, generator=draw)
    return model


def sound_models(seeds: int) -> Iterator[tuple[str, nn.Module, object]]:
    """(name, model, preprocessing): the embedded ones, and digit networks trained with other seeds and lengths."""
    for name in ("digits", "efficientnet-lite0"):
        model, preprocess, _ = models.build(name)
        yield name, model, preprocess
    for seed in range(seeds):
        training.SEED = SEED + seed
        yield f"digits, seed {seed}", training.train(flawed=False, epochs=(16, 8, 6, 5)[seed % 4]), models.digits_preprocess()


def audits(work: Path, seeds: int, repeats: int) -> Iterator[Made]:
    """Every sound model and its controls, audited."""
    for name, model, preprocess in sound_models(seeds):
        lite = name.startswith("eff")
        kinds = [SOUND, *["all random"] * repeats, "first layer random", "dead filters", "copied filters"]
        kinds += [] if lite else ["head random", *["one class random"] * repeats]
        state = {key: value.clone() for key, value in model.state_dict().items()}
        source = str(data.build("photographs" if lite else "digits", work / ("photographs" if lite else "digits")))
        for number, kind in enumerate(kinds):
            model.load_state_dict(state)
            damaged(model, kind, SEED + number)
            place = {"out": work / f"a{number}", "work": work / "w"}
            audit = api.run(
                model, source, preprocess=preprocess, probes=PROBES, profile="quick", device="cpu", force=True, **place
            )
            yield Made(name, kind, name, audit.record, dict(Columns(audit.path)))
            print(f"{name}, {kind}: {figures_of(audit.record)}", file=sys.stderr)


def figures_of(record: AuditRecord) -> dict[str, float]:
    """The worst value of each figure over its scopes."""
    found = {}
    for id in FIGURES:
        probe, _, name = id.partition(".")
        section = record.sections.get(probe)
        values = [
            v.value for k, v in (section.values if section else {}).items() if k.partition(".")[0] == name and v.value is not None
        ]
        if values:
            found[id] = round(max(values), 4)
    return found


def baselines(made: list[Made]) -> dict[str, Baseline]:
    """Each sound model as a baseline for its own controls; the first digits for all of their kind."""
    found = {m.name: baseline_of(m.record, m.columns, made="x") for m in made if m.kind == SOUND}
    return {name: found["digits"] if name.startswith("digits,") else own for name, own in found.items()}


def judged(made: list[Made]) -> dict[str, dict[str, dict[str, list[int]]]]:
    """Preset -> rule -> kind -> [models that fail it, models that it judges]."""
    against = baselines(made)
    found: dict[str, dict[str, dict[str, list[int]]]] = {}
    for preset in PRESETS:
        rules = found.setdefault(preset, {})
        policy = load_config({"gate": {"preset": preset}}).gate
        for m in made:
            own = against[m.base] if m.kind == SOUND or not m.base.startswith("digits,") else baseline_of_sound(made, m.base)
            verdict = judge(m.record, m.columns, policy, baseline=own)
            for number, rule in enumerate(policy.all_rules):
                outcomes = [o for o in verdict.outcomes if o.number == number]
                if not any(o.value is not None for o in outcomes):
                    continue
                name = rule.measure + (" against the baseline" if rule.paired else "")
                counts = rules.setdefault(name, {}).setdefault(m.kind, [0, 0])
                bad = [o for o in outcomes if o.value is not None and shown_bad(o)]
                counts[0] += bool(bad)
                counts[1] += 1
    return found


def baseline_of_sound(made: list[Made], base: str) -> Baseline:
    """The sound model that a control was made from."""
    return next(baseline_of(m.record, m.columns, made="x") for m in made if m.name == base and m.kind == SOUND)


def shown_bad(outcome: object) -> bool:
    """Beyond its line, whatever the rule's level."""
    low, high, least = outcome.low, outcome.high, outcome.least  # type: ignore[attr-defined]
    line = outcome.baseline.get("line") if outcome.baseline else outcome.rule.get("at_most", outcome.rule.get("at_least"))  # type: ignore[attr-defined]
    at = outcome.baseline.get("difference") if outcome.baseline else outcome.value  # type: ignore[attr-defined]
    far = (high if high is not None else at) if least else (low if low is not None else at)
    return bool(far < line if least else far > line)


def tables(made: list[Made], found: dict[str, dict[str, dict[str, list[int]]]]) -> str:
    """What each figure is by kind, and how often each rule of each preset finds it bad."""
    kinds = list(dict.fromkeys(m.kind for m in made))
    counts = {kind: sum(m.kind == kind for m in made) for kind in kinds}
    head = "| figure | " + " | ".join(f"{kind} ({counts[kind]})" for kind in kinds) + " |"
    rows = [head, "| --- |" + " ---: |" * len(kinds)]
    for id in FIGURES:
        cells = []
        for kind in kinds:
            values = [f[id] for m in made if m.kind == kind and id in (f := figures_of(m.record))]
            cells.append(f"{min(values):.3g} to {max(values):.3g}" if values else "–")
        rows.append(f"| `{id}` | {' | '.join(cells)} |")
    rules = ["| preset | rule | " + " | ".join(kinds) + " |", "| --- | --- |" + " ---: |" * len(kinds)]
    for preset, of in found.items():
        for name, by in of.items():
            cells = [f"{by[kind][0]} of {by[kind][1]}" if kind in by else "–" for kind in kinds]
            rules.append(f"| `{preset}` | {name} | {' | '.join(cells)} |")
    said = "Range of each figure (of one with several layers: its worst):"
    return f"{said}\n\n" + "\n".join(rows) + "\n\nModels that each rule shows to be bad:\n\n" + "\n".join(rules)


def faults(found: dict[str, dict[str, dict[str, list[int]]]]) -> list[str]:
    """Sound models that a preset fails, and rules that catch none of what they are for."""
    told = []
    for preset, of in found.items():
        for name, by in of.items():
            if by.get(SOUND, [0, 0])[0]:
                told.append(f"{preset}: {name} fails {by[SOUND][0]} of {by[SOUND][1]} sound models")
            wanted = [kind for kind in FOR.get(name.partition(" ")[0], ()) if kind in by and by[kind][0] == 0]
            told += [f"{preset}: {name} catches none of {by[kind][1]} models with {kind}" for kind in wanted]
    return told


def main() -> int:
    """Audit, tell, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=DOCS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as work:
        made = list(audits(Path(work), given.seeds, given.repeats))
    found = judged(made)
    text = tables(made, found)
    listed = [{"model": m.name, "kind": m.kind, **figures_of(m.record)} for m in made]
    content = {"seed": SEED, "auditor": auditor.__version__, "models": listed, "rules": found}
    (given.out / "presets.json").write_text(json.dumps(content, indent=1) + "\n")
    page = given.out / "gate.md"
    if page.is_file():
        before, _, rest = page.read_text().partition(BEGIN)
        page.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.partition(END)[2]}")
    print(text)
    wrong = faults(found)
    print("\n".join(wrong) or "every rule holds for the sound models, and catches what it is for")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
