"""The Export part: formats, folder, paint order, and the files, which are written in pieces."""

from __future__ import annotations

from pathlib import Path

from ..i18n import _
from ..pieces import Pieces
from .chores import Chores
from .export_formats import FORMATS
from .model import Model, Step
from .obstacles import busy_obstacle, result_obstacle
from .ports import ExportRequest, ScenePort, SettingsPort
from .reviewing import Reviewing
from .text import FAULTS, names_text, unexpected

_EXPORT = "export"
_KEYS = tuple(known.key for known in FORMATS)
_DEFAULT = "seg.nrrd"


class Exporting:
    """Settings keep the formats and the folder, the scene keeps the paint order.

    The segments are copied first: from then on the person may go on correcting, or close the scene. Everything runs on
    the thread that draws, for neither VTK nor the scene may be used beside it: voxels plane by plane, some milliseconds
    at a time; each surface, and DICOM SEG, in one go.
    """

    def __init__(
        self, model: Model, scene: ScenePort, settings: SettingsPort, reviewing: Reviewing, chores: Chores
    ) -> None:
        self._model, self._scene, self._settings = model, scene, settings
        self._reviewing, self._chores = reviewing, chores
        self._sources: frozenset[str] = frozenset()
        """IDs of the nodes that are still being copied."""

    def load_settings(self) -> None:
        """Takes up the formats and the folder of the last time; a folder that is gone is forgotten."""
        kept = self._settings.get("formats", _DEFAULT).split(",")
        self._model.formats = tuple(key for key in _KEYS if key in kept)
        folder = self._settings.get("folder", "")
        self._model.folder = Path(folder) if folder and Path(folder).is_dir() else None

    def choose_formats(self, keys: tuple[str, ...]) -> None:
        """What is written; keys that are not known are left out."""
        self._model.formats = tuple(key for key in _KEYS if key in keys)
        self._settings.set("formats", ",".join(self._model.formats))

    def choose_folder(self, path: Path) -> None:
        """Where it is written."""
        self._model.folder = path
        self._settings.set("folder", str(path))

    def move_paint(self, class_index: int, step: int) -> None:
        """Moves a class in the paint order: to the front where ``step`` is negative, else to the end, on top."""
        model, order = self._model, list(self._model.painted)
        if class_index not in order:
            return
        place = order.index(class_index)
        order.insert(min(max(place + step, 0), len(order) - 1), order.pop(place))
        model.paint_order = (*order, *(c for c in model.paint_order if c not in order))
        self._scene.save_parameters(model.parameters)

    def export(self) -> None:
        """Begins to write the files."""
        model = self._model
        if export_obstacle(model) or not (model.segmentation_id and model.volume_id and model.folder):
            return
        request = ExportRequest(model.folder, model.written, model.painted)
        model.message, model.last_files = None, ()
        model.exporting = Step(_("Exporting: copying the structures"), 0.0)
        self._sources = frozenset((model.segmentation_id, model.volume_id))
        work = self._export(model.segmentation_id, model.volume_id, request)
        self._chores.begin(_EXPORT, work, is_patient=True)

    def cancel(self) -> None:
        """Gives the files up; what was written of them is deleted."""
        if self._model.exporting is not None:
            self._drop(_("Cancelled. Nothing was exported."), "idle")

    def removed(self, node_id: str) -> None:
        """A node goes away."""
        if node_id in self._sources:
            self.abandon()

    def abandon(self) -> None:
        """What is exported goes away. Once it is copied, that does not matter any more."""
        if self._sources:
            self._drop(_("Nothing was exported: the CT or its segmentation was removed meanwhile."), "warning")

    def _drop(self, text: str, kind: str) -> None:
        self._chores.drop(_EXPORT)
        self._end()
        self._model.say(text, kind)

    def _end(self) -> None:
        self._model.exporting, self._sources = None, frozenset()

    def _export(self, segmentation_id: str, volume_id: str, request: ExportRequest) -> Pieces[None]:
        model = self._model
        try:
            yield from self._reviewing.settling()
            export = yield from self._scene.preparing_export(segmentation_id, volume_id, request)
            self._sources = frozenset()
            files = yield from export.writing(self._report)
        except FAULTS as error:  # whatever it is, the person must hear that there are no files
            self._end()
            model.say(unexpected(_("Nothing was exported."), error), "error")
            return
        self._end()
        if model.segmentation_id == segmentation_id:
            model.last_files = tuple(str(file) for file in files)
        many = (
            _("{count} files were written to {folder}: {names}.")
            if len(files) != 1
            else _("One file was written to {folder}: {names}.")
        )
        names = list(dict.fromkeys(file.relative_to(request.folder).parts[0] for file in files))
        model.say(many.format(count=len(files), folder=request.folder, names=names_text(names)))

    def _report(self, text: str, fraction: float) -> None:
        self._model.exporting = Step(text, fraction)


def export_obstacle(model: Model) -> str:
    """Why nothing can be exported now, or ""."""
    if reason := result_obstacle(model) or busy_obstacle(model):
        return reason
    if model.volume_id is None:
        return _("Choose a CT first.")
    if not model.written:
        return _("Choose at least one format.")
    if model.folder is None:
        return _("Choose a folder first.")
    return ""
