"""The slice views that prompts are drawn in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
import slicer

from ..core.strokes import Stroke
from ..mrml.pointing import SlicePointer
from ..mrml.trace import Trace


class SliceViews:
    """Listens to the mouse in every slice view of the layout, while it is told to."""

    def __init__(self, on_stroke: Callable[[Stroke, bool], None], on_given_up: Callable[[], None]) -> None:
        self._on_stroke, self._on_given_up = on_stroke, on_given_up
        self._pointers: dict[str, tuple[Any, SlicePointer]] = {}
        self._is_rectangle = False
        self._layouts = slicer.app.layoutManager()
        if self._layouts is not None:
            self._layouts.connect("layoutChanged(int)", self._layout_changed)

    def listen(self, is_rectangle: bool) -> None:
        """Begins, or goes on with strokes that are shown as rectangles, or not."""
        self._is_rectangle = is_rectangle
        for name in self._layouts.sliceViewNames() if self._layouts is not None else ():
            if name not in self._pointers:
                self._pointers[name] = self._made(self._layouts.sliceWidget(name))
            view, pointer = self._pointers[name]
            pointer.start(is_rectangle)
            view.setViewCursor(qt.QCursor(qt.Qt.CrossCursor))

    def rest(self) -> None:
        """Leaves the views alone."""
        for view, pointer in self._pointers.values():
            pointer.stop()
            view.unsetViewCursor()
        self._pointers.clear()

    def delete(self) -> None:
        """For good; a reloaded module makes its own."""
        self.rest()
        if self._layouts is not None:
            self._layouts.disconnect("layoutChanged(int)", self._layout_changed)

    def _made(self, widget: Any) -> tuple[Any, SlicePointer]:
        view = widget.sliceView()
        trace = Trace(view.renderWindow().GetRenderers().GetFirstRenderer(), view.scheduleRender)
        pointer = SlicePointer(view.interactor(), widget.mrmlSliceNode(), trace, self._on_stroke, self._on_given_up)
        return view, pointer

    def _layout_changed(self, _layout: int) -> None:
        if self._pointers:
            self.listen(self._is_rectangle)
