"""Tells when the segmentation was edited, once for many changes in a row: a brush stroke is dozens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
import slicer
from slicer.util import VTKObservationMixin

_QUIET_MS = 250


class SegmentationWatch(VTKObservationMixin):
    """Calls ``edited`` when a segmentation has been at rest for a moment after changes of voxels or segments."""

    def __init__(self, edited: Callable[[], None], parent: Any) -> None:
        super().__init__()
        self._id = ""
        self._timer = qt.QTimer(parent)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_QUIET_MS)
        self._timer.connect("timeout()", edited)

    def follow(self, segmentation_id: str) -> None:
        """Watches another segmentation; "" watches none."""
        if segmentation_id == self._id:
            return
        self.stop()
        node = slicer.mrmlScene.GetNodeByID(segmentation_id) if segmentation_id else None
        if node is None:
            return
        self._id = segmentation_id
        events = slicer.vtkSegmentation
        for event in (
            events.SourceRepresentationModified,
            events.SegmentAdded,
            events.SegmentRemoved,
            events.SegmentModified,
            events.SegmentsOrderModified,
        ):
            self.addObserver(node.GetSegmentation(), event, self._changed)

    def stop(self) -> None:
        """Watches nothing any more."""
        self.removeObservers()
        self._timer.stop()
        self._id = ""

    def _changed(self, _caller: Any, _event: Any) -> None:
        self._timer.start()
