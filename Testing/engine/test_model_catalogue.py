"""The catalogue says only what is known, in a form that is checked."""

from __future__ import annotations

import json

import pytest

from GenesisSegmentLib.core.classes import class_table
from GenesisSegmentLib.core.errors import ModelError
from GenesisSegmentLib.core.resources import resource
from GenesisSegmentLib.engine.models.catalogue import load_catalogue, read_metadata

UNIVERSAL = (
    "universal_unet",
    "universal_swinunetr",
    "supervised_clip_driven_universal_unet_2100",
    "supervised_clip_driven_universal_swin_unetr_2100",
    "supervised_suprem_unet_2100",
    "supervised_suprem_swinunetr_2100",
)
_WORDS = """aorta gall_bladder kidney_left kidney_right liver pancreas postcava spleen stomach
    adrenal_gland_left adrenal_gland_right bladder celiac_trunk colon duodenum esophagus femur_left femur_right
    hepatic_vessel intestine lung_left lung_right portal_vein_and_splenic_vein prostate rectum"""
ABDOMEN_ATLAS_1_1 = _WORDS.split()
NINE_TARGETS = ABDOMEN_ATLAS_1_1[:9]


def slugs(indices) -> list[str]:
    return [class_table()[index].slug for index in indices]


@pytest.fixture
def document() -> dict:
    return json.loads(resource("Models/catalogue.json").read_text(encoding="utf-8"))


@pytest.fixture
def load(tmp_path):
    def load(document):
        path = tmp_path / "catalogue.json"
        path.write_text(json.dumps(document), encoding="utf-8")
        return load_catalogue(path)

    return load


def test_the_catalogue_names_every_model_that_is_promised():
    assert {entry.id for entry in load_catalogue()} == {
        "starter",
        *UNIVERSAL,
        "supervised_suprem_segresnet_2100",
        "genesis_chest_ct",
    }


@pytest.mark.parametrize("name", UNIVERSAL)
def test_universal_models_have_the_32_classes_in_their_own_order(name):
    assert load_catalogue()[name].facts.classes == tuple(range(1, 33))


def test_the_segresnet_has_the_order_of_abdomen_atlas():
    facts = load_catalogue()["supervised_suprem_segresnet_2100"].facts
    assert slugs(facts.classes) == ABDOMEN_ATLAS_1_1
    assert facts.offered == tuple(sorted(facts.classes))


@pytest.mark.parametrize("name", ["supervised_suprem_unet_2100", "supervised_suprem_swinunetr_2100"])
def test_suprem_models_offer_only_what_their_authors_save(name):
    assert sorted(slugs(load_catalogue()[name].facts.offered)) == sorted(NINE_TARGETS)


def test_genesis_is_for_initialisation_and_offers_no_class():
    entry = load_catalogue()["genesis_chest_ct"]
    assert entry.usable_for == "initialisation"
    assert entry.facts.classes == entry.facts.offered == ()
    assert entry.facts.preprocessing.intensity_hu == (-1000, 1000)


def test_published_models_are_prepared_as_published():
    for entry in load_catalogue():
        recipe = entry.facts.preprocessing
        if entry.usable_for == "segmentation" and not entry.is_bundled:
            assert recipe.orientation == "RAS"
            assert recipe.spacing_mm == (1.5, 1.5, 1.5)
            assert recipe.intensity_hu == (-175, 250)
            assert recipe.window == (96, 96, 96)
            assert recipe.overlap == (0.5 if entry.id in UNIVERSAL[:2] else 0.75)


def test_every_model_names_the_post_processing_of_its_own_release():
    found = {entry.id: entry.facts.published_cleaning for entry in load_catalogue() if not entry.is_bundled}
    for name, cleaning in found.items():
        assert cleaning == ("published_abdomenatlas" if name.startswith("supervised_") else "published")


def test_no_published_weights_are_said_to_be_free_for_commerce_or_clinic():
    for entry in load_catalogue():
        if not entry.is_bundled:
            assert entry.licence.commercial_use is False
            assert entry.licence.clinical_use is False
            assert entry.licence.redistribution is False


def test_a_label_of_the_host_that_contradicts_the_licence_is_told():
    """The pages that host these files label them Apache-2.0: who sees that must learn why it is not shown here."""
    for entry in load_catalogue():
        if entry.source.page and "/MrGiovanni/" in entry.source.page:
            assert "Apache-2.0" in entry.licence.summary
            assert "Apache" not in entry.licence.name


