"""The Segment part of the view: CT, model, device, classes, estimate, button."""

from __future__ import annotations

from ..i18n import _
from ..protocol import Estimated
from ..reports import DeviceInfo, ModelInfo
from .class_tree import class_tree
from .estimates import device_name, estimate_text, is_short_of_memory
from .licences import model_note
from .model import Model
from .obstacles import busy_obstacle, model_obstacle, segment_obstacle
from .setting_up import download_obstacle
from .text import sentences, size_text
from .view import Choice, Control, SegmentPart, control


def render_segment(model: Model) -> SegmentPart:
    """What the Segment part shows."""
    info, busy = model.info, busy_obstacle(model)
    return SegmentPart(
        volume=control(busy if model.run else "", _("The CT to segment.")),
        volume_note=model.volume_problem or model.volume_note,
        models=tuple(_model_choice(entry, model.are_models_known, busy) for entry in model.models),
        model=model.model,
        model_note="\n".join(filter(None, (model_note(info), model_obstacle(model)))) if info else "",
        devices=_devices(model, busy),
        device=model.device,
        device_note=_device_note(model),
        search=model.search,
        tree=class_tree(model.offered, model.wanted, model.search, busy, info.own if info else ()),
        classes_note=_classes_note(model),
        estimate=estimate_text(model),
        segment=_segment(model),
        volume_id=model.volume_id or "",
        get_model=control(
            download_obstacle(model),
            _("Shows where the model comes from, its size and its licence, and asks before it is downloaded."),
            is_visible=info is not None and not model.is_model_there and info.url is not None,
        ),
    )


def _segment(model: Model) -> Control:
    tip = _("Finds the chosen structures in the CT.")
    if model.segmentation_id:
        tip = _("Segments again. Structures that are neither locked nor reviewed are replaced.")
    if is_short_of_memory(model):
        tip = sentences(tip, _("It is likely to fail: there is too little memory."))
    return control(segment_obstacle(model), tip)


def _model_choice(info: ModelInfo, is_known: bool, busy: str) -> Choice:
    where = "" if info.state in ("bundled", "installed") or not is_known else _("Not on this computer yet.")
    return Choice(info.id, info.title, busy or sentences(info.purpose, info.note, where), not busy)


def _devices(model: Model, busy: str) -> tuple[Choice, ...]:
    auto = _("The graphics card where there is a suitable one, else the processor.")
    choices = [Choice("auto", _("Automatic"), busy or auto, not busy)]
    known = model.ready.devices if model.ready else ()
    if not known:
        later = _("The processor of this computer. Graphics cards are listed once you choose something here.")
        choices.append(Choice("cpu", _("Processor (CPU)"), busy or later, not busy))
    choices += [Choice(device.name, _device_text(device), busy or _device_tip(device), not busy) for device in known]
    if model.device not in {choice.value for choice in choices}:
        choices.append(Choice(model.device, model.device, busy or _("Chosen before; not found now."), not busy))
    return tuple(choices)


def _device_text(device: DeviceInfo) -> str:
    name = _("Processor (CPU)") if device.name == "cpu" else device.title
    if device.free_bytes <= 0:
        return name
    return _("{device}, {size} free").format(device=name, size=size_text(device.free_bytes))


def _device_tip(device: DeviceInfo) -> str:
    if device.total_bytes <= 0:
        return device.title
    text = _("{device}: {free} of {total} of memory are free.")
    free, total = size_text(device.free_bytes), size_text(device.total_bytes)
    return text.format(device=device.title, free=free, total=total)


def _device_note(model: Model) -> str:
    """Where the run goes, and a plain warning where it will take minutes."""
    answer = model.estimate
    if isinstance(answer, Estimated):
        name = answer.device
    elif model.device != "auto":
        name = model.device
    else:
        gpus = [device for device in model.ready.devices if device.name != "cpu"] if model.ready else []
        name = "cpu" if model.ready and not gpus else ""
    note = _("Automatic: the run goes on {device}.").format(device=device_name(model, name)) if name else ""
    slow = _("This model takes minutes on the processor; with a graphics card it takes seconds.")
    is_slow = name == "cpu" and model.info is not None and not model.info.is_onnx
    return sentences(note if model.device == "auto" else "", slow if is_slow else "")


def _classes_note(model: Model) -> str:
    if not model.offered:
        return ""
    if not model.wanted:
        return _("Choose at least one class.")
    return _("{count} of {all} classes of this model are chosen.").format(
        count=len(model.wanted), all=len(model.offered)
    )
