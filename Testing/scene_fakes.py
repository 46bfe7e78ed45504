"""A scene for tests of the controller, with volumes and segments that are only said to be there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from GenesisSegmentLib.core.classes import FIRST_OWN, class_table, own_structure
from GenesisSegmentLib.core.errors import InputError
from GenesisSegmentLib.core.geometry import Geometry
from GenesisSegmentLib.core.pieces import Pieces
from GenesisSegmentLib.core.volume import Source, Volume
from GenesisSegmentLib.core.workflow.ports import Guarded, SceneParameters, SegmentState, Snapshot

SHAPE = (5, 4, 3)


def volume() -> Volume:
    geometry = Geometry(SHAPE, np.diag([1.0, 2.0, 3.0, 1.0]))
    return Volume(np.zeros(SHAPE, dtype=np.int16), geometry, Source(Path("ct"), "ct"))


def segment_state(index: int, taught: str = "", **changes) -> SegmentState:
    structure = own_structure(index, taught) if taught else class_table()[index]
    state = SegmentState(structure.slug, structure.name, structure.color, index, False, False, True, 0, taught)
    return replace(state, **changes)


class FakeClock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class FakeScene:
    """Volumes by ID with their fingerprints; results by volume. ``calls`` are the writes, in order."""

    def __init__(self) -> None:
        self.fingerprints = {"ct1": "f1", "ct2": "f2"}
        self.problems: dict[str, str] = {}
        self.notes: dict[str, str] = {}
        self.dicom: set[str] = set()
        self.taken: tuple[str, ...] = ()
        """Names of protected segments that something was taken from."""
        self.unmarked: tuple[str, ...] = ()
        """Names of those whose marks undo took."""
        self.results: dict[str, str] = {}
        self.rows: dict[str, list[SegmentState]] = {}
        self.overlaps: tuple[tuple[int, int], ...] = ()
        self.is_preview_shown = False
        self.overwriting = "none"
        self.kept_back = 0
        """Voxels that cannot be written."""
        self.versions: dict[str, int] = {}
        """How often voxels were changed."""
        self.parameters = SceneParameters()
        self.calls: list[tuple] = []
        self.written: list[tuple[str, str]] = []
        """Fingerprint of the snapshot and of the volume at the time of each write."""
        self.surfaces: set[str] = set()
        """Segmentations that 3D shows, and those whose surfaces were taken away."""
        self.suspended: set[str] = set()
        self.refusing: set[str] = set()
        """Methods that raise."""
        self.when_writing = lambda: None
        self.clock, self.pieces, self.piece_s = FakeClock(), 1, 0.0

    def _refuse(self, name: str) -> None:
        if name in self.refusing:
            raise InputError(f"{name} is not possible.", "Do something else.")

    def _in_pieces(self) -> Pieces[None]:
        """Takes ``pieces`` pieces, each of which lets ``piece_s`` seconds pass."""
        for _n in range(self.pieces):
            self.clock.now += self.piece_s
            yield

    def copying(self, volume_id: str) -> Pieces[Snapshot]:
        self._refuse("copying")
        if volume_id not in self.fingerprints:
            raise InputError("The CT is gone.")
        return self._copy(volume_id)

    def _copy(self, volume_id: str) -> Pieces[Snapshot]:
        yield from self._in_pieces()
        self._refuse("copy")
        if volume_id not in self.fingerprints:
            raise InputError("The CT is gone.")
        return Snapshot(volume_id, volume(), self.fingerprints[volume_id])

    def problem(self, volume_id: str) -> str:
        self._refuse("problem")
        return self.problems.get(volume_id, "")

    def note(self, volume_id: str) -> str:
        return self.notes.get(volume_id, "")

    def geometry(self, volume_id: str) -> Geometry:
        self._refuse("geometry")
        return volume().geometry

    def is_dicom(self, volume_id: str) -> bool:
        return volume_id in self.dicom

    def fingerprint(self, volume_id: str) -> str | None:
        return self.fingerprints.get(volume_id)

    def segmentation_of(self, volume_id: str) -> str | None:
        return self.results.get(volume_id)

    def writing_partial(self, snapshot, class_index, box, mask, taught="") -> Pieces[None]:
        yield from self._in_pieces()
        self._refuse("write_partial")
        self.calls.append(("write_partial", snapshot.node_id, class_index, box, int(mask.sum()), taught))

    def discard_partials(self, snapshot) -> None:
        self.calls.append(("discard_partials", snapshot.node_id))

    def write_result(self, snapshot, layers, text, measurements) -> str:
        self._refuse("write_result")
        now = self.fingerprint(snapshot.node_id)
        self.written.append((snapshot.fingerprint, str(now)))
        classes = [c for layer in layers for c in layer.classes]
        self.calls.append(("write_result", snapshot.node_id, tuple(classes), text, measurements))
        self.add_result(snapshot.node_id, classes, text.own)
        self.when_writing()
        return self.results[snapshot.node_id]

    def add_result(self, volume_id: str, classes, own=()) -> None:
        """Structures of ``own`` get other numbers than the model's: the last one the first."""
        taught = dict(enumerate(own, FIRST_OWN))
        numbers = dict(zip(taught, reversed(taught), strict=True))
        self.results[volume_id] = f"seg-{volume_id}"
        self.rows[self.results[volume_id]] = [
            segment_state(numbers.get(c, c), taught.get(c, "")) for c in sorted(classes)
        ]

    def remove(self, volume_id: str) -> None:
        self.fingerprints.pop(volume_id, None)
        self.results.pop(volume_id, None)

    def segments(self, segmentation_id):
        return tuple(self.rows[segmentation_id])

    def counting(self, segmentation_id) -> Pieces[None]:
        yield from self._in_pieces()
        self.calls.append(("count_changes", segmentation_id))

    def _change(self, segmentation_id, segment_id, **changes) -> None:
        rows = self.rows[segmentation_id]
        self.rows[segmentation_id] = [replace(r, **changes) if r.segment_id == segment_id else r for r in rows]

    def set_locked(self, segmentation_id, segment_id, is_locked) -> None:
        self._change(segmentation_id, segment_id, is_locked=is_locked)

    def set_reviewed(self, segmentation_id, segment_id, is_reviewed) -> None:
        self._change(segmentation_id, segment_id, is_reviewed=is_reviewed)

    def guarding(self, segmentation_id, is_in_editor) -> Pieces[Guarded]:
        yield from self._in_pieces()
        taken, self.taken, unmarked, self.unmarked = self.taken, (), self.unmarked, ()
        if taken:
            self.calls.append(("put_back", taken))
        return Guarded(taken, unmarked, bool(taken) and not is_in_editor)

    def forget_guarded(self) -> None:
        self.taken = self.unmarked = ()

    def set_visible(self, segmentation_id, segment_id, is_visible) -> None:
        self._change(segmentation_id, segment_id, is_visible=is_visible)

    def version(self, segmentation_id):
        self._refuse("version")
        return self.versions.get(segmentation_id, 0), tuple(self.rows[segmentation_id])

    def rules(self, segmentation_id):
        return self.overwriting, tuple((row.is_locked, row.is_reviewed) for row in self.rows[segmentation_id])

    def add_segment(self, segmentation_id, class_index, taught="") -> str:
        self._refuse("add_segment")
        self.calls.append(("add_segment", class_index, taught))
        state = segment_state(class_index or 1)
        if taught:
            state = segment_state(64, taught)
        elif not class_index:
            state = replace(state, segment_id="own", class_index=0)
        self.rows[segmentation_id].append(state)
        return state.segment_id

    def reading_surroundings(self, segmentation_id, segment_id, box) -> Pieces[np.ndarray]:
        yield from self._in_pieces()
        self._refuse("surroundings")
        self.calls.append(("surroundings", segment_id, box))
        return np.ones(box.shape, np.uint8)

    def redrawing(self, segmentation_id, segment_id, box, mask) -> Pieces[int]:
        yield from self._in_pieces()
        self._refuse("redrawing")
        self.calls.append(("redraw", segment_id, box, int(mask.sum())))
        self.change_voxels(segmentation_id)
        return self.kept_back

    def change_voxels(self, segmentation_id) -> None:
        self.versions[segmentation_id] = self.versions.get(segmentation_id, 0) + 1

    def showing_preview(self, segmentation_id, box, mask) -> Pieces[None]:
        yield from self._in_pieces()
        self._refuse("showing_preview")
        self.calls.append(("show_preview", box))
        self.is_preview_shown = True

    def hide_preview(self) -> None:
        if self.is_preview_shown:
            self.calls.append(("hide_preview",))
        self.is_preview_shown = False

    def resetting(self, segmentation_id, segment_id) -> Pieces[None]:
        yield from self._in_pieces()
        self._refuse("resetting")
        self.calls.append(("reset", segment_id))
        self._change(segmentation_id, segment_id, changed_voxels=0)

    def show_proposal(self, segmentation_id, is_shown) -> None:
        self.calls.append(("show_proposal", is_shown))

    def showing_difference(self, segmentation_id, segment_id) -> Pieces[None]:
        yield from self._in_pieces()
        self._refuse("showing_difference")
        self.calls.append(("show_difference", segment_id))

    def hide_difference(self, segmentation_id) -> None:
        self.calls.append(("hide_difference", segmentation_id))

    def suspend_3d(self, segmentation_id) -> None:
        self.calls.append(("suspend_3d", segmentation_id))
        self.suspended |= self.surfaces
        self.surfaces = set()

    def is_3d_suspended(self, segmentation_id) -> bool:
        return segmentation_id in self.suspended

    def update_3d(self, segmentation_id) -> None:
        self.calls.append(("update_3d", segmentation_id))
        self.surfaces.add(segmentation_id)
        self.suspended.discard(segmentation_id)

    def finding_overlaps(self, segmentation_id):
        yield from self._in_pieces()
        return self.overlaps

    def preparing_export(self, segmentation_id, volume_id, request) -> Pieces[FakeExport]:
        yield from self._in_pieces()
        self._refuse("export")
        self.calls.append(("prepare_export", segmentation_id))
        return FakeExport(self, request)

    def load_parameters(self) -> SceneParameters:
        kept = self.parameters
        return kept if kept.volume_id in self.fingerprints else replace(kept, volume_id=None)

    def save_parameters(self, parameters) -> None:
        self.parameters = parameters

    def names(self) -> list[str]:
        return [call[0] for call in self.calls]


class FakeExport:
    """What the scene copied; its files are written in pieces, or given up between them."""

    def __init__(self, scene: FakeScene, request) -> None:
        self._scene, self._request = scene, request

    def writing(self, report) -> Pieces[tuple[Path, ...]]:
        is_done = False
        try:
            for n, key in enumerate(self._request.formats):
                report(f"Exporting: {key}", n / len(self._request.formats))
                yield from self._scene._in_pieces()
            self._scene._refuse("writing")
            is_done = True
        finally:
            self._scene.calls.append(("export" if is_done else "give_up", self._request))
        return tuple(self._request.folder / f"result.{key}" for key in self._request.formats)
