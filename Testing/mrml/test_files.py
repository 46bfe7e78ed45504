"""Files out of the scene, read back by Slicer, by SimpleITK and by the engine's own readers."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
import vtk

from GenesisSegmentLib.core.errors import GeometryError, InputError, OutputError
from GenesisSegmentLib.core.segmentation import pack
from GenesisSegmentLib.core.volume import Source, Volume
from GenesisSegmentLib.core.workflow.ports import ExportRequest
from GenesisSegmentLib.engine.export import write_segmentation
from GenesisSegmentLib.engine.images.sitk import geometry_from_sitk, voxels_from_sitk
from GenesisSegmentLib.engine.labels import read_labels
from GenesisSegmentLib.mrml import export_labels
from GenesisSegmentLib.mrml.arrays import image_matrix, label_image, start_of, to_vtk, voxels
from GenesisSegmentLib.mrml.nodes import volume_of
from GenesisSegmentLib.mrml.reading import read_mask, read_segmentation
from GenesisSegmentLib.mrml.tags import tag_of
from GenesisSegmentLib.mrml.volumes import placement
from mrml_builders import (
    LIVER,
    LIVER_TUMOR,
    ORIENTATIONS,
    SHAPE,
    SPLEEN,
    TEXT,
    SceneAtOnce,
    add_bending,
    add_transform,
    add_volume,
    box_mask,
    grid_of,
    layer,
    masks_of_a_patient,
    row,
    segment,
    world_centroid,
)

ORDER = (1, 2, 6, 27)


@pytest.fixture
def node(app, scene):
    return segment(scene, add_volume(app, start=(5, 3, -2), transform=add_transform(app), name="Jane: CT/1"))


def export(scene, node, folder, *formats, order=ORDER):
    request = ExportRequest(folder, formats, order)
    return scene.export(node.GetID(), volume_of(node).GetID(), request)


def test_segmentation_file_is_voxel_identical_for_the_engine(scene, node, tmp_path):
    (path,) = export(scene, node, tmp_path, "seg.nrrd")
    assert path == tmp_path / "Jane_CT_1.seg.nrrd"
    read = read_labels(path).segmentation
    assert read.geometry.matches(placement(volume_of(node)).geometry, 1e-3)
    np.testing.assert_array_equal(read.bits, pack(masks_of_a_patient().items(), SHAPE))


def test_segmentation_file_comes_back_into_slicer_as_it_was(app, scene, node, tmp_path):
    scene.set_locked(node.GetID(), "liver", True)
    scene.set_reviewed(node.GetID(), "spleen", True)
    (path,) = export(scene, node, tmp_path, "seg.nrrd")
    grid = placement(volume_of(node)).geometry
    loaded = slicer.vtkMRMLSegmentationStorageNode()
    copy = app.scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    app.scene.AddNode(loaded)
    loaded.SetFileName(str(path))
    assert loaded.ReadData(copy)
    np.testing.assert_array_equal(read_segmentation(copy, grid).bits, pack(masks_of_a_patient().items(), SHAPE))
    states = {s.segment_id: s for s in scene.segments(copy.GetID())}
    assert [s.class_index for s in states.values()] == list(ORDER)
    assert states["liver"].is_locked
    assert states["spleen"].is_reviewed
    for segment_id in states:
        before, after = (n.GetSegmentation().GetSegment(segment_id) for n in (node, copy))
        assert after.GetTerminology() == before.GetTerminology() != ""
        np.testing.assert_allclose(after.GetColor(), before.GetColor(), atol=1e-5)


def test_segmentation_file_of_the_command_line_is_recognised_in_slicer(app, scene, tmp_path):
    volume = add_volume(app)
    source = read_segmentation(segment(scene, volume), placement(volume).geometry)
    path = tmp_path / "cli.seg.nrrd"
    voxels = np.zeros(SHAPE, np.int16)
    write_segmentation(source, Volume(voxels, source.geometry, Source(Path("ct.nii.gz"), "ct")), path)
    loaded = app.scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    storage = slicer.vtkMRMLSegmentationStorageNode()
    storage.SetFileName(str(path))
    assert storage.ReadData(loaded)
    assert [s.class_index for s in scene.segments(loaded.GetID())] == list(ORDER)
    np.testing.assert_array_equal(read_segmentation(loaded, source.geometry).bits, source.bits)


@pytest.mark.parametrize("suffix", ["nii.gz", "nrrd"])
def test_label_map_is_read_by_simpleitk_and_engine_at_the_same_place(scene, node, tmp_path, suffix):
    path, table = sorted(export(scene, node, tmp_path, suffix), key=lambda p: p.suffix == ".json")
    image = sitk.ReadImage(str(path))
    values, geometry = voxels_from_sitk(image), geometry_from_sitk(image)
    masks, grid = masks_of_a_patient(), placement(volume_of(node)).geometry
    expected = np.zeros(SHAPE, np.uint8)
    for index in ORDER:
        expected[masks[index]] = index
    np.testing.assert_array_equal(values, expected)
    for index in (SPLEEN, LIVER_TUMOR):
        place = world_centroid(values == index, geometry)
        np.testing.assert_allclose(place, world_centroid(masks[index], grid), atol=0.01)
    read = read_labels(path).segmentation
    np.testing.assert_array_equal(read.mask(SPLEEN), masks[SPLEEN])
    assert read.geometry.matches(grid, 0.01)
    content = json.loads(table.read_text(encoding="utf-8"))
    assert content["labels"] == {"1": "spleen", "2": "kidney_right", "6": "liver", "27": "liver_tumor"}
    assert content["paint_order"] == list(ORDER)
    assert content["overlaps_lost"] == {"6": int(masks[LIVER_TUMOR].sum())}
    assert content["classes_found"] == list(ORDER)


@pytest.mark.parametrize(("axes", "signs"), ORIENTATIONS[::5])
@pytest.mark.parametrize("suffix", ["nii.gz", "nrrd", "seg.nrrd"])
def test_files_lie_in_place_in_every_orientation(app, scene, tmp_path, axes, signs, suffix):
    volume = add_volume(app, grid_of(axes, signs))
    masks = {LIVER: masks_of_a_patient()[LIVER], SPLEEN: masks_of_a_patient()[SPLEEN]}
    node = segment(scene, volume, masks)
    path = next(p for p in export(scene, node, tmp_path, suffix) if p.name.endswith(suffix))
    read = read_labels(path).segmentation
    for index, expected in masks.items():
        place = world_centroid(read.mask(index), read.geometry)
        np.testing.assert_allclose(place, world_centroid(expected, placement(volume).geometry), atol=0.01)


@pytest.mark.parametrize("suffix", ["nii.gz", "nrrd"])
def test_label_map_is_what_slicer_writes_but_slicer_is_given_one_voxel(scene, node, tmp_path, monkeypatch, suffix):
    """The header is Slicer's own; nobody waits while it copies and writes all voxels."""
    given, store = [], export_labels.store
    monkeypatch.setattr(
        export_labels, "store", lambda *a: (given.append(a[1].GetImageData().GetDimensions()), store(*a))
    )
    (path,) = (p for p in export(scene, node, tmp_path, suffix) if p.name.endswith(suffix))
    assert given == [(1, 1, 1)]
    masks, values = masks_of_a_patient(), np.zeros(SHAPE, np.uint8)
    for index in ORDER:
        values[masks[index]] = index
    whole = slicer.vtkMRMLLabelMapVolumeNode()
    whole.SetAndObserveImageData(label_image(values, np.eye(4)))
    whole.SetIJKToRASMatrix(to_vtk(placement(volume_of(node)).geometry.ijk_to_ras))
    plain = tmp_path / f"slicer.{suffix.removesuffix('.gz')}"
    store(slicer.vtkMRMLVolumeArchetypeStorageNode(), whole, plain)
    head, found = b"", path.read_bytes()
    if suffix == "nrrd":
        head, _end, found = found.partition(b"\n\n")
        head = head.replace(b"encoding: gzip", b"encoding: raw") + b"\n\n"
    assert head + gzip.decompress(found) == plain.read_bytes()


