"""The mouse in a slice view draws strokes in the world, and Slicer's own tools do not see it meanwhile."""

from __future__ import annotations

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed")
import vtk  # noqa: E402

from GenesisSegmentLib.mrml.pointing import SlicePointer  # noqa: E402
from GenesisSegmentLib.mrml.trace import Trace  # noqa: E402
from mrml_builders import vtk_matrix  # noqa: E402


class View:
    """An oblique slice view of 200 x 160 pixels, with what others hear of its mouse."""

    def __init__(self) -> None:
        self.interactor = vtk.vtkGenericRenderWindowInteractor()
        self.node = slicer.vtkMRMLSliceNode()
        turned = np.eye(4)
        turned[:3, :3] = np.array([[0.6, 0.0, 0.8], [0.8, 0.0, -0.6], [0.0, 1.0, 0.0]])
        turned[:3, 3] = (12.0, -30.0, 55.0)
        self.node.GetSliceToRAS().DeepCopy(vtk_matrix(turned))
        self.node.SetDimensions(200, 160, 1)
        self.node.SetFieldOfView(100.0, 80.0, 1.0)
        self.node.UpdateMatrices()
        self.turned, self.strokes, self.given_up, self.heard = turned, [], 0, []
        for event in ("LeftButtonPressEvent", "MouseMoveEvent", "LeftButtonReleaseEvent", "KeyPressEvent"):
            self.interactor.AddObserver(event, lambda _caller, name: self.heard.append(name))
        self.renderer, self.renders = vtk.vtkRenderer(), 0
        self.pointer = SlicePointer(
            self.interactor,
            self.node,
            Trace(self.renderer, self._render),
            lambda stroke, is_done: self.strokes.append((stroke, is_done)),
            self._give_up,
        )

    def _render(self) -> None:
        self.renders += 1

    def _give_up(self) -> None:
        self.given_up += 1

    def mouse(self, event: str, x: int, y: int, shift: bool = False) -> None:
        self.interactor.SetEventInformation(x, y, 0, int(shift), chr(0), 0, None)
        self.interactor.InvokeEvent(event)

    def line(self) -> list[tuple[float, float]]:
        """The pixels of the line that is shown."""
        actors = [prop for prop in self.renderer.GetViewProps() if prop.IsA("vtkActor2D")]
        points = [actor.GetMapper().GetInput().GetPoints() for actor in actors]
        return [p.GetPoint(n)[:2] for p in points for n in range(p.GetNumberOfPoints())]

    def place(self, x: float, y: float) -> np.ndarray:
        """Where a pixel lies: half a millimetre each, the view's middle at the origin of the slice."""
        return (self.turned @ np.array([(x - 100) * 0.5, (y - 80) * 0.5, 0, 1]))[:3]


@pytest.fixture
def view():
    view = View()
    view.pointer.start()
    return view


def test_a_drag_is_one_stroke_that_grows_until_the_button_is_let_go(view):
    view.mouse("LeftButtonPressEvent", 20, 30)
    view.mouse("MouseMoveEvent", 40, 30)
    view.mouse("MouseMoveEvent", 40, 90)
    view.mouse("LeftButtonReleaseEvent", 40, 90)
    assert [(len(stroke.points), is_done) for stroke, is_done in view.strokes] == [
        (1, False), (2, False), (3, False), (3, True),
    ]  # fmt: skip
    last = view.strokes[-1][0]
    np.testing.assert_allclose(last.points, [view.place(20, 30), view.place(40, 30), view.place(40, 90)], atol=1e-9)
    np.testing.assert_allclose([last.right, last.up], view.turned[:3, :2].T, atol=1e-12)


def test_slicer_hears_nothing_of_a_drag_and_all_that_is_none(view):
    view.mouse("MouseMoveEvent", 10, 10)
    assert view.heard == ["MouseMoveEvent"]
    assert not view.strokes
    for event in ("LeftButtonPressEvent", "MouseMoveEvent", "LeftButtonReleaseEvent"):
        view.mouse(event, 20, 30)
    assert view.heard == ["MouseMoveEvent"]


def test_shift_turns_the_stroke_round(view):
    view.mouse("LeftButtonPressEvent", 20, 30, shift=True)
    assert view.strokes[0][0].is_inverted
    view.mouse("LeftButtonReleaseEvent", 20, 30)
    assert not view.strokes[-1][0].is_inverted


def test_escape_gives_the_stroke_up(view):
    view.mouse("LeftButtonPressEvent", 20, 30)
    view.interactor.SetKeySym("Escape")
    view.interactor.InvokeEvent("KeyPressEvent")
    assert view.given_up == 1
    view.mouse("LeftButtonReleaseEvent", 20, 30)
    assert [is_done for _stroke, is_done in view.strokes] == [False]
    view.interactor.InvokeEvent("KeyPressEvent")
    assert view.given_up == 1
    assert view.heard == ["LeftButtonReleaseEvent", "KeyPressEvent"]


def test_a_pointer_that_was_stopped_leaves_the_mouse_to_slicer(view):
    view.mouse("LeftButtonPressEvent", 20, 30)
    view.pointer.stop()
    assert view.given_up == 1
    view.mouse("LeftButtonPressEvent", 20, 30)
    assert len(view.strokes) == 1
    assert view.heard == ["LeftButtonPressEvent"]
    view.pointer.start()
    view.mouse("LeftButtonPressEvent", 20, 30)
    assert len(view.strokes) == 2


def test_a_slice_that_moves_during_a_drag_keeps_what_was_drawn_where_it_was(view):
    view.mouse("LeftButtonPressEvent", 20, 30)
    before = view.place(20, 30)
    view.node.GetSliceToRAS().SetElement(2, 3, 70.0)
    view.node.UpdateMatrices()
    view.mouse("MouseMoveEvent", 20, 30)
    points = np.array(view.strokes[-1][0].points)
    np.testing.assert_allclose(points[0], before, atol=1e-9)
    np.testing.assert_allclose(points[1] - points[0], [0, 0, 15.0], atol=1e-9)


@pytest.mark.parametrize(
    ("is_rectangle", "line"),
    [
        (False, [(20, 30), (40, 30), (40, 90)]),
        (True, [(20, 30), (40, 30), (40, 90), (20, 90), (20, 30)]),
    ],
)
def test_a_stroke_is_seen_until_it_is_done(view, is_rectangle, line):
    view.pointer.start(is_rectangle)
    view.mouse("LeftButtonPressEvent", 20, 30)
    view.mouse("MouseMoveEvent", 40, 30)
    view.mouse("MouseMoveEvent", 40, 90)
    assert view.line() == line
    seen = view.renders
    view.mouse("LeftButtonReleaseEvent", 40, 90)
    assert view.line() == []
    assert view.renders > seen
    view.mouse("LeftButtonPressEvent", 20, 30)
    view.pointer.stop()
    assert view.line() == []
