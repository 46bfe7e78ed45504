"""The names of the 32 classes for people, in their language.

What is kept keeps the name of the class table in English: segments, tables and files go from hand to hand, and are
compared and archived (DICOM SEG, label maps, measurements), whatever the language of the Slicer that wrote them.
"""

from __future__ import annotations

from collections.abc import Callable

from .classes import StructureClass, class_table
from .i18n import _

_TITLES: dict[str, Callable[[], str]] = {
    "spleen": lambda: _("Spleen"),
    "kidney_right": lambda: _("Right Kidney"),
    "kidney_left": lambda: _("Left Kidney"),
    "gall_bladder": lambda: _("Gall Bladder"),
    "esophagus": lambda: _("Esophagus"),
    "liver": lambda: _("Liver"),
    "stomach": lambda: _("Stomach"),
    "aorta": lambda: _("Aorta"),
    "postcava": lambda: _("Postcava"),
    "portal_vein_and_splenic_vein": lambda: _("Portal Vein and Splenic Vein"),
    "pancreas": lambda: _("Pancreas"),
    "adrenal_gland_right": lambda: _("Right Adrenal Gland"),
    "adrenal_gland_left": lambda: _("Left Adrenal Gland"),
    "duodenum": lambda: _("Duodenum"),
    "hepatic_vessel": lambda: _("Hepatic Vessel"),
    "lung_right": lambda: _("Right Lung"),
    "lung_left": lambda: _("Left Lung"),
    "colon": lambda: _("Colon"),
    "intestine": lambda: _("Intestine"),
    "rectum": lambda: _("Rectum"),
    "bladder": lambda: _("Bladder"),
    "prostate": lambda: _("Prostate"),
    "femur_left": lambda: _("Left Head of Femur"),
    "femur_right": lambda: _("Right Head of Femur"),
    "celiac_trunk": lambda: _("Celiac Trunk"),
    "kidney_tumor": lambda: _("Kidney Tumor"),
    "liver_tumor": lambda: _("Liver Tumor"),
    "pancreas_tumor": lambda: _("Pancreas Tumor"),
    "hepatic_vessel_tumor": lambda: _("Hepatic Vessel Tumor"),
    "lung_tumor": lambda: _("Lung Tumor"),
    "colon_tumor": lambda: _("Colon Tumor"),
    "kidney_cyst": lambda: _("Kidney Cyst"),
}
"""By slug. Each is a literal, so that Slicer's tools collect it for translation."""


def class_title(index: int) -> str:
    """The name of a class in the person's language."""
    return _TITLES[class_table()[index].slug]()


def structure_title(structure: StructureClass) -> str:
    """The name of a class in the person's language; one of their own is called as they called it."""
    return structure.name if structure.kind == "own" else class_title(structure.index)