def test_paint_order_can_be_changed(scene, node, tmp_path):
    paths = export(scene, node, tmp_path, "nii.gz", order=(27, 6, 1, 2))
    read = read_labels(paths[-1] if paths[-1].suffix != ".json" else paths[0]).segmentation
    np.testing.assert_array_equal(read.mask(LIVER), masks_of_a_patient()[LIVER])
    assert not read.mask(LIVER_TUMOR).any()


def test_own_segments_get_values_beyond_the_classes_and_paint_last(app, scene, node, tmp_path):
    mine = box_mask(SHAPE, (2, 9), (2, 9), (2, 9))
    own = slicer.vtkSegment()
    own.SetName("My cyst")
    place = placement(volume_of(node))
    own.AddRepresentation("Binary labelmap", label_image(mine, place.matrix, place.start))
    node.GetSegmentation().AddSegment(own, "mine")
    paths = {p.suffix: p for p in export(scene, node, tmp_path, "nrrd")}
    values = voxels_from_sitk(sitk.ReadImage(str(paths[".nrrd"])))
    np.testing.assert_array_equal(values == 33, mine)
    table = json.loads(paths[".json"].read_text(encoding="utf-8"))
    assert table["labels"]["33"] == "My cyst"
    assert table["overlaps_lost"]["6"] == int((masks_of_a_patient()[LIVER] & (mine | masks_of_a_patient()[27])).sum())


