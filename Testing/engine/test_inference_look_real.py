"""On the CT that the starter never learned from: what it sees is enough to look in the right place."""

from __future__ import annotations

from dataclasses import replace

from GenesisSegmentLib.core.jobs import Job
from GenesisSegmentLib.engine.benchmark.tasks import UNIVERSAL
from GenesisSegmentLib.engine.images.reading import read_volume
from GenesisSegmentLib.engine.inference.look import look
from GenesisSegmentLib.engine.inference.preprocess import model_input
from GenesisSegmentLib.engine.inference.restore import restore_nearest
from GenesisSegmentLib.engine.inference.sweep import Lattice
from GenesisSegmentLib.engine.labels import read_labels
from GenesisSegmentLib.engine.open_model import StarterFinder
from inference_builders import KIDNEY_LEFT, KIDNEY_RIGHT, LIVER, SPLEEN

CASE = "cptac_pda/cptac_pda_C3N-00249"
MOST_WINDOWS = {SPLEEN: 1, KIDNEY_RIGHT: 1, KIDNEY_LEFT: 1, LIVER: 12}


def test_every_voxel_of_the_reference_lies_in_what_is_looked_at(shared_data) -> None:
    volume = read_volume(shared_data / CASE / "ct.nii.gz")
    prepared = model_input(volume, UNIVERSAL)
    sighting = look(StarterFinder(Job()), volume, prepared, tuple(MOST_WINDOWS), lambda share: None)
    reference = read_labels(shared_data / CASE / "labels.nii.gz").segmentation
    straight = reference.geometry.to_ras
    grid = reference.geometry.reoriented(straight)
    lattice = Lattice(prepared, UNIVERSAL.window, 0.25, is_published=False)
    everywhere = lattice.everywhere().windows
    for index, most in MOST_WINDOWS.items():
        place = replace(sighting, classes=(index,)).place(lattice)
        mask = straight.apply(reference.mask(index)).astype("uint8")
        inside = restore_nearest(mask, grid, prepared.geometry)
        assert inside.any()
        start = tuple(slice(a - b, c - b) for a, c, b in zip(place.start, place.stop, prepared.before, strict=True))
        assert inside[start].sum() == inside.sum()
        assert lattice.around(place).windows <= most < everywhere
