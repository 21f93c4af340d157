"""Whether the model goes by shape or by texture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from auditor.fold import Cost, Study
from auditor.methods.shape_bias import Cues, digest, named_map, read_cues, read_map
from auditor.methods.style import style_layers
from auditor.ops.lbfgs import step_seconds
from auditor.probe import Needs, Probe, Results
from auditor.probes.shape_bias.conflicts import conflicts_of, made
from auditor.probes.shape_bias.look import work
from auditor.probes.shape_bias.told import told
from auditor.types import Array, Finding, Json, Measure

if TYPE_CHECKING:
    from auditor.dataset import Dataset
    from auditor.evidence import Evidence
    from auditor.target import Target

MAP = "categories.json"
"""Beside the pictures, where no other is given."""
MISSING = (
    "it needs pictures whose shape and texture disagree, and none were given: in audit.toml, "
    '[probes.shape_bias] cues = "FOLDER" with pictures SHAPE/SHAPEn-TEXTUREm.jpg, and categories = "MAP.json" '
    "where the categories are no classes of the model; or conflicts = 40 to have them made from the data, as in the profile full"
)
UNMADE = (
    "no pictures could be made whose shape and texture disagree: that takes images of two classes that the model gets right, "
    "layers with maps, and a preprocessing that can be undone; or give a folder as `cues`"
)


@dataclass(frozen=True)
class ShapeBias(Probe):
    """Asks: Where shape and texture disagree, which of them does the model go by?
    Formula: A picture has the shape of one category and the texture of another. A category's score is the mean softmax over its
    classes; the highest decides. bias = shape decisions / (shape + texture decisions), over pictures whose cues differ. Where no
    folder is given: images of two classes, both right, one painted in the style of the other by the model's own features.
    Read: People go by shape (95.9 %), networks trained on photographs by texture (VGG-16 17.2 %, ResNet-50 22.1 %, AlexNet
    42.9 %); one trained on stylised photographs by shape (81.4 %). A low bias warns of surfaces, weather and noise that change.
    Misleads: The bias leaves out the pictures decided for neither: read the two shares beside it. The pictures are made by style
    transfer and look like nothing in the training data; the published figures are of all 1,280 pictures of Geirhos et al., made
    by VGG-19. Pictures made by the audited model's own features are driven to what it takes for the texture, also by changes
    that nobody sees, so texture wins more often (EfficientNet-Lite0: a bias of 2.6 % on 40 of its own, 21.5 % on 300 published
    ones). That bias compares with no published one, only with others that were made alike.
    """

    title: ClassVar[str] = "Shape or texture"
    cites: ClassVar[tuple[str, ...]] = (
        "Geirhos et al. 2019, ImageNet-trained CNNs are biased towards texture",
        "Gatys, Ecker, Bethge 2016, Image style transfer using convolutional neural networks",
    )
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure("bias", "Shape bias", "share", "none", "Decisions by shape among those by shape or by texture."),
        Measure("shape_decisions", "Decided by shape", "share", "none", "Share of the conflicts decided for the shape."),
        Measure("texture_decisions", "Decided by texture", "share", "none", "Share of the conflicts decided for the texture."),
        Measure("agreeing_accuracy", "Right where cues agree", "share", "higher", "Share right of pictures with one category."),
    )
    needs: ClassVar[Needs] = Needs(scores=True)
    profiles: ClassVar[Mapping[str, Mapping[str, Json] | None]] = {"full": {"conflicts": 40}}
    only_shown: ClassVar[frozenset[str]] = frozenset({"cues", "categories"})
    """Names of files alone: what they hold is named by `content`."""

    cues: str = ""
    """Folder of cue-conflict pictures, SHAPE/SHAPEn-TEXTUREm.jpg."""
    categories: str = ""
    """JSON: category -> classes of the model, by index or name; `categories.json` in the folder where not given, else by name."""
    conflicts: int = 0
    """Pictures that are made from the data where no folder is given."""
    evaluations: int = 60
    """Of each style transfer."""

    def __post_init__(self) -> None:
        if self.conflicts < 0 or self.evaluations < 1:
            raise ValueError("expected conflicts >= 0 and evaluations >= 1; 40 and 60 are usual")

    def parameters(self) -> dict[str, Json]:
        """What names the work: the folder by its content, not by its place on this machine."""
        if not self.cues or not Path(self.cues).is_dir():
            return super().parameters()
        files = [cue.path for cue in self.read().items] + [path for path in [self.map()] if path is not None]
        given = {"cues": Path(self.cues).name, "categories": Path(self.categories).name}
        return {**super().parameters(), **given, "content": digest(files)}

    def read(self) -> Cues:
        """The pictures, by their names."""
        return read_cues(Path(self.cues))

    def map(self) -> Path | None:
        """The file of the categories; None where categories are the model's own class names."""
        beside = Path(self.cues) / MAP
        return Path(self.categories) if self.categories else beside if beside.is_file() else None

    def groups(self, cues: Cues, target: Target, evidence: Evidence) -> tuple[Array, ...]:
        """The classes of each category."""
        path, classes = self.map(), evidence.names
        return named_map(cues.categories, classes) if path is None else read_map(path, cues.categories, classes, target.outputs)

    def study(self, target: Target, evidence: Evidence, results: Results) -> Study | None:
        """One forward a picture; one style transfer a picture that is to be made."""
        if not self.cues:
            conflicts = conflicts_of(evidence, self.conflicts) if paintable(target) else None
            if conflicts is None:
                return None
            run = partial(made, conflicts=conflicts, evaluations=self.evaluations)
            return Study(tuple((i,) for i in range(len(conflicts.pairs))), run, 1)
        cues = self.read()
        looked = partial(work, cues=cues, groups=self.groups(cues, target, evidence))
        return Study(tuple((i,) for i in range(len(cues.items))), looked, target.at_once)

    def cost(self, target: Target, dataset: Dataset) -> Cost:
        """One forward a picture; of those that are made, at most, an evaluation ends at the deepest layer that is read."""
        if self.cues:
            return Cost(forwards=float(len(self.read().items)))
        if not self.conflicts or not paintable(target):
            return Cost()
        order = {call.name: call.order for call in target.trace}
        own = self.conflicts * self.evaluations * step_seconds(target.input_shape)
        part = (order[style_layers(target)[0][-1]] + 1) / len(target.trace)
        return Cost(forwards=float(self.conflicts), gradients=self.conflicts * self.evaluations * part, batch=1.0, seconds=own)

    def conclude(self, target: Target, evidence: Evidence, results: Results) -> Finding:
        """Decisions counted."""
        if self.cues:
            return told(self.read(), results.rows)
        conflicts = conflicts_of(evidence, self.conflicts)
        if conflicts is not None and results.rows:
            return told(conflicts.cues, results.rows, own=True)
        return Finding("not_applicable", MISSING if not self.conflicts else UNMADE)


def paintable(target: Target) -> bool:
    """Whether pictures can be made by the model's own features."""
    return bool(getattr(target.preprocess, "invertible", True)) and bool(target.choose("spatial", 1))
