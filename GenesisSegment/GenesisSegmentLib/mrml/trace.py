"""The line that a stroke leaves in a slice view while the mouse draws."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import vtk

Pixel = tuple[int, int]
COLOR = (1.0, 0.9, 0.1)


class Trace:
    """A line over the picture of a view; ``render`` has the view drawn again soon."""

    def __init__(self, renderer: Any, render: Callable[[], None]) -> None:
        self._renderer, self._render = renderer, render
        self._line = vtk.vtkPolyData()
        mapper = vtk.vtkPolyDataMapper2D()
        mapper.SetInputData(self._line)
        self._actor = vtk.vtkActor2D()
        self._actor.SetMapper(mapper)
        self._actor.GetProperty().SetColor(*COLOR)
        self._actor.GetProperty().SetLineWidth(2)

    def show(self, pixels: Sequence[Pixel], is_rectangle: bool) -> None:
        """A path through pixels of the view, or the rectangle between the first and the last of them."""
        if is_rectangle:
            (x0, y0), (x1, y1) = pixels[0], pixels[-1]
            pixels = [(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)]
        points, line = vtk.vtkPoints(), vtk.vtkCellArray()
        line.InsertNextCell(len(pixels))
        for x, y in pixels:
            line.InsertCellPoint(points.InsertNextPoint(x, y, 0))
        self._line.SetPoints(points)
        self._line.SetLines(line)
        if not self._renderer.HasViewProp(self._actor):
            self._renderer.AddViewProp(self._actor)
        self._render()

    def clear(self) -> None:
        """Takes the line away."""
        if self._renderer.HasViewProp(self._actor):
            self._renderer.RemoveViewProp(self._actor)
            self._render()