def mesh(path):
    reader = vtk.vtkSTLReader() if path.suffix == ".stl" else vtk.vtkOBJReader()
    reader.SetFileName(str(path))
    reader.Update()
    return reader.GetOutput()


@pytest.mark.parametrize("suffix", ["stl", "obj"])
def test_surfaces_lie_in_place_in_lps(scene, node, tmp_path, suffix):
    paths = export(scene, node, tmp_path, suffix)
    assert {p.stem for p in paths} == {"spleen", "kidney_right", "liver", "liver_tumor"}
    assert {p.parent for p in paths} == {tmp_path / f"Jane_CT_1_{suffix}"}
    grid = placement(volume_of(node)).geometry
    for path in paths:
        centre = np.array(mesh(path).GetCenter()) * (-1, -1, 1)
        expected = world_centroid(read_mask(node, path.stem, grid), grid)
        np.testing.assert_allclose(centre, expected, atol=2.0)
    assert not node.GetSegmentation().ContainsRepresentation("Closed surface")


def test_gltf_holds_every_segment_with_its_colour(scene, node, tmp_path):
    (path,) = export(scene, node, tmp_path, "gltf")
    content = json.loads(path.read_text(encoding="utf-8"))
    assert len(content["meshes"]) == 4
    assert all(b["uri"].startswith("data:") for b in content["buffers"])
    colors = {
        tuple(round(255 * part) for part in m["pbrMetallicRoughness"]["baseColorFactor"][:3])
        for m in content["materials"]
    }
    assert {s.color for s in scene.segments(node.GetID())} <= colors


def test_table_becomes_csv_with_units_in_its_titles(app, scene, tmp_path):
    volume = add_volume(app)
    rows = [
        row(6, "liver", voxels=792, volume_ml=1.4256, mean_hu=55.25, touches_border=True),
        row(27, "liver_tumor", lesion=1, longest_mm=12.5, centroid_ras=(1.0, -2.5, 3.0)),
    ]
    layers = [layer({LIVER: masks_of_a_patient()[LIVER]})]
    node = app.scene.GetNodeByID(scene.write_result(scene.snapshot(volume.GetID()), layers, TEXT, rows))
    (path,) = export(scene, node, tmp_path, "csv")
    with path.open(encoding="utf-8", newline="") as stream:
        liver, tumour = csv.DictReader(stream)
    assert (liver["Structure"], liver["Volume (ml)"], liver["Mean (HU)"]) == ("Liver", "1.426", "55.250")
    assert (liver["Reaches edge of scan"], liver["Longest axial diameter (mm)"]) == ("yes", "")
    assert (tumour["Structure"], tumour["Lesion"], tumour["Centroid A (mm)"]) == ("Liver Tumor", "1", "-2.500")


def test_all_formats_are_written_together(scene, node, tmp_path):
    paths = export(scene, node, tmp_path / "new", "seg.nrrd", "nii.gz", "nrrd", "stl", "obj", "gltf", "csv")
    assert all(p.is_file() for p in paths)
    assert len(paths) == 3 + 1 + 4 + 4 + 1 + 1


def test_failure_leaves_the_folder_as_it_was(app, scene, node, tmp_path):
    (tmp_path / "Jane_CT_1.nii.gz").write_text("before")
    app.scene.RemoveNode(node.GetNodeReference("GenesisSegment.Measurements"))
    with pytest.raises(InputError, match="no measurement table"):
        export(scene, node, tmp_path, "nii.gz", "seg.nrrd", "csv")
    assert [p.name for p in tmp_path.iterdir()] == ["Jane_CT_1.nii.gz"]
    assert (tmp_path / "Jane_CT_1.nii.gz").read_text() == "before"


