"""How the person wants CTs to be segmented, and the model that is opened for it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from ..core.jobs import Job
from .batch import Batch
from .console import print_note
from .progress import CaseBar

if TYPE_CHECKING:
    from ..engine.inference.spec import RunOptions
    from ..engine.models.store import ResolvedModel


class Runtime(str, Enum):
    """``--runtime``."""

    torch = "torch"
    onnx = "onnx"


class Recipe(str, Enum):
    """``--recipe``."""

    fast = "fast"
    published = "published"


class Cleaning(str, Enum):
    """``--postprocess``."""

    safe = "safe"
    published = "published"


@dataclass(frozen=True)
class Request:
    """How to segment, in the words of the command line."""

    model: str
    classes: str
    device: str
    runtime: Runtime | None
    recipe: Recipe
    postprocess: Cleaning
    overlap: float | None
    series: str | None
    everywhere: bool = False

    def open(self, job: Job, bar: CaseBar) -> Batch:
        """Opens the model and gets ready.

        Raises:
            InputError: a class is unknown, or the model does not offer it.
            ModelError, ResourceError: the model cannot be had, or not on this device.
        """
        from ..engine.case import ModelLabel
        from ..engine.models.store import ModelStore
        from ..engine.open_model import open_segmenter

        model = ModelStore.of_this_person().resolve(self.model)
        options = self._options(model)
        job.check()
        segmenter = open_segmenter(model, job, runtime=self.runtime.value if self.runtime else None, device=self.device)
        label = ModelLabel(model.name, model.title, model.sha256, _notes(model), model.facts.own)
        return Batch(segmenter, label, options, job, bar, self.series)

    def _options(self, model: ResolvedModel) -> RunOptions:
        from ..core.classes import find_classes
        from ..engine.inference.spec import RunOptions

        if self.overlap is not None and model.facts.preprocessing.window is None:
            print_note(f"--overlap changes nothing: {model.name} sees a CT at once, unless it is very long.")
        facts = model.facts
        names = [name for name in self.classes.split(",") if name.strip()]
        wanted = find_classes(names, facts.drawn, facts.own) if names else facts.drawn
        return RunOptions(wanted, self.recipe.value, self.postprocess.value, self.overlap, self.everywhere)


def _notes(model: ResolvedModel) -> tuple[str, ...]:
    is_restricted = model.licence is not None and not model.licence.commercial_use
    return (*([model.licence.summary] if is_restricted and model.licence else []), *model.notes)
