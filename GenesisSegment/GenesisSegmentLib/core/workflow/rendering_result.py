"""The Correct and Export parts of the view."""

from __future__ import annotations

from ..i18n import _
from .accepting import accept_obstacle
from .export_formats import FORMATS, ExportFormat
from .exporting import export_obstacle
from .model import Model
from .obstacles import busy_obstacle, result_obstacle
from .ports import SegmentState
from .states import Trigger
from .text import names_text, sentences
from .view import Choice, CorrectPart, ExportPart, ReviewRow, control


def render_correct(model: Model) -> CorrectPart:
    """What the Correct part shows."""
    reason, selected = result_obstacle(model), model.row(model.selected)
    no_proposal = _("Choose a structure that the model proposed.") if not (selected and selected.class_index) else ""
    return CorrectPart(
        rows=tuple(_row(row, busy_obstacle(model) if model.run else "", model.is_counting) for row in model.rows),
        note=reason or sentences(_note(model), _surfaces_note(model)),
        edit=control(
            _edit_obstacle(model),
            _("Ends correcting and counts what was changed.")
            if model.is_correcting
            else _("Opens the Segment Editor. 3D is put away, so that every stroke is fast."),
            is_checked=model.is_correcting,
        ),
        show_proposal=control(
            reason, _("Shows what the model proposed, as outlines."), is_checked=model.is_proposal_shown
        ),
        show_difference=control(
            reason or no_proposal,
            _("Shows what was added to the proposal of the selected structure, and what was taken away."),
            is_checked=model.is_difference_shown,
        ),
        update_3d=control(
            reason or _surfaces_obstacle(model), _("Makes the 3D surfaces once; Slicer does not answer meanwhile.")
        ),
        reviewed_note=_reviewed_note(model),
        undo=control(
            reason or ("" if model.can_undo else _("Nothing was changed yet.")),
            _("Takes the last change back, yours or the model's. Changes are counted against the run that is seen."),
        ),
        redo=control(
            reason or ("" if model.can_redo else _("Nothing was taken back.")), _("Makes again what Undo took back.")
        ),
        accept=control(
            accept_obstacle(model),
            _(
                "Keeps the reviewed structures as corrections that the model learns from. They are safe on disk when "
                "this comes back, without name or ID of the patient."
            ),
            is_visible=model.can_accept,
        ),
        accept_text=_("Accepting...") if model.accepting else _("Accept reviewed structures"),
        segmentation_id=model.segmentation_id or "",
        selected=model.selected,
    )


def render_export(model: Model) -> ExportPart:
    """What the Export part shows."""
    reason = result_obstacle(model)
    return ExportPart(
        formats=tuple(_format(model, known) for known in FORMATS),
        chosen=model.written,
        paint_order=tuple(
            Choice(str(index), model.title(index), reason or _paint_tip(model, index), not reason)
            for index in model.painted
        ),
        overlap_note=_overlap_note(model),
        folder=str(model.folder) if model.folder else "",
        export=control(export_obstacle(model), _("Writes the chosen formats into the folder, all or none.")),
        last_files=model.last_files,
    )


def _note(model: Model) -> str:
    row = model.row(model.selected)
    if model.is_correcting and row is not None and row.is_locked:
        return _("{name} is locked, so no tool can be used on it. Open it to correct it.").format(name=row.name)
    if model.is_correcting and row is not None and row.is_reviewed:
        text = _("{name} is reviewed, so no tool can be used on it. Take the tick away to correct it.")
        return text.format(name=row.name)
    return _("Locked and reviewed structures are kept when you segment again.")


def _surfaces_note(model: Model) -> str:
    if model.is_correcting or not model.is_3d_suspended:
        return ""
    return _("3D was put away before the structures changed: press Update 3D to see them as they are now.")


def _surfaces_obstacle(model: Model) -> str:
    """Slicer would make the surfaces anew after every stroke."""
    return _("End correcting first: 3D would make every stroke slow.") if model.is_correcting else ""


def _edit_obstacle(model: Model) -> str:
    if reason := result_obstacle(model):
        return reason
    if model.is_correcting or model.can(Trigger.CORRECT):
        return ""
    return _("Read the message at the top of the panel and dismiss it first.")


def _row(row: SegmentState, reason: str, is_counting: bool) -> ReviewRow:
    if row.is_locked:
        lock_tip = _("Opens it for changes.")
    else:
        lock_tip = _("Locks it: no new result and no reset changes it, and what a tool takes from it is put back.")
    review_tip = _("Takes the tick back.") if row.is_reviewed else _("Marks it as looked at and right.")
    return ReviewRow(
        segment=row,
        lock=control(reason, lock_tip, is_checked=row.is_locked),
        review=control(reason, review_tip, is_checked=row.is_reviewed),
        reset=control(reason or _reset_obstacle(row), _("Brings the model's version back. Undo works.")),
        change_text=_change_text(row, is_counting),
    )


def _reset_obstacle(row: SegmentState) -> str:
    if not row.class_index:
        return _("This structure is your own: the model proposed nothing for it.")
    if row.is_locked:
        return _("It is locked: open it first.")
    if row.is_reviewed:
        return _("It is marked as reviewed: take the tick away first.")
    return _("It is as the model proposed it.") if row.changed_voxels == 0 else ""


def _change_text(row: SegmentState, is_counting: bool) -> str:
    if not row.class_index:
        return _("your own")
    if is_counting:
        return _("counting")
    if row.changed_voxels is None:
        return ""
    if row.changed_voxels == 0:
        return _("as proposed")
    return _("{count} voxels changed").format(count=f"{row.changed_voxels:,}")


def _reviewed_note(model: Model) -> str:
    rows = [row for row in model.rows if row.class_index]
    if not rows:
        return ""
    text = _("{count} of {all} structures are reviewed.")
    return text.format(count=sum(row.is_reviewed for row in rows), all=len(rows))


def _format(model: Model, known: ExportFormat) -> Choice:
    if known.key == "dicom" and model.volume_id is not None and not model.is_dicom:
        reason = _("This CT did not come from Slicer's DICOM database, to which a DICOM SEG must refer.")
        return Choice(known.key, _(known.text), reason, False)
    return Choice(known.key, _(known.text), _format_tip(known.key, known.is_flat))


def _format_tip(key: str, is_flat: bool) -> str:
    if is_flat:
        return _("One structure per voxel: where structures overlap, the paint order decides.")
    return {
        "seg.nrrd": _("Keeps everything: overlaps, names, colors and codes."),
        "dicom": _("For the archive; needs a CT that was loaded from DICOM."),
        "csv": _("Volumes, densities and lesion diameters."),
    }.get(key, _("The surface of each structure."))


def _paint_tip(model: Model, index: int) -> str:
    names = [model.title(b if a == index else a) for a, b in model.overlaps if index in (a, b)]
    if model.is_looking_for_overlaps:
        return _("Overlaps are being looked for.")
    if not names:
        return _("Overlaps with nothing.")
    return _("Overlaps with {names}. Of two that overlap, the later one is seen.").format(names=names_text(names))


def _overlap_note(model: Model) -> str:
    pairs = [(a, b) for a, b in model.overlaps if a in model.present and b in model.present]
    if model.is_looking_for_overlaps:
        return _("Overlaps are being looked for.")
    if not pairs:
        return _("No structures overlap.") if model.rows else ""
    order = model.painted
    on_top = [sorted(pair, key=order.index) for pair in pairs]
    texts = [_("{top} over {below}").format(top=model.title(top), below=model.title(below)) for below, top in on_top]
    return sentences(_("In label maps each voxel has one structure:"), f"{names_text(texts)}.")