def test_folder_that_cannot_be_made_is_said(scene, node, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        export(scene, node, tmp_path / "file" / "below", "seg.nrrd")


def test_segmentation_under_a_non_linear_transform_is_refused(app, scene, node, tmp_path):
    node.SetAndObserveTransformNodeID(add_bending(app).GetID())
    with pytest.raises(GeometryError, match="non-linear"):
        export(scene, node, tmp_path, "seg.nrrd")
    assert list(tmp_path.iterdir()) == []


def test_surfaces_of_nothing_are_refused(app, scene, tmp_path):
    volume = add_volume(app)
    layers = [layer({}, looked_for=[LIVER])]
    node = app.scene.GetNodeByID(scene.write_result(scene.snapshot(volume.GetID()), layers, TEXT, []))
    with pytest.raises(InputError, match="No segment has a voxel"):
        export(scene, node, tmp_path, "stl")


def test_unknown_format_and_missing_dicom_writer_are_refused(scene, node, tmp_path):
    with pytest.raises(OutputError):
        export(scene, node, tmp_path, "ply")
    with pytest.raises(OutputError, match="DICOM SEG"):
        export(scene, node, tmp_path, "dicom")


def add_dicom_volume(app):
    volume = add_volume(app)
    volume.SetAttribute("DICOM.instanceUIDs", "1.2.3")
    return volume


def test_dicom_of_a_ct_from_elsewhere_is_refused_before_anything_is_written(app, editor, tmp_path):
    scene = SceneAtOnce(app.scene, editor, lambda *_: pytest.fail("written"))
    node = segment(scene, add_volume(app, name="Nifti"))
    assert "Nifti did not come from" in scene.can_export_dicom(volume_of(node).GetID())
    with pytest.raises(OutputError, match="Nifti did not come from"):
        export(scene, node, tmp_path / "new", "seg.nrrd", "dicom")
    assert list(tmp_path.iterdir()) == []
    assert scene.can_export_dicom(add_dicom_volume(app).GetID()) == ""


def test_dicom_is_left_to_the_writer_that_is_given(app, editor, tmp_path):
    seen = []

    def write(node, volume, file):
        seen.append((node.GetName(), node.GetScene(), volume_of(node), volume))
        file.write_bytes(b"DICM")

    scene = SceneAtOnce(app.scene, editor, write)
    node = segment(scene, add_dicom_volume(app))
    before = app.scene.GetNumberOfNodes()
    assert export(scene, node, tmp_path, "dicom") == (tmp_path / "CT.dcm",)
    assert (tmp_path / "CT.dcm").read_bytes() == b"DICM"
    assert seen == [(node.GetName(), app.scene, volume_of(node), volume_of(node))]
    assert app.scene.GetNumberOfNodes() == before


@pytest.mark.parametrize("case", ["moved after the first run", "put under a transform", "still"])
def test_dicom_writer_finds_the_voxels_where_the_files_of_the_ct_are(app, editor, tmp_path, case):
    """It ignores transforms, as Slicer's does: ``GenerateMergedLabelmapForAllSegments`` of the node itself."""
    found = {}

    def write(node, volume, file):
        for index, name in ((LIVER, "liver"), (SPLEEN, "spleen")):
            merged, ids = slicer.vtkOrientedImageData(), vtk.vtkStringArray()
            ids.InsertNextValue(name)
            node.GenerateMergedLabelmapForAllSegments(merged, 0, None, ids)
            values = voxels(merged)
            place = image_matrix(merged) @ [*(np.argwhere(values).mean(axis=0) + start_of(merged)), 1]
            found[index] = place[:3], int(np.count_nonzero(values))
        file.write_bytes(b"DICM")

    scene = SceneAtOnce(app.scene, editor, write)
    volume = add_volume(app, start=(5, 3, -2))
    volume.SetAttribute("DICOM.instanceUIDs", "1.2.3")
    files = placement(volume).geometry
    node = segment(scene, volume)
    if case != "still":
        transform = add_transform(app, parent=add_transform(app))
        volume.SetAndObserveTransformNodeID(transform.GetID())
    if case == "moved after the first run":
        assert segment(scene, volume) is node
        assert node.GetTransformNodeID() is None
    elif case == "put under a transform":
        node.SetAndObserveTransformNodeID(transform.GetID())
    export(scene, node, tmp_path, "dicom")
    for index, (place, count) in found.items():
        np.testing.assert_allclose(place, world_centroid(masks_of_a_patient()[index], files), atol=0.01)
        assert count == masks_of_a_patient()[index].sum()


def test_nothing_is_written_where_the_dicom_writer_fails(app, editor, tmp_path):
    def fail(_node, _volume, _file):
        raise OutputError("The exporter failed.", "")

    scene = SceneAtOnce(app.scene, editor, fail)
    node = segment(scene, add_dicom_volume(app))
    with pytest.raises(OutputError, match="exporter failed"):
        export(scene, node, tmp_path, "seg.nrrd", "dicom")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "stem"),
    [("CON", "_CON"), ("aux.1", "_aux.1"), ("com1", "_com1"), ("Contrast", "Contrast"), ("../..", "segmentation")],
)
def test_names_of_devices_are_no_file_names(app, scene, tmp_path, name, stem):
    (path,) = export(scene, segment(scene, add_volume(app, name=name)), tmp_path, "seg.nrrd")
    assert path == tmp_path / f"{stem}.seg.nrrd"


