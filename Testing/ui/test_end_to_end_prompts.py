"""Prompts from the mouse in a view to the voxels: real MRML, the real worker process with the starter, stand-in Qt.

The CT is a phantom on an oblique grid under a turning transform: a stroke that lost one of them would miss the organ.
"""

from __future__ import annotations

import os

import numpy as np
import pytest

pytest.importorskip("slicer", reason="the Slicer bench needs slicer-core")
pytest.importorskip("onnxruntime")

from end_to_end import Session, oblique_phantom, put_python_on_path

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the stand-in of PythonSlicer is a shell script")
SPLEEN = 1


@pytest.fixture
def session(slicer_bench, tmp_path, monkeypatch):
    """The module open with the result, and the spleen selected."""
    put_python_on_path(tmp_path / "bin", monkeypatch)
    monkeypatch.setenv("GENESIS_SEGMENT_HOME", str(tmp_path / "home"))
    session = Session(slicer_bench)
    session.volume = session.add_ct(oblique_phantom(), parent=session.add_turn())
    session.choose()
    session.segment()
    session.host.widget.panel.controller.select_segment("spleen")
    return session


def look_at(session, place, name: str = "Green"):
    """A view whose middle is at a place of the world."""
    view = session.slicer.app.layoutManager().sliceWidget(name).sliceView()
    for row, value in enumerate(place):
        view.mrmlSliceNode().GetSliceToRAS().SetElement(row, 3, float(value))
    view.mrmlSliceNode().UpdateMatrices()
    return view


def voxel_at(session, place) -> tuple[int, int, int]:
    """The voxel of the CT at a place of the world, its transform included."""
    import vtk

    to_world = vtk.vtkMatrix4x4()
    session.volume.GetIJKToRASMatrix(to_world)
    parent = vtk.vtkMatrix4x4()
    session.volume.GetParentTransformNode().GetMatrixTransformToWorld(parent)
    vtk.vtkMatrix4x4.Multiply4x4(parent, to_world, to_world)
    to_world.Invert()
    return tuple(round(x) for x in to_world.MultiplyPoint((*place, 1.0))[:3])


@pytest.mark.parametrize("view_name", ["Red", "Green", "Yellow"])
def test_a_click_in_any_view_is_obeyed_where_it_was_and_undone_in_one_step(session, view_name):
    from bench.slice_views import SIZE, drag

    place = oblique_phantom().center(SPLEEN)
    index = voxel_at(session, place)
    before = session.masks(session.volume)
    assert before["spleen"][index]
    view = look_at(session, place, view_name)
    session.host.click("pointButton")
    drag(view, (SIZE // 2, SIZE // 2), shift=True)  # taken away
    session.wait(lambda: not session.masks(session.volume)["spleen"][index])
    after = session.masks(session.volume)
    for name in before.keys() - {"spleen"}:
        np.testing.assert_array_equal(after[name], before[name], err_msg=name)
    session.wait(lambda: session.host.ui.undoButton.enabled)
    session.host.click("undoButton")
    np.testing.assert_array_equal(session.masks(session.volume)["spleen"], before["spleen"])


def test_prompts_add_up_and_every_answer_keeps_to_all_of_them(session):
    from bench.slice_views import SIZE, drag

    centre = oblique_phantom().center(SPLEEN)
    controller = session.host.widget.panel.controller
    session.host.click("pointButton")
    said = []
    for shift, offset in ((True, (0, 0, 0)), (False, (9, 0, 0)), (True, (0, 0, 9))):
        place = centre + np.array(offset)
        said.append((voxel_at(session, place), not shift))
        drag(look_at(session, place), (SIZE // 2, SIZE // 2), shift=shift)
        session.wait(lambda: not controller.view.is_working)
        mask = session.masks(session.volume)["spleen"]
        assert [bool(mask[index]) for index, _is_in in said] == [is_in for _index, is_in in said]
    assert ": 3." in session.host.ui.promptNoteLabel.text


def test_a_locked_neighbour_keeps_its_voxels_under_a_box_that_covers_it(session):
    from bench.slice_views import SIZE, drag

    controller = session.host.widget.panel.controller
    controller.set_locked("kidney_left", True)
    before = session.masks(session.volume)
    session.host.click("boxButton")
    view = look_at(session, oblique_phantom().center(SPLEEN), "Red")
    drag(view, (5, 5), (SIZE - 5, SIZE - 5))
    session.wait(lambda: not controller.view.is_working)
    after = session.masks(session.volume)
    for name in before.keys() - {"spleen"}:
        np.testing.assert_array_equal(after[name], before[name], err_msg=name)
