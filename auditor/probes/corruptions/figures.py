"""The charts and tables of the section, and what it comes to in words."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from auditor.bounds import clopper_pearson, statistic
from auditor.methods.corruptions import KINDS
from auditor.probes.corruptions.seen import Seen, words
from auditor.types import Array, Figure, Json, Value


def figures_of(seen: Seen, values: Mapping[str, Value]) -> tuple[Figure, ...]:
    """All but the pictures."""
    order = worst_first(seen, values)
    return (
        kinds_figure(seen, values, order),
        severity_figure(seen),
        trust_figure(seen),
        table(seen, values, order),
    )


def worst_first(seen: Seen, values: Mapping[str, Value]) -> list[int]:
    """Places of the kinds by rising accuracy."""
    return sorted(range(len(seen.kinds)), key=lambda k: (values[f"accuracy.{seen.kinds[k]}"].value or 0.0, seen.kinds[k]))


def kinds_figure(seen: Seen, values: Mapping[str, Value], order: list[int]) -> Figure:
    """Accuracy by kind, worst first, the unchanged images last."""
    clean = int(seen.clean.sum())
    low, high = clopper_pearson(clean, seen.n, 0.95)
    found = [values[f"accuracy.{seen.kinds[k]}"] for k in order]
    data: dict[str, Json] = {
        "labels": [*(f"{words(seen.kinds[k])} ({KINDS[seen.kinds[k]].group})" for k in order), "unchanged"],
        "values": [*(v.value for v in found), clean / seen.n],
        "low": [*(v.low for v in found), low],
        "high": [*(v.high for v in found), high],
        "n": [seen.n] * (len(order) + 1),
        "highlight": [len(order)],
        "x_label": "share right",
        "y_label": "corruption",
        "horizontal": True,
        "format": "percent",
    }
    if any(v.low is None or v.high is None for v in found):
        data = {key: entry for key, entry in data.items() if key not in ("low", "high")}
    caption = f"Worst first; {seen.n} images at {severities(seen)}, 90 % intervals over the images. Highlighted: unchanged."
    return Figure("kinds", "bars", "Accuracy under each corruption", caption, data)


def severities(seen: Seen) -> str:
    """`severities 1 to 5`, `severity 3`."""
    many = len(seen.severities) > 1
    return f"severities {seen.severities[0]} to {seen.severities[-1]}" if many else f"severity {seen.severities[0]}"


def severity_figure(seen: Seen) -> Figure:
    """Accuracy against severity, by group, from the images as they are."""
    x, clean = list(range(len(seen.severities) + 1)), share(seen.clean)
    series = [line("all kinds", x, [clean, *(share(seen.right[:, :, s].mean(1)) for s in range(len(seen.severities)))])]
    for group in dict.fromkeys(KINDS[kind].group for kind in seen.kinds):
        members = [k for k, kind in enumerate(seen.kinds) if KINDS[kind].group == group]
        points = [clean, *(share(seen.right[:, members, s].mean(1)) for s in range(len(seen.severities)))]
        series.append({key: entry for key, entry in line(group, x, points).items() if key not in ("low", "high")})
    floor = [int(seen.right[:, :, s].sum(0).min()) for s in range(len(seen.severities))]
    lowest = [int(seen.clean.sum()) / seen.n, *(k / seen.n for k in floor)]
    series.append({"name": "worst kind", "x": x, "y": lowest, "dashed": True})
    data = {"x_label": "severity", "y_label": "share right", "series": series, "x_names": steps(seen)}
    caption = (
        f"{seen.n} images. Means over the kinds of a group; band: 90 % interval over the images of the mean over all kinds. "
        "Dashed: the kind that is worst at that severity."
    )
    return Figure("severity", "lines", "Accuracy against severity", caption, data)


def steps(seen: Seen) -> list[str]:
    """The places of the axis."""
    return ["unchanged", *map(str, seen.severities)]


def trust_figure(seen: Seen) -> Figure:
    """Whether confidence falls with the share right."""
    x, places = list(range(len(seen.severities) + 1)), range(len(seen.severities))
    series = [
        line("mean confidence", x, [share(seen.clean_sure), *(share(seen.sure[:, :, s].mean(1)) for s in places)]),
        line("share right", x, [share(seen.clean), *(share(seen.right[:, :, s].mean(1)) for s in places)]),
    ]
    data = {"x_label": "severity", "y_label": "share", "series": series, "x_names": steps(seen)}
    caption = f"Over all kinds, {seen.n} images; bands: 90 % intervals over the images. A gap is confidence that is not kept."
    return Figure("trust", "lines", "Does confidence fall with it?", caption, data)


def share(rows: Array) -> tuple[float, float, float]:
    """The mean of (n,) with its 90 % interval over the images; the mean itself where none can be told."""
    found = statistic("mean", {"x": np.asarray(rows, dtype=np.float64)}, unit="share", seed=0)
    value = found.value or 0.0
    return value, value if found.low is None else found.low, value if found.high is None else found.high


def line(name: str, x: list[int], points: list[tuple[float, float, float]]) -> dict[str, Json]:
    """A line with its band."""
    value, low, high = (list(part) for part in zip(*points, strict=True))
    return {"name": name, "x": x, "y": value, "low": low, "high": high}


def table(seen: Seen, values: Mapping[str, Value], order: list[int]) -> Figure:
    """Every kind at every severity, with exact intervals."""
    columns = [
        {"key": "kind", "label": "corruption", "format": "text"},
        {"key": "group", "label": "group", "format": "text"},
        *({"key": f"s{s}", "label": f"severity {s}", "format": "text"} for s in seen.severities),
        {"key": "all", "label": "all", "format": "percent"},
        {"key": "lost", "label": "lost", "format": "percent"},
    ]
    rows, clean = [], float(seen.clean.mean())
    for k in order:
        kind = seen.kinds[k]
        row: dict[str, Json] = {"kind": words(kind), "group": KINDS[kind].group}
        for s, severity in enumerate(seen.severities):
            count = int(seen.right[:, k, s].sum())
            low, high = clopper_pearson(count, seen.n, 0.95)
            row[f"s{severity}"] = f"{count / seen.n:.0%} ({100 * low:.0f}–{100 * high:.0f})"
        found = values[f"accuracy.{kind}"].value or 0.0
        rows.append({**row, "all": found, "lost": clean - found})
    caption = (
        f"Share right of {seen.n} images, with exact 90 % intervals; unchanged {clean:.1%} of them are right. "
        "lost: that less the mean over the severities."
    )
    return Figure("table", "table", "By kind and severity", caption, {"columns": columns, "rows": rows})


def notes(seen: Seen, values: Mapping[str, Value]) -> tuple[str, ...]:
    """What it comes to."""
    order, clean = worst_first(seen, values), int(seen.clean.sum())
    mean, drop = values["mean_corruption_accuracy"], values["corruption_drop"]
    worst, mildest = (f"{words(seen.kinds[k])} ({values[f'accuracy.{seen.kinds[k]}'].value:.1%})" for k in (order[0], order[-1]))
    said = [
        f"Of {seen.n} images {clean} are right unchanged ({clean / seen.n:.1%}), {mean.value:.1%} on average under "
        f"{len(seen.kinds)} corruptions: {100 * (drop.value or 0.0):.1f} points lost{between(drop)}.",
        f"The worst is {worst}, the mildest {mildest}.",
    ]
    last = seen.right[:, :, -1].mean()
    sure = seen.sure[:, :, -1].mean(dtype=np.float64)
    if sure - last >= 0.1:
        where = f"At severity {seen.severities[-1]} it is right in {last:.1%} of the cases"
        said.append(f"{where} with a mean confidence of {sure:.1%}: it errs without a warning.")
    return tuple(said)


def between(value: Value) -> str:
    """` (90 % interval 3.1 to 8.2)`, "" without one."""
    if value.low is None or value.high is None:
        return ""
    return f" (90 % interval {100 * value.low:.1f} to {100 * value.high:.1f})"
