"""What the worker is given of the scene when prompts are asked about: the CT, and a box round the prompts.

Both are handed over only where it does not have them yet: a stroke is previewed many times a second.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np

from ..geometry import Box, Geometry
from ..pieces import Pieces
from ..prompts import Prompt, extent
from ..refining_messages import Step
from .model import Model
from .ports import ScenePort, WorkerPort

_REACH_MM, _SPARE_MM = 60.0, 20.0
"""How far around the prompts an answer may reach, and how much more is handed over, for the strokes that follow."""


@dataclass(frozen=True)
class Subject:
    """What prompts are about."""

    volume_id: str
    segmentation_id: str
    segment_id: str


@dataclass(frozen=True)
class Held:
    """What the worker was given of a segment, when all were of a version: a box of the CT, in a file.

    ``rules`` are those of :meth:`.ports.ScenePort.rules` then.
    """

    subject: Subject
    version: Hashable
    rules: Hashable
    box: Box
    file: str


class Handing:
    """Knows what the worker has, and has it look whether that is still there: its files may have been swept away."""

    def __init__(self, model: Model, scene: ScenePort, worker: WorkerPort) -> None:
        self._model, self._scene, self._worker = model, scene, worker
        self._held: Held | None = None
        self.loading = ""
        """The command that handed the CT over last."""

    def handing_over(self, volume_id: str) -> Pieces[str]:
        """Has the worker know the CT; its fingerprint."""
        model = self._model
        fingerprint = self._scene.fingerprint(volume_id)
        if model.handed != (volume_id, fingerprint) or not self._worker.holds(model.handed[1]):
            snapshot = yield from self._scene.copying(volume_id)
            self.loading = self._worker.send_volume(snapshot.volume, snapshot.fingerprint)
            model.handed = snapshot.node_id, snapshot.fingerprint
        return model.handed[1]

    def holding(self, subject: Subject, prompts: tuple[Prompt, ...], step: Step) -> Pieces[Held]:
        """Gives the worker the box around the prompts; during a stroke only where it does not have what is there."""
        grid, is_preview = self._scene.geometry(subject.volume_id), step == "preview"
        needed = _around(prompts, grid, _REACH_MM) if step != "propagate" else Box.whole(grid.shape)
        held = self._held if is_preview else None
        if held is None or not self._is_current(held, subject) or not _holds(held.box, needed):
            box = _around(prompts, grid, _REACH_MM + _SPARE_MM) if is_preview else needed
            bits = yield from self._scene.reading_surroundings(subject.segmentation_id, subject.segment_id, box)
            now = self._scene.version(subject.segmentation_id), self._scene.rules(subject.segmentation_id)
            held = Held(subject, *now, box, (yield from self._worker.holding(bits)))
        self._held = held if is_preview else None
        return held

    def forget(self, with_ct: bool = False) -> None:
        """What the worker was given counts no more; the next time it is given anew."""
        self._held = None
        if with_ct:
            self._model.handed = "", ""

    def _is_current(self, held: Held, subject: Subject) -> bool:
        segmentation_id = subject.segmentation_id
        now = subject, self._scene.version(segmentation_id), self._scene.rules(segmentation_id)
        return now == (held.subject, held.version, held.rules) and self._worker.holds(held.file)


def _around(prompts: tuple[Prompt, ...], grid: Geometry, reach_mm: float) -> Box:
    """The voxels that lie within a distance of the prompts; one where no prompt meets the CT."""
    found = [box for prompt in prompts if (box := extent(prompt, grid)) is not None]
    if not found:
        return Box((0, 0, 0), (1, 1, 1))
    box = Box.joined(found)
    reach = np.ceil(reach_mm / np.array(grid.spacing)).astype(int)
    start, stop = np.maximum(np.array(box.start) - reach, 0), np.minimum(np.array(box.stop) + reach, grid.shape)
    return Box(tuple(start.tolist()), tuple(stop.tolist()))


def _holds(outer: Box, inner: Box) -> bool:
    pairs = zip(outer.start, inner.start, inner.stop, outer.stop, strict=True)
    return all(a <= b and c <= d for a, b, c, d in pairs)
