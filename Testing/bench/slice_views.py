"""Stand-ins of the slice views: a real slice node and interactor, and a picture that nobody draws."""

from __future__ import annotations

import vtk
from PySide6 import QtWidgets

from .qmrml_widgets import qMRMLWidget
from .standin import StandIn

NAMES = ("Red", "Green", "Yellow")
_AXES = {
    "Red": ((-1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "Green": ((-1, 0, 0), (0, 0, 1), (0, 1, 0)),
    "Yellow": ((0, -1, 0), (0, 0, 1), (1, 0, 0)),
}
"""Right, up and towards the observer or away, RAS: axial, coronal and sagittal as Slicer shows them."""
SIZE, FIELD_MM = 200, 100.0
"""Pixels and millimetres of each view, which has its middle at the origin."""


class qMRMLSliceView(StandIn, QtWidgets.QWidget):
    """Keeps the cursor and counts the pictures that are asked for."""

    def __init__(self, name):
        super().__init__()
        import slicer

        self._interactor = vtk.vtkGenericRenderWindowInteractor()
        self._window = vtk.vtkRenderWindow()
        self._window.SetOffScreenRendering(True)
        self._window.AddRenderer(vtk.vtkRenderer())
        self._node = slicer.vtkMRMLSliceNode()
        self._node.SetLayoutName(name)
        for column, axis in enumerate(_AXES[name]):
            for row, value in enumerate(axis):
                self._node.GetSliceToRAS().SetElement(row, column, value)
        self._node.SetDimensions(SIZE, SIZE, 1)
        self._node.SetFieldOfView(FIELD_MM, FIELD_MM, 1.0)
        self._node.UpdateMatrices()
        self._cursor, self._renders = None, 0

    def interactor(self):
        """Of VTK."""
        return self._interactor

    def renderWindow(self):
        """Of VTK; never drawn."""
        return self._window

    def mrmlSliceNode(self):
        """Says where in the world the pixels lie."""
        return self._node

    def scheduleRender(self):
        """Count."""
        self._renders += 1

    def setViewCursor(self, cursor):
        """Keep it."""
        self._cursor = cursor

    def unsetViewCursor(self):
        """Back to the usual one."""
        self._cursor = None


class qMRMLSliceWidget(qMRMLWidget):
    """A view and its node."""

    def __init__(self, name):
        super().__init__()
        self._view = qMRMLSliceView(name)

    def sliceView(self):
        """The view."""
        return self._view

    def mrmlSliceNode(self):
        """The view's node."""
        return self._view.mrmlSliceNode()


def mouse(view, event: str, x: int, y: int, shift: bool = False) -> None:
    """What the mouse does in a view."""
    view.interactor().SetEventInformation(x, y, 0, int(shift), chr(0), 0, None)
    view.interactor().InvokeEvent(event)


def drag(view, *pixels: tuple[int, int], shift: bool = False) -> None:
    """The left button goes down at the first of some pixels, and is let go at the last."""
    mouse(view, "LeftButtonPressEvent", *pixels[0], shift)
    for pixel in pixels[1:]:
        mouse(view, "MouseMoveEvent", *pixel, shift)
    mouse(view, "LeftButtonReleaseEvent", *pixels[-1], shift)
