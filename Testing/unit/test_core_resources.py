from __future__ import annotations

from pathlib import Path

import pytest

from GenesisSegmentLib.core.errors import GenesisError
from GenesisSegmentLib.core.resources import candidates, resource

LAYOUTS = {
    "wheel": ("site-packages/GenesisSegmentLib", "site-packages/GenesisSegmentLib/Resources"),
    "Slicer": ("qt-scripted-modules/GenesisSegmentLib", "qt-scripted-modules/Resources"),
    "checkout": ("GenesisSegment/GenesisSegmentLib", "Resources"),
}


def make(root: Path, library: str, resources: str) -> tuple[Path, Path]:
    (root / library).mkdir(parents=True)
    (root / resources / "Models").mkdir(parents=True)
    (root / resources / "GenesisSegmentClasses.json").write_text("{}", encoding="utf-8")
    return root / library, root / resources


@pytest.mark.parametrize("layout", LAYOUTS)
def test_resources_are_found_in_each_layout(tmp_path, layout):
    library, resources = make(tmp_path, *LAYOUTS[layout])
    assert resource(library=library) == resources
    assert resource("Models/catalogue.json", library) == resources / "Models" / "catalogue.json"


def test_folder_of_another_program_beside_the_library_is_passed_over(tmp_path):
    library, resources = make(tmp_path, *LAYOUTS["checkout"])
    (library / "Resources").mkdir()
    (library.parent / "Resources").mkdir()
    assert resource(library=library) == resources


def test_incomplete_installation_says_so(tmp_path):
    with pytest.raises(GenesisError, match="were not found") as caught:
        resource("GenesisSegmentClasses.json", tmp_path / "GenesisSegmentLib")
    assert caught.value.remedy == "Install GenesisSegment again."


def test_resources_of_this_checkout_are_those_at_its_top():
    top = Path(__file__).resolve().parents[2] / "Resources"
    assert resource().resolve() == top
    assert top in [folder.resolve() for folder in candidates(top.parent / "GenesisSegment" / "GenesisSegmentLib")]
