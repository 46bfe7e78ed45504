"""A segmentation into files: all of them, or none, in pieces. Positions are those of the world, transforms included."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..core.errors import InputError, OutputError
from ..core.files import fsync, move_new, work_folder
from ..core.i18n import _
from ..core.pieces import ALONE, Pieces
from ..core.workflow.export_formats import FORMATS
from ..core.workflow.ports import ExportRequest
from .counting import counting
from .export_copy import SegmentsCopy, copying_segments
from .export_labels import writing_label_map, writing_segmentation
from .export_surfaces import Surface, making_surfaces, writing_gltf, writing_meshes
from .table import cells_of, refreshing, table_of

DicomExporter = Callable[[Any, Any, Path], None]
"""Writes a segmentation node of a volume node as DICOM SEG into a file that is not there yet."""
_TITLES = {known.key: known.text for known in FORMATS}
_DICOM = "dicom"


class Export:
    """What is to be written, as it was when Export was pressed: whatever happens in the scene, it stays the same."""

    def __init__(
        self,
        copy: SegmentsCopy,
        cells: Sequence[Sequence[str]],
        request: ExportRequest,
        write_dicom: DicomExporter | None,
    ) -> None:
        self._copy, self._cells, self._request, self._write_dicom = copy, cells, request, write_dicom
        self._surfaces: list[Surface] = []

    def writing(self, report: Callable[[str, float], None]) -> Pieces[tuple[Path, ...]]:
        """Writes the files, all or none, under names that are free; returns them.

        Args:
            report: takes what is done now, in words, and how far it is, 0 to 1.

        Raises:
            OutputError: disk full, read-only, not permitted, or a writer failed.
            InputError: there is nothing to make surfaces of.
        """
        formats = sorted(self._request.formats, key=lambda key: key != _DICOM)  # what Slicer may refuse comes first
        target, text = self._request.folder, _("Exporting: {what}")
        with work_folder(target) as folder:
            for n, key in enumerate(formats):

                def tell(part: float, what: str = "", n: int = n, title: str = _(_TITLES[key])) -> None:
                    report(text.format(what=f"{title}, {what}" if what else title), (n + part) / len(formats))

                tell(0.0)
                yield from self._writing(key, folder, tell)
            report(text.format(what=_("putting the files into the folder")), 1.0)
            for file in sorted(path for path in folder.rglob("*") if path.is_file()):
                yield ALONE
                fsync(file)
            return move_new(folder, target, self._copy.stem)

    def _writing(self, key: str, folder: Path, tell: Callable[..., None]) -> Pieces[None]:
        copy = self._copy
        if key == _DICOM:
            yield from self._writing_dicom(folder / f"{copy.stem}.dcm", tell)
        elif key == "seg.nrrd":
            yield from writing_segmentation(copy, folder, tell)
        elif key in ("nii.gz", "nrrd"):
            yield from writing_label_map(copy, folder, key, self._request.paint_order, tell)
        elif key == "csv":
            with (folder / f"{copy.stem}.csv").open("w", newline="", encoding="utf-8") as stream:
                csv.writer(stream).writerows(self._cells)
        else:
            self._surfaces = self._surfaces or (yield from making_surfaces(copy, tell))
            if key == "gltf":
                yield from writing_gltf(copy, self._surfaces, folder, tell)
            else:
                yield from writing_meshes(copy, self._surfaces, folder, key, tell)

    def _writing_dicom(self, file: Path, tell: Callable[..., None]) -> Pieces[None]:
        tell(0.0, _("by Slicer's own exporter; Slicer does not answer until that is done"))
        yield ALONE
        assert self._write_dicom is not None
        with self._copy.in_scene() as node:
            self._write_dicom(node, self._copy.volume, file)


def preparing_export(node: Any, request: ExportRequest, write_dicom: DicomExporter | None) -> Pieces[Export]:
    """Copies what is to be written; between the pieces, nothing of it may change.

    Raises:
        OutputError: a format is not known.
        InputError: there is no measurement table to write.
        GeometryError: the segmentation or its CT lies under a non-linear transform.
    """
    if unknown := sorted(set(request.formats) - set(_TITLES)):
        raise OutputError(
            _("{formats} cannot be written.").format(formats=", ".join(unknown)), _("Choose another format.")
        )
    cells = (yield from _telling(node)) if "csv" in request.formats else []
    copy = yield from copying_segments(node)
    return Export(copy, cells, request, write_dicom)


def _telling(node: Any) -> Pieces[list[list[str]]]:
    """The measurements of the segments as they are now."""
    table = table_of(node)
    if table is None:
        raise InputError(_("There is no measurement table."), _("Segment the CT again to measure it."))
    changes = yield from counting(node)
    yield from refreshing(node, changes)
    return cells_of(table.GetTable())
