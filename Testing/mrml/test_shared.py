"""Real CTs: Slicer's own reader and the engine's give the same voxels at the same place, and results lie on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import slicer

from GenesisSegmentLib.engine.images.reading import read_volume
from mrml_builders import LIVER, TEXT, layer, slicer_centroid, world_centroid

CASES = ("lidc_idri/lidc_0003_slab/ct.nii.gz", "awkward/nifti/ct64_rotated.nrrd")


def load(app, path):
    node = app.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", path.name)
    storage = app.scene.AddNewNodeByClass("vtkMRMLVolumeArchetypeStorageNode")
    storage.SetFileName(str(path))
    storage.SetSingleFile(1)
    assert storage.ReadData(node)
    node.SetAndObserveStorageNodeID(storage.GetID())
    return node


@pytest.mark.parametrize("case", CASES)
def test_slicer_and_engine_read_the_same_ct(app, scene, shared_data: Path, case):
    expected = read_volume(shared_data / case)
    taken = scene.snapshot(load(app, shared_data / case).GetID()).volume
    assert taken.geometry.matches(expected.geometry, 0.01)
    np.testing.assert_array_equal(np.maximum(taken.voxels, -1024), expected.voxels)
    assert taken.source.path == shared_data / case


@pytest.mark.parametrize("case", CASES)
def test_result_of_the_engine_lies_where_the_engine_says(app, scene, shared_data: Path, case):
    geometry = read_volume(shared_data / case).geometry
    snapshot = scene.snapshot(load(app, shared_data / case).GetID())
    mask = np.zeros(geometry.shape, bool)
    mask[tuple(slice(n // 5, n // 5 + 4) for n in geometry.shape)] = True
    node_id = scene.write_result(snapshot, [layer({LIVER: mask}, geometry.shape)], TEXT, [])
    place = slicer_centroid(slicer.mrmlScene.GetNodeByID(node_id), "liver")
    np.testing.assert_allclose(place, world_centroid(mask, geometry), atol=0.01)
