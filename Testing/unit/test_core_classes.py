from __future__ import annotations

import json
from collections import defaultdict

import pytest

from GenesisSegmentLib.core.classes import all_classes, class_table, find_classes
from GenesisSegmentLib.core.errors import InputError
from GenesisSegmentLib.core.resources import resource

ORGANS, LESIONS = tuple(range(1, 26)), tuple(range(26, 33))
DOCUMENT = json.loads(resource("GenesisSegmentClasses.json").read_text(encoding="utf-8"))


def spoken(word: str) -> str:
    return word.lower().replace("_", " ")


def test_table_holds_25_organs_and_7_lesions_in_ascending_order():
    assert all_classes() == (*ORGANS, *LESIONS)
    assert tuple(c.index for c in class_table().values() if not c.is_lesion) == ORGANS
    assert {c.kind for c in class_table().values()} == {"organ", "lesion"}


def test_slugs_names_and_colours_are_distinct():
    table = class_table().values()
    for attribute in ("slug", "name", "color"):
        assert len({getattr(c, attribute) for c in table}) == len(table), attribute
    assert all(c.slug.isidentifier() and c.slug.islower() for c in table)
    assert all(len(c.color) == 3 and all(0 <= part <= 255 for part in c.color) for c in table)


def test_every_class_has_complete_codes():
    for c in class_table().values():
        codes = [c.category, c.type, *(code for code in (c.modifier, c.region) if code)]
        assert all(code.scheme and code.value and code.meaning for code in codes), c.slug


def test_left_and_right_are_told_apart_by_the_laterality_code():
    for c in class_table().values():
        side = next((s for s in ("right", "left") if c.slug.endswith(s)), None)
        if side:
            assert c.modifier is not None, c.slug
            assert side in c.modifier.meaning.lower()
            assert side in c.name.lower()
        elif c.modifier is not None:
            assert "right" not in c.modifier.meaning.lower()
            assert "left" not in c.modifier.meaning.lower()


def test_lesions_lie_in_organs_and_organs_in_nothing():
    for c in class_table().values():
        assert bool(c.hosts) == c.is_lesion, c.slug
        assert set(c.hosts) <= set(ORGANS)


def test_no_word_means_two_things():
    meanings = defaultdict(set)
    for c in class_table().values():
        for word in (c.name, c.slug, *c.synonyms):
            meanings[spoken(word)].add(c.slug)
    for group, members in DOCUMENT["groups"].items():
        meanings[spoken(group)].add(f"group of {members}")
    for group in ("all", "organs", "lesions"):
        meanings[group].add(f"group {group}")
    assert {word: found for word, found in meanings.items() if len(found) > 1} == {}


def test_groups_name_known_classes():
    for group, members in DOCUMENT["groups"].items():
        assert members
        assert set(members) <= set(all_classes()), group


@pytest.mark.parametrize("c", class_table().values(), ids=lambda c: c.slug)
def test_class_is_found_by_slug_name_number_and_synonym(c):
    for word in (c.slug, c.name, str(c.index), *c.synonyms):
        assert find_classes([word]) == (c.index,), word


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["kidneys"], (2, 3)),
        (["lungs", "Lung_Right"], (16, 17)),
        (["  LIVER ", "spleen"], (1, 6)),
        (["gall-bladder", "gall bladder", "GALL_BLADDER"], (4,)),
        (["IVC", "oesophagus"], (5, 9)),
        (["organs"], ORGANS),
        (["lesions"], LESIONS),
        (["all", "liver"], (*ORGANS, *LESIONS)),
        (["tumours"], (26, 27, 28, 29, 30, 31)),
        ([], ()),
    ],
)
def test_names_groups_and_numbers_give_ascending_indices_once_each(names, expected):
    assert find_classes(names) == expected


@pytest.mark.parametrize("name", ["heart", "", "0", "33", "liver,spleen"])
def test_unknown_name_is_refused_with_the_choice(name):
    with pytest.raises(InputError) as caught:
        find_classes(["liver", name])
    assert f'"{name}"' in caught.value.what
    assert "spleen" in caught.value.remedy
    assert "kidneys" in caught.value.remedy


def test_class_that_the_model_does_not_offer_is_refused_by_name():
    assert find_classes(["liver"], offered=(1, 6)) == (6,)
    with pytest.raises(InputError) as caught:
        find_classes(["liver", "kidneys"], offered=(1, 2, 6))
    assert caught.value.what == "The model does not offer: kidney_left."
    assert caught.value.remedy == "It offers: spleen, kidney_right, liver."
