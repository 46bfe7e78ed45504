"""Measurements as a table node: one row per class, each followed by its lesions."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import vtk

from ..core.classes import class_table
from ..core.i18n import _
from ..core.pieces import Pieces, finished
from .counting import count_changes
from .measuring import Row, measuring
from .nodes import TABLE_ROLE, modifying, put_beside, remove_node, volume_of
from .proposal import runs_of

COLUMNS: tuple[tuple[str, str], ...] = (
    ("lesion", "Lesion"),
    ("voxels", "Voxels"),
    ("volume_ml", "Volume (ml)"),
    ("mean_hu", "Mean (HU)"),
    ("sd_hu", "SD (HU)"),
    ("touches_border", "Reaches edge of scan"),
    ("lesion_count", "Lesions"),
    ("longest_mm", "Longest axial diameter (mm)"),
    ("perpendicular_mm", "Perpendicular diameter (mm)"),
)
"""Fields of :class:`GenesisSegmentLib.core.reports.MeasurementRow` and the titles of their columns, with units."""
NOTE = "Note"
_ROWS = "GenesisSegment.Rows"
"""Attribute of the table node with the rows of the models, which no change by hand touches, as JSON."""
CENTROID = ("Centroid R (mm)", "Centroid A (mm)", "Centroid S (mm)")


def table_of(node: Any) -> Any | None:
    """The table that belongs to a segmentation."""
    return node.GetNodeReference(TABLE_ROLE)


def write_table(
    node: Any, rows: Sequence[Row], looked_for: Collection[int], kept: Collection[int], run: str, undo: ExitStack
) -> None:
    """Writes the measurements of a run into the table of a segmentation, which is made where there is none.

    Rows of classes that were not looked for stay. So do those of the proposals that are still known: after Undo they
    are true again.

    Args:
        node: segmentation node, with its segments and its proposal as they are after the run.
        rows: fields of MeasurementRow.
        looked_for: class indices of the run.
        kept: class indices whose segments the run left alone: what it measured is not theirs.
        run: names the run.
        undo: gets what brings the table back, should a later step fail.
    """
    replaced = {int(row["index"]) for row in rows} | set(looked_for)
    rows = [{**row, "run": run} for row in rows if int(row["index"]) not in kept]
    table = table_of(node)
    if table is None:
        scene = node.GetScene()
        name = scene.GenerateUniqueName(_("{name} measurements").format(name=node.GetName()))
        table = scene.AddNewNodeByClass("vtkMRMLTableNode", name)
        undo.callback(remove_node, table)
        node.SetNodeReferenceID(TABLE_ROLE, table.GetID())
        put_beside(table, volume_of(node))
    else:
        undo.callback(table.SetAttribute, _ROWS, table.GetAttribute(_ROWS))
        undo.callback(table.SetAndObserveTable, table.GetTable())
        before, known = _rows_of(table), runs_of(node)
        rows += [r for r in before if int(r["index"]) not in replaced - set(kept) or r.get("run", "") in known]
    with modifying(table):
        table.SetAttribute(_ROWS, json.dumps(rows))
        table.SetAndObserveTable(as_vtk(finished(measuring(node, rows, count_changes(node) if kept else {}))))
        table.SetUseColumnTitleAsColumnHeader(True)
        table.SetLocked(True)


def refreshing(node: Any, changes: Mapping[str, int]) -> Pieces[None]:
    """Has the table tell what the segments are now; nothing where there is none.

    Args:
        node: segmentation node.
        changes: what :func:`.counting.counting` counted.
    """
    table = table_of(node)
    if table is None or table.GetAttribute(_ROWS) is None:
        return
    content = as_vtk((yield from measuring(node, _rows_of(table), changes)))
    if cells_of(content) != cells_of(table.GetTable()):
        table.SetAndObserveTable(content)


def cells_of(content: Any) -> list[list[str]]:
    """The cells of a vtkTable of text, row by row, titles first."""
    columns = [content.GetColumn(n) for n in range(content.GetNumberOfColumns())]
    rows = range(content.GetNumberOfRows())
    return [[column.GetName() for column in columns], *([column.GetValue(row) for column in columns] for row in rows)]


def _rows_of(table: Any) -> list[Row]:
    return json.loads(table.GetAttribute(_ROWS) or "[]")


def as_vtk(rows: Sequence[Row]) -> Any:
    """A vtkTable of text cells, so that what does not apply is empty and not 0."""
    table = vtk.vtkTable()
    titles = ["Structure", *(title for _field, title in COLUMNS), *CENTROID, NOTE]
    cells = [_cells(row) for row in rows]
    for position, title in enumerate(titles):
        column = vtk.vtkStringArray()
        column.SetName(title)
        for row in cells:
            column.InsertNextValue(row[position])
        table.AddColumn(column)
    return table


def _cells(row: Row) -> list[str]:
    structure = class_table().get(int(row["index"]))
    centroid = row.get("centroid_ras") or ("", "", "")
    return [
        structure.name if structure else str(row["name"]),
        *(_text(row.get(field)) for field, _title in COLUMNS),
        *(_text(part) for part in centroid),
        str(row.get("note", "")),
    ]


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
