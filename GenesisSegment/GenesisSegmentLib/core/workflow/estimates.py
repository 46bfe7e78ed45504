"""What a run would take, as sentences."""

from __future__ import annotations

from ..i18n import _
from ..protocol import Estimated, Failure
from .model import Model
from .obstacles import estimate_obstacle
from .text import duration_text, sentences, size_text


def estimate_text(model: Model) -> str:
    """Time and memory of the run that the choice stands for; "" where there is nothing to say."""
    answer = model.estimate
    if answer is None:
        if model.is_estimating:
            return _("Estimating time and memory...")
        is_waiting = not model.is_estimate_allowed and not estimate_obstacle(model)
        return _("Time and memory are told once you choose something here.") if is_waiting else ""
    if isinstance(answer, Failure):
        return _refusal(answer)
    # Where the time is not known, a note of the worker says so.
    later = _("The first run measures it.") if answer.seconds is None else ""
    return sentences(_figures(model, answer), _shortage(model, answer), *answer.notes, later)


def is_short_of_memory(model: Model) -> bool:
    """Whether the run is likely to fail for want of memory."""
    answer = model.estimate
    if isinstance(answer, Failure):
        return answer.code == "resource"
    return isinstance(answer, Estimated) and bool(_shortage(model, answer))


def _figures(model: Model, answer: Estimated) -> str:
    where, memory = device_name(model, answer.device), size_text(answer.host_bytes)
    if answer.device != "cpu" and answer.device_bytes:
        memory = _("{gpu} on the graphics card and {main} of main memory").format(
            gpu=size_text(answer.device_bytes), main=memory
        )
    if answer.seconds is None:
        return _("About {memory} on {device}.").format(memory=memory, device=where)
    text = _("About {time} and {memory} on {device}.")
    return text.format(time=duration_text(answer.seconds), memory=memory, device=where)


def _shortage(model: Model, answer: Estimated) -> str:
    free = {device.name: device.free_bytes for device in model.ready.devices} if model.ready else {}
    for device, needed in (("cpu", answer.host_bytes), (answer.device, answer.device_bytes)):
        if 0 < free.get(device, 0) < needed:
            text = _("Too little memory: {needed} are needed, {free} are free on {device}.")
            remedy = _("Close other programs, or choose fewer classes.")
            where = device_name(model, device)
            return sentences(text.format(needed=size_text(needed), free=size_text(free[device]), device=where), remedy)
    return ""


def _refusal(failure: Failure) -> str:
    reason = f"{failure.what} {failure.remedy}".strip()
    if failure.code == "resource":
        return _("Too little memory for this choice. {reason}").format(reason=reason)
    return _("Time and memory cannot be told. {reason}").format(reason=reason)


def device_name(model: Model, name: str) -> str:
    """A device in words: "this CPU", or the title of the graphics card."""
    if name == "cpu":
        return _("this CPU")
    devices = model.ready.devices if model.ready else ()
    return next((device.title for device in devices if device.name == name), name)