# --- Nothing that is there is replaced or mixed


def test_export_of_another_patient_of_the_same_name_leaves_the_first_one_alone(app, scene, node, tmp_path):
    first = export(scene, node, tmp_path, "seg.nrrd", "nii.gz", "stl")
    before = {path: path.read_bytes() for path in first}
    masks = {LIVER: box_mask(SHAPE, (2, 5), (2, 5), (2, 5))}
    second = export(scene, segment(scene, add_volume(app, name="Jane: CT/1"), masks), tmp_path, "seg.nrrd", "stl")
    assert {path: path.read_bytes() for path in first} == before
    names = [path.relative_to(tmp_path).as_posix() for path in second]
    assert names == ["Jane_CT_1_2.seg.nrrd", "Jane_CT_1_2_stl/liver.stl"]
    assert read_labels(second[0]).segmentation.mask(LIVER).sum() == masks[LIVER].sum()


def test_mesh_folder_holds_the_segments_of_its_own_export_alone(scene, node, tmp_path):
    export(scene, node, tmp_path, "obj")
    node.GetSegmentation().RemoveSegment("spleen")
    paths = export(scene, node, tmp_path, "obj")
    assert {path.name for path in paths} == {path.name for path in paths[0].parent.iterdir()}
    assert "spleen.obj" not in {path.name for path in paths}


def test_voxels_of_other_lattices_and_beyond_the_ct_are_in_the_segmentation_file(app, scene, node, tmp_path):
    place = placement(volume_of(node))
    own = slicer.vtkSegment()
    own.SetName("Outside")
    start = tuple(np.add(place.start, (-3, 2, 1)))
    own.AddRepresentation("Binary labelmap", label_image(np.ones((4, 3, 2), np.uint8), place.matrix, start))
    node.GetSegmentation().AddSegment(own, "outside")
    (path,) = export(scene, node, tmp_path, "seg.nrrd")
    loaded = app.scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    loaded.AddDefaultStorageNode(str(path))
    assert loaded.GetStorageNode().ReadData(loaded)
    image = slicer.vtkOrientedImageData()
    assert loaded.GetBinaryLabelmapRepresentation("outside", image)
    found = np.argwhere(voxels(image)) + start_of(image)
    assert len(found) == 24
    middle = (place.to_world @ place.matrix @ [*np.add(start, (1.5, 1, 0.5)), 1])[:3]
    np.testing.assert_allclose((image_matrix(image) @ [*found.mean(axis=0), 1])[:3], middle, atol=0.01)
    read = read_segmentation(loaded, place.geometry)
    np.testing.assert_array_equal(read.mask(LIVER), masks_of_a_patient()[LIVER])


def test_tags_of_segments_are_in_the_segmentation_file(app, scene, node, tmp_path):
    segment_of_mine = node.GetSegmentation().GetSegment("spleen")
    segment_of_mine.SetTag("Somebody.Else", "kept as it is")
    segment_of_mine.SetName("Größe µ")
    (path,) = export(scene, node, tmp_path, "seg.nrrd")
    loaded = app.scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    loaded.AddDefaultStorageNode(str(path))
    assert loaded.GetStorageNode().ReadData(loaded)
    read = loaded.GetSegmentation().GetSegment("spleen")
    assert (tag_of(read, "Somebody.Else"), read.GetName()) == ("kept as it is", "Größe µ")


def test_segmentation_without_voxels_is_written_and_read(app, scene, tmp_path):
    volume = add_volume(app)
    node = segment(scene, volume)
    for segment_id in ("spleen", "kidney_right", "liver", "liver_tumor"):
        image = node.GetSegmentation().GetSegment(segment_id).GetRepresentation("Binary labelmap")
        voxels(image)[...] = 0
    (path,) = export(scene, node, tmp_path, "seg.nrrd")
    assert read_labels(path).segmentation.bits.sum() == 0
