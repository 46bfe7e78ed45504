"""Tells when the segmentation was edited, once for many changes in a row: a brush stroke is dozens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
import slicer
from slicer.util import VTKObservationMixin

_QUIET_MS = 250


class SegmentationWatch(VTKObservationMixin):
    """Calls ``edited`` when a segmentation has been at rest for a moment after changes of voxels or segments.

    It is told which tools of the editor were in use, as ``tool`` named them while voxels changed.
    """

    def __init__(self, edited: Callable[[tuple[str, ...]], None], tool: Callable[[], str], parent: Any) -> None:
        super().__init__()
        self._id = ""
        self._edited, self._tool = edited, tool
        self._tools: set[str] = set()
        self._timer = qt.QTimer(parent)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_QUIET_MS)
        self._timer.connect("timeout()", self._tell)

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
            events.SegmentAdded,
            events.SegmentRemoved,
            events.SegmentModified,
            events.SegmentsOrderModified,
        ):
            self.addObserver(node.GetSegmentation(), event, self._changed)
        self.addObserver(node.GetSegmentation(), events.SourceRepresentationModified, self._voxels_changed)

    def stop(self) -> None:
        """Watches nothing any more."""
        self.removeObservers()
        self._timer.stop()
        self._id = ""
        self._tools.clear()

    def _changed(self, _caller: Any, _event: Any) -> None:
        self._timer.start()

    def _voxels_changed(self, _caller: Any, _event: Any) -> None:
        if tool := self._tool():
            self._tools.add(tool)
        self._timer.start()

    def _tell(self) -> None:
        tools = tuple(sorted(self._tools))
        self._tools.clear()
        self._edited(tools)