def test_published_weights_come_from_their_own_host_under_their_own_name():
    for entry in load_catalogue():
        if not entry.is_bundled:
            source = entry.source
            assert source.url == f"{source.page}/resolve/main/{source.file}"
            assert source.page.startswith("https://huggingface.co/")


def test_every_network_can_be_built_with_the_options_of_its_entry():
    from GenesisSegmentLib.engine.networks import options_of

    for entry in load_catalogue():
        known = options_of(entry.facts.architecture)
        assert set(entry.facts.options) <= set(known)
        if entry.facts.classes:
            assert entry.facts.options.get("classes", known["classes"]) == len(entry.facts.classes)


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(ModelError, match="Did you mean universal_unet"):
        load_catalogue()["universal_unett"]


def misspelt_field(document):
    document["entries"][1]["licnece"] = document["entries"][1].pop("licence")


def unknown_architecture(document):
    document["entries"][1]["architecture"] = "universal_vnet"


def class_that_does_not_exist(document):
    document["entries"][1]["classes"][-1] = 33


def same_class_twice(document):
    document["entries"][1]["classes"][-1] = 1


def short_checksum(document):
    document["entries"][1]["sha256"] = "abc"


def unprotected_address(document):
    document["entries"][1]["source"]["url"] = "http://example.org/weights.pth"


def file_in_another_folder(document):
    document["entries"][1]["source"]["file"] = "../weights.pth"


def licence_that_is_not_there(document):
    document["entries"][1]["licence"] = "mit"


def same_name_twice(document):
    document["entries"][1]["id"] = document["entries"][2]["id"]


def same_file_twice(document):
    document["entries"][1]["source"]["file"] = document["entries"][2]["source"]["file"]


def offered_class_without_channel(document):
    document["entries"][1]["classes"] = [1, 2]


def segmentation_without_grid(document):
    document["entries"][1]["preprocessing"]["spacing_mm"] = None


def initialisation_with_classes(document):
    document["entries"][-1]["classes"] = [6]


def cleaning_that_does_not_exist(document):
    document["entries"][1]["published_cleaning"] = "safe"


def silent_licence(document):
    del document["licences"]["jhu"]["commercial_use"]


@pytest.mark.parametrize(
    "spoil",
    [
        misspelt_field,
        unknown_architecture,
        class_that_does_not_exist,
        same_class_twice,
        short_checksum,
        unprotected_address,
        file_in_another_folder,
        licence_that_is_not_there,
        same_name_twice,
        same_file_twice,
        offered_class_without_channel,
        segmentation_without_grid,
        initialisation_with_classes,
        silent_licence,
        cleaning_that_does_not_exist,
    ],
)
def test_a_mistake_in_the_catalogue_is_refused(spoil, document, load):
    load(document)
    spoil(document)
    with pytest.raises(ModelError, match="is not valid at"):
        load(document)


def test_the_error_says_where_the_mistake_is(document, load):
    unknown_architecture(document)
    with pytest.raises(ModelError, match="entries/1/architecture: 'universal_vnet'"):
        load(document)


def test_a_catalogue_that_is_not_json_is_refused(tmp_path):
    path = tmp_path / "catalogue.json"
    path.write_text("{", encoding="utf-8")
    with pytest.raises(ModelError, match="not valid JSON"):
        load_catalogue(path)


def test_metadata_beside_a_model_may_say_more_but_not_less(tmp_path):
    path = tmp_path / "own.json"
    known = {
        "architecture": "starter",
        "classes": [6, 1],
        "offered": [1, 6],
        "preprocessing": {
            "orientation": "RAS",
            "spacing_mm": [3, 3, 3],
            "intensity_hu": [-175, 250],
            "window": None,
            "overlap": None,
        },
    }
    path.write_text(json.dumps(known | {"trained": "today"}), encoding="utf-8")
    facts = read_metadata(path)
    assert facts.classes == (6, 1)
    assert facts.published_cleaning == "published"
    assert facts.preprocessing.spacing_mm == (3, 3, 3)
    del known["classes"]
    path.write_text(json.dumps(known), encoding="utf-8")
    with pytest.raises(ModelError, match="'classes' is a required property"):
        read_metadata(path)


def test_the_starter_is_described_alike_in_the_catalogue_and_beside_its_file():
    metadata = resource("Models/genesis_starter.json")
    if not metadata.is_file():
        pytest.skip("the starter is not in this checkout")
    entry, facts = load_catalogue()["starter"].facts, read_metadata(metadata)
    assert (entry.classes, entry.offered, entry.preprocessing) == (facts.classes, facts.offered, facts.preprocessing)
