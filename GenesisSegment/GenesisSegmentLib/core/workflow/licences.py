"""What a person must know of a model: what it is for, what its licence allows, what it does not find."""

from __future__ import annotations

from ..class_names import class_title
from ..classes import class_table
from ..i18n import _
from ..reports import ModelInfo
from .text import names_text, sentences, size_text


def model_note(info: ModelInfo) -> str:
    """The lines under the choice of the model."""
    licence = _("Licence: {name}. {summary}").format(name=info.licence, summary=info.licence_summary)
    caution = _("Starter, not for clinical use.") if info.id == "starter" else clinical_text(info)
    return "\n".join(line for line in (caution, licence, missing_text(info), own_text(info)) if line)


def clinical_text(info: ModelInfo) -> str:
    """Whether it may be used for patients, as far as is known."""
    if info.clinical_use is None:
        return _("Whether clinical use is allowed is not known.")
    return "" if info.clinical_use else _("Not for clinical use.")


def missing_text(info: ModelInfo) -> str:
    """What the model does not find."""
    missing = [class_title(c) for c in class_table() if c not in info.offered]
    if not missing:
        return ""
    text = _("Finds {count} of {all} structures; not offered: {names}.")
    return text.format(count=len(info.offered), all=len(class_table()), names=names_text(missing))


def own_text(info: ModelInfo) -> str:
    """What a person taught it."""
    if not info.own:
        return ""
    text = _("Finds structures of your own, too: {names}.")
    return text.format(names=names_text(info.own))


def terms_text(info: ModelInfo) -> str:
    """What is shown before a model is fetched or imported: whose it is, how large, from where, on what terms."""
    size = size_text(info.size_bytes) if info.size_bytes else _("not stated by the publisher")
    lines = (
        sentences(info.title + ".", info.purpose),
        _("From: {address}").format(address=info.url) if info.url else "",
        _("Size: {size}").format(size=size),
        _("Licence: {name}").format(name=info.licence),
        info.licence_summary,
        _("Text of the licence: {address}").format(address=info.licence_url) if info.licence_url else "",
        clinical_text(info),
        _("Commercial use is not allowed.") if info.commercial_use is False else "",
        _("Please cite: {citation}").format(citation=info.citation),
    )
    return "\n".join(line for line in lines if line)
