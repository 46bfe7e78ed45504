"""Local writes where the segmentation lies on another lattice than the CT, or on the same one reversed."""

from __future__ import annotations

import numpy as np
import pytest

from builders import ct_voxels
from editing_builders import ALL, NONE, adding, mask, masks, removing, whole
from GenesisSegmentLib.core.errors import GeometryError
from GenesisSegmentLib.mrml.arrays import image_matrix, label_image, start_of, voxels
from GenesisSegmentLib.mrml.nodes import volume_of
from GenesisSegmentLib.mrml.volumes import placement
from GenesisSegmentLib.mrml.writing import binary
from mrml_builders import (
    LIVER,
    SHAPE,
    add_volume,
    image_of,
    masks_of_a_patient,
    segment,
    vtk_matrix,
)


def put_on_lattice(node, factor, shift):
    """All organs in one shared image of another lattice, as Slicer's dialog for the geometry leaves them."""
    place = placement(volume_of(node))
    change = np.diag([1 / factor, 1 / factor, 1, 1])
    change[:3, 3] = (np.array(place.start) * (1 - 1 / np.array([factor, factor, 1]))) + shift
    labels = np.zeros((SHAPE[0] * factor, SHAPE[1] * factor, SHAPE[2]), np.uint8, order="F")
    organs = {"spleen": 1, "kidney_right": 2, "liver": 6}
    for segment_id, value in organs.items():
        fine = mask(node, segment_id).repeat(factor, 0).repeat(factor, 1)
        labels[np.roll(fine, factor, 0)] = value
    image = label_image(labels, place.matrix @ change, place.start)
    for segment_id, value in organs.items():
        kept = node.GetSegmentation().GetSegment(segment_id)
        kept.SetLabelValue(value)
        kept.AddRepresentation(binary(), image)


def as_stored(node, segment_id):
    """Lattice and voxels of a segment as they are, not on the grid of the CT."""
    kept = node.GetSegmentation().GetSegment(segment_id)
    image = kept.GetRepresentation(binary())
    where = np.argwhere(voxels(image) == kept.GetLabelValue()) + start_of(image)
    return np.round(image_matrix(image), 6).tolist(), where.tolist()


@pytest.mark.parametrize(
    ("factor", "shift"), [(2, (0, 0, 0)), (2, (-0.25, -0.25, 0)), (1, (0.5, 0, 0)), (1, (0, 0, 0.3))]
)
@pytest.mark.parametrize("mode", [ALL, NONE])
def test_no_write_of_ours_resamples_a_locked_segment(editor, parameters, node, scene, factor, shift, mode):
    put_on_lattice(node, factor, shift)
    parameters.SetOverwriteMode(mode)
    scene.set_locked(node.GetID(), "spleen", True)
    before = as_stored(node, "spleen")
    for change in (
        lambda: editor.write(node, "liver", adding()),
        lambda: editor.write(node, "liver", removing()),
        lambda: editor.write(node, "liver_tumor", adding()),
        lambda: scene.reset_to_proposal(node.GetID(), "kidney_right"),
    ):
        with pytest.raises(GeometryError, match="Specify geometry"):
            change()
        assert as_stored(node, "spleen") == before
    assert segment(scene, volume_of(node)) is node
    assert as_stored(node, "spleen") == before
    np.testing.assert_array_equal(mask(node, "liver"), masks_of_a_patient()[LIVER])


@pytest.mark.parametrize("change", [adding, removing])
def test_segmentation_on_the_voxels_of_the_ct_with_its_planes_reversed_can_be_changed(app, editor, scene, change):
    volume = add_volume(app)
    node = segment(scene, volume)
    before = masks(node)
    turned = placement(volume).geometry.ijk_to_ras @ np.diag([1, 1, -1, 1]).astype(float)
    turned[:3, 3] += placement(volume).geometry.ijk_to_ras[:3, 2] * (SHAPE[2] - 1)
    volume.SetIJKToRASMatrix(vtk_matrix(turned))
    volume.SetAndObserveImageData(image_of(ct_voxels(SHAPE)[:, :, ::-1]))
    scene.set_locked(node.GetID(), "kidney_right", True)
    editor.write(node, "liver", change())
    flipped = {i: m[:, :, ::-1] for i, m in before.items()}
    expected = flipped["liver"] | whole() if change is adding else flipped["liver"] & ~whole()
    np.testing.assert_array_equal(mask(node, "liver"), expected)
    for other in ("kidney_right", "spleen", "liver_tumor"):
        np.testing.assert_array_equal(mask(node, other), flipped[other])
