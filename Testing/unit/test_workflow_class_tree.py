"""The tree of classes: groups, search, ticks, and what the model does not offer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from GenesisSegmentLib.core.classes import all_classes, class_table, find_classes
from GenesisSegmentLib.core.workflow.class_tree import class_tree, groups

STARTER = (1, 2, 3, 6, 8, 16, 17)


def leaves(tree) -> set[str]:
    return {child.text for group in tree for child in group.children}


def group(tree, text):
    return next(row for row in tree if row.text == text)


def test_groups_are_those_of_the_class_table_each_once():
    tree = class_tree(all_classes(), all_classes())
    assert [row.text for row in tree] == [
        *("All organs", "All lesions", "Kidneys", "Lungs", "Adrenal glands", "Femoral heads", "Vessels", "Bowel"),
        *("Digestive tract", "Tumors", "Pelvis"),
    ]
    for entry in groups():
        assert entry.classes == find_classes([entry.key])
    assert len(group(tree, "All organs").children) == 25
    assert len(group(tree, "All lesions").children) == 7


def test_keys_are_unique():
    tree = class_tree(all_classes(), ())
    keys = [row.key for row in tree] + [child.key for row in tree for child in row.children]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize(("wanted", "check"), [((), "off"), ((2,), "some"), ((2, 3), "on"), ((2, 3, 6), "on")])
def test_tick_of_a_group(wanted, check):
    assert group(class_tree(all_classes(), wanted), "Kidneys").check == check


def test_group_counts_only_what_the_model_offers():
    tree = class_tree(STARTER, STARTER)
    organs = group(tree, "All organs")
    assert (organs.classes, organs.check, organs.is_enabled) == (STARTER, "on", True)
    adrenals = group(tree, "Adrenal glands")
    assert (adrenals.classes, adrenals.check, adrenals.is_enabled) == ((), "off", False)
    assert adrenals.tip == "Not offered by this model."
    aorta, portal = (next(c for c in organs.children if c.text.startswith(name)) for name in ("Aorta", "Portal"))
    assert (aorta.is_enabled, aorta.check, aorta.color) == (True, "on", class_table()[8].color)
    assert (portal.is_enabled, portal.tip) == (False, "Not offered by this model.")


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("liver", {"Liver", "Liver Tumor", "Hepatic Vessel"}),
        ("LIV", {"Liver", "Liver Tumor", "Hepatic Vessel"}),
        ("lívér", {"Liver", "Liver Tumor", "Hepatic Vessel"}),
        ("kidney right", {"Right Kidney"}),
        ("ri kid", {"Right Kidney"}),
        ("ivc", {"Postcava"}),
        ("oesoph", {"Esophagus"}),
        ("gall_bladder", {"Gall Bladder"}),
        ("small bowel", {"Intestine"}),
        ("idney", set()),
        ("xyz", set()),
    ],
)
def test_search_by_name_slug_and_synonym(search, found):
    assert leaves(class_tree(all_classes(), (), search)) == found


def test_search_for_a_group_shows_all_of_it():
    tree = class_tree(all_classes(), (), "adrenals")
    assert [row.text for row in tree] == ["Adrenal glands"]
    assert leaves(tree) == {"Right Adrenal Gland", "Left Adrenal Gland"}


def test_ticking_a_group_that_was_searched_ticks_what_is_seen():
    organs = group(class_tree(all_classes(), (), "kidney"), "All organs")
    assert organs.classes == (2, 3)


def test_while_busy_nothing_can_be_ticked():
    tree = class_tree(all_classes(), all_classes(), busy="Wait.")
    rows = [row for entry in tree for row in (entry, *entry.children)]
    assert {(row.is_enabled, row.tip) for row in rows} == {(False, "Wait.")}


@given(st.text(max_size=12))
def test_no_search_fails_and_every_line_shown_holds_a_class(search):
    for row in class_tree(all_classes(), (), search):
        assert row.children
