"""A finished run into the scene: segments, proposal and table in one go, or nothing of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from typing import Any

from ..core.i18n import _
from ..core.layers import Layer
from ..core.workflow.ports import ResultText
from . import surfaces
from .editing import Editor
from .measuring import Row
from .nodes import SEGMENTATION, modifying, remove_node
from .prepared import prepare
from .proposal import keep_proposal
from .table import write_table
from .tags import new_run
from .taught import Renumbered, numbering
from .volumes import placement, placement_under
from .writing import create_node, kept_classes, put_layers


def put_result(
    volume: Any,
    node: Any | None,
    layers: Iterable[Layer],
    text: ResultText,
    measurements: Sequence[Row],
    editor: Editor,
) -> Any:
    """Puts a result beside its CT, or nothing of it; returns the segmentation node.

    Of the segments that were there, those of the layers' classes are replaced, or removed where the class was not
    found. The person's own, locked and reviewed ones stay.

    Args:
        volume: node of the CT.
        node: its segmentation with binary labelmaps, or None where there is none yet.
        layers: by the numbers of the model.
        text: how the result came to be.
        measurements: fields of MeasurementRow, by the numbers of the model.
        editor: keeps a step of undo.

    Raises:
        InputError: the layers are not what they claim, or the segmentation would hold too many structures.
        GeometryError: a layer does not fit the CT.
    """
    place = placement_under(volume, node) if node else placement(volume)
    kept = kept_classes(node)
    result = Renumbered(text.own, numbering(node, text.own))
    prepared = prepare(result.layers(layers), place, left_out=kept)
    with ExitStack() as undo:
        if node is None:
            name = _("{name} segmentation").format(name=volume.GetName())
            node = create_node(volume.GetScene(), volume, name, SEGMENTATION)
            undo.callback(remove_node, node)
        else:
            surfaces.suspend(node)  # they would be made anew for every segment that is put in
            editor.save_state(node)
        run = new_run(text.model, text.model_sha256)
        keep_proposal(node, prepared, run, undo, result.taught)
        put_layers(node, prepared, run, undo, result.taught)
        rows = result.rows(measurements)
        write_table(node, rows, {c for layer in prepared for c in layer.classes}, kept, run, undo)
        _sign(node, text)
        undo.pop_all()
    return node


def _sign(node: Any, text: ResultText) -> None:
    """Keeps with a segmentation how it came to be."""
    with modifying(node):
        node.SetAttribute("GenesisSegment.Model", text.model)
        node.SetAttribute("GenesisSegment.ModelSha256", text.model_sha256)
        node.SetAttribute("GenesisSegment.Device", text.device)
        node.SetDescription(" ".join((text.model_title, *text.notes)))
