"""Colours for thin outlines on a grey picture: every class told apart from every other and from any grey.

The colours of the class table are those of anatomical atlases, made for solid surfaces: many organs share nearly one
colour. These keep what is customary (arteries red, veins blue, liver brown) as far as 32 colours can differ by at least
12 units of CIEDE2000 (CIE 142-2001; 2 are just noticeable side by side), found by simulated annealing. Partners of a
pair are of one family.
"""

from __future__ import annotations

from ..core.classes import own_color

OUTLINES = {
    1: "#b468fa",  # spleen
    2: "#ff4a95",  # kidney_right
    3: "#ffa4ce",  # kidney_left
    4: "#77cd74",  # gall_bladder
    5: "#d69e6b",  # esophagus
    6: "#d06c07",  # liver
    7: "#cfac40",  # stomach
    8: "#f30006",  # aorta
    9: "#1d64ff",  # postcava
    10: "#09afff",  # portal_vein_and_splenic_vein
    11: "#ffde34",  # pancreas
    12: "#ff9791",  # adrenal_gland_right
    13: "#ce8290",  # adrenal_gland_left
    14: "#fff4c2",  # duodenum
    15: "#828cff",  # hepatic_vessel
    16: "#39ede8",  # lung_right
    17: "#00ff9e",  # lung_left
    18: "#ff8553",  # colon
    19: "#ffd1b1",  # intestine
    20: "#cd675a",  # rectum
    21: "#d3ffa5",  # bladder
    22: "#d79bff",  # prostate
    23: "#b9ffdc",  # femur_left
    24: "#0dcda2",  # femur_right
    25: "#d71243",  # celiac_trunk
    26: "#e1ff00",  # kidney_tumor
    27: "#79fc22",  # liver_tumor
    28: "#f923d9",  # pancreas_tumor
    29: "#952efc",  # hepatic_vessel_tumor
    30: "#b2dfff",  # lung_tumor
    31: "#ffa500",  # colon_tumor
    32: "#c7cd70",  # kidney_cyst
}
"""sRGB by class index."""


def line_color(index: int) -> tuple[float, float, float]:
    """The colour of a class in 0..1; structures of one's own keep the colour that they have everywhere."""
    r, g, b = bytes.fromhex(OUTLINES[index].removeprefix("#")) if index in OUTLINES else own_color(index)
    return r / 255, g / 255, b / 255
