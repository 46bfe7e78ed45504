"""From the mouse in a slice view to the voxels: the panel, the real controller and scene, a worker that takes prompts
at their word."""

from __future__ import annotations

import os

import numpy as np
import pytest

from module_builders import PATIENCE_S, a_ct, result_of, segment, start

__all__ = ["start"]

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the stand-in of PythonSlicer is a shell script")
INDEX = (8, 7, 0)
"""A voxel of the CT in the plane of the axial view, outside of what the worker finds."""
IN_LIVER = (15, 2, 0)


class Case:
    """A segmented CT on an oblique grid, with the liver selected, and the axial view."""

    def __init__(self, bench, start, *options) -> None:
        from bench.slice_views import FIELD_MM, SIZE, drag

        self.bench, self._drag, self._pixels_per_mm, self._middle = bench, drag, SIZE / FIELD_MM, SIZE / 2
        self.host = start(*options)
        self.volume = a_ct(bench)
        segment(bench, self.host)
        self.node = result_of(bench, self.host)
        self.view = bench.slicer.app.layoutManager().sliceWidget("Red").sliceView()
        self.controller = self.host.widget.panel.controller
        self.controller.select_segment("liver")
        bench.pump(0)

    def pixel(self, index) -> tuple[int, int]:
        """Where a voxel is seen in the axial view, the right of the patient on its left."""
        import vtk

        to_ras = vtk.vtkMatrix4x4()
        self.volume.GetIJKToRASMatrix(to_ras)
        x, y, *_rest = to_ras.MultiplyPoint((*index, 1.0))
        return round(self._middle - x * self._pixels_per_mm), round(self._middle + y * self._pixels_per_mm)

    def click(self, index, shift: bool = False) -> None:
        self._drag(self.view, self.pixel(index), shift=shift)

    def mask(self, name: str = "liver") -> np.ndarray:
        """(i, j, k)"""
        found = self.bench.slicer.util.arrayFromSegmentBinaryLabelmap(self.node, name, self.volume)
        return found.astype(bool).T.copy()

    def until(self, condition) -> None:
        self.bench.wait_until(condition, PATIENCE_S)


@pytest.fixture
def case(slicer_bench, start):
    return Case(slicer_bench, start)


def test_a_click_adds_the_voxel_under_the_mouse_and_undo_takes_it_away(case):
    before = case.mask()
    case.host.click("pointButton")
    case.click(INDEX)
    case.until(lambda: case.mask()[INDEX])
    expected = before.copy()
    expected[INDEX] = True
    assert (case.mask() == expected).all()
    case.until(lambda: case.host.ui.undoButton.enabled)
    case.host.click("undoButton")
    assert (case.mask() == before).all()


def test_shift_takes_the_voxel_under_the_mouse_away(case):
    assert case.mask()[IN_LIVER]
    case.host.click("pointButton")
    case.click(IN_LIVER, shift=True)
    case.until(lambda: not case.mask()[IN_LIVER])


def test_the_neighbour_keeps_its_voxels_and_the_prompt_says_nothing_of_them(case):
    kidney, liver = case.mask("kidney_right"), case.mask()
    in_kidney = (3, 2, 0)
    assert kidney[in_kidney]
    case.host.click("pointButton")
    case.click(in_kidney)
    case.until(lambda: "already" in case.host.ui.statusLabel.text)
    assert (case.mask("kidney_right") == kidney).all()
    assert (case.mask() == liver).all()


def test_a_transform_over_ct_and_result_moves_prompts_with_them(case):
    import vtk

    slicer = case.bench.slicer
    shift = vtk.vtkMatrix4x4()
    shift.SetElement(0, 3, 12.0)
    shift.SetElement(1, 3, -9.0)
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(shift)
    for node in (case.volume, case.node):
        node.SetAndObserveTransformNodeID(transform.GetID())
    case.host.click("pointButton")
    x, y = case.pixel(INDEX)
    from bench.slice_views import drag

    drag(case.view, (x - 24, y - 18))  # two pixels to the millimetre; the view's right is the patient's left
    case.until(lambda: case.mask()[INDEX])


def test_a_preview_is_shown_while_the_mouse_draws_and_gone_when_the_answer_is_there(case):
    from bench.slice_views import mouse

    def previews() -> int:
        nodes = case.bench.slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
        return sum(node.GetAttribute("GenesisSegment.Part") == "preview" for node in nodes)

    case.host.click("scribbleButton")
    mouse(case.view, "LeftButtonPressEvent", *case.pixel(INDEX))
    case.until(lambda: previews() == 1)
    assert not case.mask()[INDEX]
    mouse(case.view, "LeftButtonReleaseEvent", *case.pixel(INDEX))
    case.until(lambda: case.mask()[INDEX])
    case.until(lambda: previews() == 0)


def test_a_worker_that_dies_over_a_prompt_leaves_the_voxels_alone_and_answers_the_next(slicer_bench, start, tmp_path):
    case = Case(slicer_bench, start, "--on", "refine=exit:3", "--once", str(tmp_path / "once"))
    before = case.mask()
    case.host.click("boxButton")
    case.host.click("pointButton")
    case.click(INDEX)
    has_failed = lambda: case.controller.view.status.kind == "error"  # noqa: E731
    case.until(lambda: has_failed() or case.mask()[INDEX])
    if has_failed():  # else it died over the preview, before the mouse was let go, and the next one answered
        assert (case.mask() == before).all()
        case.host.click("dismissButton")
        case.click(INDEX)
    case.until(lambda: case.mask()[INDEX])
