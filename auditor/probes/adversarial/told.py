"""The figures of the attacked images: the curve, what each attack takes, the signs of masked gradients."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from auditor.bounds import clopper_pearson, proportion, statistic
from auditor.fold import State
from auditor.methods.attacks.worst import ATTACKS, STANDS, UNCHANGED
from auditor.methods.masking import RANDOM, beaten, flags, weaker
from auditor.ops.columns import spread_out
from auditor.probes.adversarial.attacks import SIGNS, TESTED, Plan
from auditor.types import Array, Figure, Finding, Json, Value

NAMES = {"pgd": "PGD", "apgd_ce": "APGD-CE", "apgd_t": "APGD-T", "square": "Square"}
BLIND = ATTACKS.index("square")
SIGN_WORDS = {
    "silent": ("the loss has no slope in any pixel", "one image"),
    "saturated": ("the softmax has lost the slope that the scores still have", "more than half"),
    "untrue": ("finite differences are not what the gradient says", "more than half"),
    "unbroken": ("it stands a change that could make it grey", "more than a twentieth"),
    "random": ("two forwards differ", "one image"),
    "optimises": ("the forward follows gradients of its own", "one image"),
}


@dataclass(frozen=True)
class Swept:
    """The n attacked images, arrays (n,...)."""

    positions: Array
    once: Array
    """(n,E) fell to FGSM at that epsilon."""
    many: Array
    """(n,E) fell to PGD at that epsilon or a smaller one."""
    worst: Array
    """(n,E) fell to anything at that epsilon or a smaller one."""
    grid: Array
    """(n,E) likewise, in 8 bits."""
    by: Array
    """(n,) the strong attack that it fell to, at the stated epsilon."""
    by_l2: Array

    @property
    def n(self) -> int:
        """How many."""
        return len(self.positions)


def swept(rows: State, plan: Plan) -> Swept:
    """The rows as one table: what fell once has fallen at every larger epsilon."""
    held = rows["position"] >= 0
    once, many, by = rows["fgsm"][held], rows["pgd"][held], rows["by_linf"][held]
    at = plan.epsilons.index(plan.epsilon)
    worst, grid = once | many, rows["fgsm_8bit"][held] | rows["pgd_8bit"][held]
    worst[:, at] |= by >= 0
    grid[:, at] |= rows["strong_8bit"][held]
    worst, grid = (np.logical_or.accumulate(a, axis=1) for a in (worst, grid))
    return Swept(rows["position"][held], once, many, worst, grid, by, rows["by_l2"][held])


def robustness(rows: State, samples: int, plan: Plan, *, random: bool = False) -> Finding:
    """Figures and columns of the attacked images; a note where none has a label."""
    seen = swept(rows, plan)
    if not seen.n:
        return Finding("done", notes=("Robust accuracy is left out: no sample that was chosen has a label.",))
    at, said = plan.epsilons.index(plan.epsilon), f"{plan.epsilon * 255:.3g}/255"
    void = voids(rows, seen, plan, random=random)
    right = [int(k) for k in (~seen.worst).sum(0)]
    linf = (f"L-inf, epsilon {said}", *void)
    values = {
        "robust_accuracy": replace(proportion(right[at], seen.n, columns=("adversarial.robust",)), flags=linf),
        "robust_accuracy_8bit": replace(proportion(int((~seen.grid[:, at]).sum()), seen.n), flags=linf),
    }
    columns = columns_of(rows, seen, plan, samples)
    figures = [curve_figure(plan, seen)]
    if plan.strong:
        flag = (f"L2, epsilon {plan.epsilon_l2:.3g} of images in [0,1]", *void)
        values["robust_accuracy_l2"] = replace(proportion(int((seen.by_l2 == STANDS).sum()), seen.n), flags=flag)
        figures.append(attacks_figure(plan, seen))
    values |= distance(columns, void, plan.seed)
    figures += signs_figure(rows)
    notes = (
        f"A change of at most {said} a pixel takes the share that is right from {right[0]} to {right[at]} of {seen.n} images.",
        *(f"The robustness figures are {flag}." for flag in void),
    )
    return Finding("done", values=values, figures=tuple(figures), notes=notes, columns=columns)


def voids(rows: State, seen: Swept, plan: Plan, *, random: bool) -> tuple[str, ...]:
    """All flags for which the figures prove nothing."""
    held = rows["position"] >= 0
    mute = flags({"silent": rows["silent"][held]})
    looked = held & (rows["kind"] == TESTED)[:, None]
    others = flags({name: rows[name][looked] for name in SIGNS if name != "silent"})
    square = tuple(
        flag
        for by in (seen.by, seen.by_l2)
        if plan.strong
        for flag in beaten(int(((by != UNCHANGED) & (by >= 0) & (by != BLIND)).sum()), int((by == BLIND).sum()), seen.n)
    )
    return tuple(dict.fromkeys((*weaker(seen.once, seen.many), *mute, *others, *square, *((RANDOM,) if random else ()))))


def columns_of(rows: State, seen: Swept, plan: Plan, samples: int) -> dict[str, Array]:
    """Per image: whether it stays right at the stated epsilon, the smallest epsilon that fells it, and how far it falls in L2."""
    at = plan.epsilons.index(plan.epsilon)
    smallest = np.where(seen.worst[:, -1], np.asarray(plan.epsilons)[seen.worst.argmax(1)], np.inf)
    looked = (rows["position"] >= 0) & (rows["kind"] == TESTED)[:, None]
    far = spread_out(rows["distance"][looked], rows["position"][looked], samples)
    columns = {
        "adversarial.robust": spread_out(~seen.worst[:, at], seen.positions, samples),
        "adversarial.smallest_epsilon": spread_out(smallest, seen.positions, samples),
    }
    return columns | ({"adversarial.distance": far} if np.isfinite(far).any() else {})


def distance(columns: dict[str, Array], void: tuple[str, ...], seed: int) -> dict[str, Value]:
    """The median of the smallest changes found; an image where none was found counts as farther than all others."""
    if "adversarial.distance" not in columns:
        return {}
    found = statistic("median", {"adversarial.distance": columns["adversarial.distance"]}, unit="", seed=seed)
    return {"median_distance": replace(found, flags=("an upper bound: the smallest change found", *void))}


def shares(fell: Array) -> dict[str, Json]:
    """(n,E) as the share that is right at each, with exact 90 % intervals."""
    right = (~fell).sum(0)
    ends = [clopper_pearson(int(k), len(fell), 0.95) for k in right]
    return {
        "y": [float(k) / len(fell) for k in right],
        "low": [float(low) for low, _ in ends],
        "high": [float(high) for _, high in ends],
    }


def curve_figure(plan: Plan, seen: Swept) -> Figure:
    """Accuracy against epsilon."""
    x = [e * 255 for e in plan.epsilons]
    named = (("FGSM alone", seen.once), ("worst case", seen.worst), ("worst case, stored in 8 bits", seen.grid))
    series = [{"name": name, "x": x, **shares(fell)} for name, fell in named]
    series[2]["dashed"] = True
    at = f"{plan.epsilon * 255:.3g}/255"
    strong = f", from {at} on also of APGD and Square at {at}" if plan.strong else ""
    caption = (
        f"{seen.n} labelled images; bands: exact 90 % intervals. "
        f"Worst case: of FGSM and PGD at this size and all smaller ones{strong}; "
        "an image stays lost once it is."
    )
    data = {"x_label": "largest change of a pixel (1/255)", "y_label": "share right", "series": series}
    return Figure("curve", "lines", "Accuracy against the size of the change", caption, data)


def attacks_figure(plan: Plan, seen: Swept) -> Figure:
    """What each attack takes of what the ones before it left."""
    at = plan.epsilons.index(plan.epsilon)
    norms = (("L-inf", f"{plan.epsilon * 255:.3g}/255"), ("L2", f"{plan.epsilon_l2:.3g}"))
    table = []
    for (norm, bound), by in zip(norms, (seen.by, seen.by_l2), strict=True):
        left = (
            int((~(seen.once | seen.many)[:, : at + 1].any(1)).sum())
            if norm == "L-inf"
            else seen.n - int((by == UNCHANGED).sum())
        )
        if norm == "L-inf":
            fell = int((~seen.worst[:, 0]).sum()) - left
            table.append({"norm": norm, "bound": bound, "attack": "FGSM and PGD", "fell": fell, "left": left})
        for place, name in enumerate(ATTACKS):
            if norm == "L-inf" and name == "pgd":
                continue
            fell = int((by == place).sum())
            left -= fell
            table.append({"norm": norm, "bound": bound, "attack": NAMES[name], "fell": fell, "left": left})
    columns = [
        {"key": "norm", "label": "norm", "format": "text"}, {"key": "bound", "label": "largest change", "format": "text"},
        {"key": "attack", "label": "attack", "format": "text"}, {"key": "fell", "label": "fell to it", "format": "integer"},
        {"key": "left", "label": "still right", "format": "integer"},
    ]  # fmt: skip
    budget = plan.budget
    caption = (
        f"In this order, each on the images that the ones before it left: APGD with {budget.steps} steps, APGD-T towards at most "
        f"{budget.targets} classes, Square with {budget.queries} queries. "
        "Square sees no gradient: where it takes much, gradients mislead."
    )
    return Figure("attacks", "table", "What each attack takes", caption, {"columns": columns, "rows": table})


def signs_figure(rows: State) -> tuple[Figure, ...]:
    """How many images show each sign of masked gradients."""
    looked = (rows["position"] >= 0) & (rows["kind"] == TESTED)[:, None]
    n = int(looked.sum())
    if not n:
        return ()
    table = []
    for name in SIGNS:
        count, (words, needed) = int(rows[name][looked].sum()), SIGN_WORDS[name]
        raised = "yes" if flags({name: rows[name][looked]}) else "no"
        table.append({"sign": words, "count": count, "needed": needed, "raised": raised})
    columns = [
        {"key": "sign", "label": "sign", "format": "text"}, {"key": "count", "label": f"of {n} images", "format": "integer"},
        {"key": "needed", "label": "raised by", "format": "text"}, {"key": "raised", "label": "raised", "format": "text"},
    ]  # fmt: skip
    caption = f"Looked for on {n} images. One that is raised makes the robustness figures void: they cannot pass a rule."
    return (Figure("signs", "table", "Signs of masked gradients", caption, {"columns": columns, "rows": table}),)
