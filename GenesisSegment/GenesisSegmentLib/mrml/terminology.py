"""Our terminology in Slicer: the 32 classes with their codes and colours, for the terminology selector."""

from __future__ import annotations

from typing import Any

from ..core.errors import GenesisError
from ..core.i18n import _
from ..core.resources import resource
from ..core.terminology import CATEGORY_CONTEXT, REGION_CONTEXT

TERMINOLOGY = "Terminology/SegmentationCategoryTypeModifier-GenesisSegment.term.json"
REGIONS = "Terminology/AnatomicRegionAndModifier-GenesisSegment.term.json"


def load_terminology(logic: Any) -> None:
    """Loads both contexts into a vtkSlicerTerminologiesModuleLogic; once is enough, twice does no harm.

    Raises:
        GenesisError: a file is missing or damaged.
    """
    loaded = {
        CATEGORY_CONTEXT: logic.LoadTerminologyFromFile(str(resource(TERMINOLOGY))),
        REGION_CONTEXT: logic.LoadRegionContextFromFile(str(resource(REGIONS))),
    }
    if missing := [expected for expected, name in loaded.items() if name != expected]:
        raise GenesisError(
            _("The terminology {names} could not be loaded.").format(names=", ".join(missing)),
            _("Install GenesisSegment again."),
        )
