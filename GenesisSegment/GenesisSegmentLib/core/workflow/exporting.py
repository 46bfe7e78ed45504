"""The Export part: formats, folder, paint order, and the files."""

from __future__ import annotations

from pathlib import Path

from ..i18n import _
from .export_formats import FORMATS
from .model import Model
from .ports import ExportRequest, ScenePort, SettingsPort
from .reviewing import Reviewing

_KEYS = tuple(known.key for known in FORMATS)
_DEFAULT = "seg.nrrd"


class Exporting:
    """Settings keep the formats and the folder, the scene keeps the paint order."""

    def __init__(self, model: Model, scene: ScenePort, settings: SettingsPort, reviewing: Reviewing) -> None:
        self._model, self._scene, self._settings, self._reviewing = model, scene, settings, reviewing

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
        """Writes the files, all or none."""
        model = self._model
        if export_obstacle(model) or not (model.segmentation_id and model.volume_id and model.folder):
            return
        request = ExportRequest(model.folder, model.written, model.painted)
        model.last_files = ()
        self._reviewing.settle()
        files = self._scene.export(model.segmentation_id, model.volume_id, request)
        model.last_files = tuple(str(file) for file in files)
        many = (
            _("{count} files were written to {folder}.") if len(files) != 1 else _("One file was written to {folder}.")
        )
        model.say(many.format(count=len(files), folder=model.folder))


def export_obstacle(model: Model) -> str:
    """Why nothing can be exported now, or ""."""
    if model.segmentation_id is None or model.volume_id is None:
        return _("There is no result yet: segment a CT first.")
    if model.run is not None:
        return _("Wait until the run has ended, or cancel it.")
    if not model.written:
        return _("Choose at least one format.")
    if model.folder is None:
        return _("Choose a folder first.")
    return ""
