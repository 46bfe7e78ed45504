"""Our terminology files: they agree with the class table, and Slicer's own logic understands them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import slicer
import vtk

from GenesisSegmentLib.core.classes import class_table
from GenesisSegmentLib.core.errors import GenesisError
from GenesisSegmentLib.core.terminology import CATEGORY_CONTEXT, REGION_CONTEXT, terminology_entry
from GenesisSegmentLib.mrml import terminology

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "update_terminology"


@pytest.fixture(scope="module")
def logic(bench):
    loaded = bench.logics["Terminologies"]
    terminology.load_terminology(loaded)
    return loaded


def names(getter):
    found = vtk.vtkStringArray()
    getter(found)
    return [found.GetValue(n) for n in range(found.GetNumberOfValues())]


def test_files_agree_with_the_class_table():
    done = subprocess.run([sys.executable, str(SCRIPT), "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_slicer_loads_both_contexts_under_the_names_that_entries_use(logic):
    assert CATEGORY_CONTEXT in names(logic.GetLoadedTerminologyNames)
    assert REGION_CONTEXT in names(logic.GetLoadedRegionContextNames)


@pytest.mark.parametrize("index", class_table())
def test_entry_of_every_class_is_found_in_the_loaded_terminology(logic, index):
    structure = class_table()[index]
    entry = slicer.vtkSlicerTerminologyEntry()
    assert logic.DeserializeTerminologyEntry(terminology_entry(structure), entry)
    category, kind = slicer.vtkSlicerTerminologyCategory(), slicer.vtkSlicerTerminologyType()
    assert any(
        logic.GetNthCategoryInTerminology(CATEGORY_CONTEXT, n, category)
        and category.GetCodeValue() == structure.category.value
        for n in range(logic.GetNumberOfCategoriesInTerminology(CATEGORY_CONTEXT))
    )
    assert any(
        logic.GetNthTypeInTerminologyCategory(CATEGORY_CONTEXT, category, n, kind)
        and kind.GetCodeValue() == structure.type.value
        for n in range(logic.GetNumberOfTypesInTerminologyCategory(CATEGORY_CONTEXT, category))
    )
    assert kind.GetCodeMeaning() == structure.type.meaning
    assert entry.GetTypeObject().GetCodeValue() == structure.type.value
    if structure.modifier:
        sides = slicer.vtkSlicerTerminologyType()
        assert any(
            logic.GetNthTypeModifierInTerminologyType(CATEGORY_CONTEXT, category, kind, n, sides)
            and (sides.GetCodeValue(), sides.GetRecommendedDisplayRGBValue())
            == (structure.modifier.value, structure.color)
            for n in range(logic.GetNumberOfTypeModifiersInTerminologyType(CATEGORY_CONTEXT, category, kind))
        )
    if structure.region:
        regions = slicer.vtkSlicerTerminologyType()
        assert any(
            logic.GetNthRegionInRegionContext(REGION_CONTEXT, n, regions)
            and regions.GetCodeValue() == structure.region.value
            for n in range(logic.GetNumberOfRegionsInRegionContext(REGION_CONTEXT))
        )


def test_entry_survives_slicers_own_writing(logic):
    for structure in class_table().values():
        entry = slicer.vtkSlicerTerminologyEntry()
        logic.DeserializeTerminologyEntry(terminology_entry(structure), entry)
        assert logic.SerializeTerminologyEntry(entry) == terminology_entry(structure)


def test_loading_twice_does_no_harm(logic):
    terminology.load_terminology(logic)
    assert names(logic.GetLoadedTerminologyNames).count(CATEGORY_CONTEXT) == 1


def test_damaged_file_is_said(bench, monkeypatch, tmp_path):
    from bench.mrml_app import quiet

    (tmp_path / "broken.json").write_text("{")
    monkeypatch.setattr(terminology, "resource", lambda _name: tmp_path / "broken.json")
    with quiet(), pytest.raises(GenesisError, match="could not be loaded"):
        terminology.load_terminology(bench.logics["Terminologies"])
