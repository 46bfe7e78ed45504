"""Drawing in a slice view: what the mouse does there becomes a stroke in the world."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import vtk

from ..core.prompts import Position
from ..core.strokes import Stroke
from .trace import Pixel, Trace

_FIRST = 10.0
"""Priority above all that Slicer does with the mouse in a view, so that it can be kept from it."""
OnStroke = Callable[[Stroke, bool], None]


class SlicePointer:
    """Listens to the left mouse button in one slice view.

    While it listens, the button draws and does nothing else there; all other buttons and keys work as usual. Escape, or
    :meth:`stop`, forgets a stroke that is under way.
    """

    def __init__(
        self, interactor: Any, slice_node: Any, trace: Trace, on_stroke: OnStroke, on_given_up: Callable[[], None]
    ) -> None:
        """Args:
        interactor: vtkRenderWindowInteractor of the view.
        slice_node: vtkMRMLSliceNode of the view, which says where in the world its pixels lie.
        trace: shows the stroke.
        on_stroke: takes the stroke so far whenever the mouse moved, and whether the button was let go.
        on_given_up: a stroke that was under way will not be finished.
        """
        self._interactor, self._slice, self._trace = interactor, slice_node, trace
        self._on_stroke, self._on_given_up = on_stroke, on_given_up
        self._tags: dict[str, int] = {}
        self._pixels: list[Pixel] = []
        self._points: list[Position] = []
        self._is_drawing = self._is_rectangle = False

    def start(self, is_rectangle: bool = False) -> None:
        """Begins to listen, or goes on; ``is_rectangle``: strokes are shown as rectangles."""
        self._is_rectangle = is_rectangle
        if self._tags:
            return
        for event, take in (
            ("LeftButtonPressEvent", self._pressed),
            ("MouseMoveEvent", self._moved),
            ("LeftButtonReleaseEvent", self._released),
            ("LeftButtonDoubleClickEvent", self._pressed),
            ("KeyPressEvent", self._key),
        ):
            self._tags[event] = self._interactor.AddObserver(event, take, _FIRST)

    def stop(self) -> None:
        """Leaves the view alone."""
        for tag in self._tags.values():
            self._interactor.RemoveObserver(tag)
        self._tags.clear()
        self._give_up()

    def _pressed(self, _caller: Any, event: str) -> None:
        self._is_drawing, self._pixels, self._points = True, [], []
        self._tell(event, is_done=False)

    def _moved(self, _caller: Any, event: str) -> None:
        if self._is_drawing:
            self._tell(event, is_done=False)

    def _released(self, _caller: Any, event: str) -> None:
        if self._is_drawing:
            self._is_drawing = False
            self._trace.clear()
            self._tell(event, is_done=True)

    def _key(self, _caller: Any, event: str) -> None:
        if self._is_drawing and self._interactor.GetKeySym() == "Escape":
            self._keep_from_slicer(event)
            self._give_up()

    def _give_up(self) -> None:
        if self._is_drawing:
            self._is_drawing = False
            self._trace.clear()
            self._on_given_up()

    def _tell(self, event: str, is_done: bool) -> None:
        self._keep_from_slicer(event)
        pixel = self._interactor.GetEventPosition()
        place = self._place(pixel)
        if not self._points or place != self._points[-1]:
            self._pixels.append(pixel)
            self._points.append(place)
        if not is_done:
            self._trace.show(self._pixels, self._is_rectangle)
        to_ras = self._slice.GetSliceToRAS()
        right, up = (_unit(to_ras, axis) for axis in (0, 1))
        self._on_stroke(Stroke(tuple(self._points), right, up, bool(self._interactor.GetShiftKey())), is_done)

    def _keep_from_slicer(self, event: str) -> None:
        self._interactor.GetCommand(self._tags[event]).SetAbortFlag(1)

    def _place(self, pixel: Pixel) -> Position:
        place = self._slice.GetXYToRAS().MultiplyPoint((*pixel, 0.0, 1.0))
        return place[0], place[1], place[2]


def _unit(matrix: vtk.vtkMatrix4x4, axis: int) -> Position:
    """A column of a 4x4 matrix, of length 1."""
    column = [matrix.GetElement(row, axis) for row in range(3)]
    vtk.vtkMath.Normalize(column)
    return column[0], column[1], column[2]
