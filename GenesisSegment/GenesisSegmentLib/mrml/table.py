"""Measurements as a table node: one row per class, each followed by its lesions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import vtk

from ..core.classes import class_table
from ..core.i18n import _
from .nodes import TABLE_ROLE, modifying, put_beside, remove_node, volume_of

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
CENTROID = ("Centroid R (mm)", "Centroid A (mm)", "Centroid S (mm)")


def table_of(node: Any) -> Any | None:
    """The table that belongs to a segmentation."""
    return node.GetNodeReference(TABLE_ROLE)


def write_table(node: Any, rows: Sequence[Mapping[str, Any]], undo: ExitStack) -> Any:
    """Writes measurements into the table of a segmentation, which is made where there is none; returns its node.

    Args:
        node: segmentation node.
        rows: fields of MeasurementRow.
        undo: gets what brings the table back, should a later step fail.
    """
    content = as_vtk(rows)
    table = table_of(node)
    if table is None:
        scene = node.GetScene()
        name = scene.GenerateUniqueName(_("{name} measurements").format(name=node.GetName()))
        table = scene.AddNewNodeByClass("vtkMRMLTableNode", name)
        undo.callback(remove_node, table)
        node.SetNodeReferenceID(TABLE_ROLE, table.GetID())
        put_beside(table, volume_of(node))
    else:
        undo.callback(table.SetAndObserveTable, table.GetTable())
    with modifying(table):
        table.SetAndObserveTable(content)
        table.SetUseColumnTitleAsColumnHeader(True)
        table.SetLocked(True)
    return table


def as_vtk(rows: Sequence[Mapping[str, Any]]) -> Any:
    """A vtkTable of text cells, so that what does not apply is empty and not 0."""
    table = vtk.vtkTable()
    titles = ["Structure", *(title for _field, title in COLUMNS), *CENTROID]
    cells = [_cells(row) for row in rows]
    for position, title in enumerate(titles):
        column = vtk.vtkStringArray()
        column.SetName(title)
        for row in cells:
            column.InsertNextValue(row[position])
        table.AddColumn(column)
    return table


def _cells(row: Mapping[str, Any]) -> list[str]:
    structure = class_table().get(int(row["index"]))
    centroid = row.get("centroid_ras") or ("", "", "")
    return [
        structure.name if structure else str(row["name"]),
        *(_text(row.get(field)) for field, _title in COLUMNS),
        *(_text(part) for part in centroid),
    ]


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
