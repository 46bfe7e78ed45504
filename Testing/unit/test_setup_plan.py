"""What the engine needs inside Slicer: found from metadata alone, and never at the cost of Slicer's own packages."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from GenesisSegmentLib.core import setup_plan
from GenesisSegmentLib.core.setup_plan import check, constraints_text, plan, requirement_files
from GenesisSegmentLib.core.versions import normalized, satisfies, split_requirement
from GenesisSegmentLib.worker.packages import REQUIREMENTS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
MUCH = 100 * 10**9
SLICER = {
    "numpy": "2.4.6",
    "scipy": "1.17.1",
    "SimpleITK": "2.5.5",
    "requests": "2.34.2",
    "pydicom": "3.0.2",
    "highdicom": "0.27.0",
    "packaging": "26.2",
    "pip": "26.1.1",
}
SMALL = {
    "connected-components-3d": "4.1.1",
    "filelock": "4.2",
    "jsonschema": "4.26",
    "numba": "0.61.2",
    "psutil": "7.2",
    "onnxruntime": "1.22.0",
}
LEARN = {"SQLAlchemy": "2.1.9", "alembic": "1.20", "lightning-fabric": "2.6", "onnx": "1.20", "tensorboardX": "2.6"}
LARGE = {"torch": "2.8.0+cu128", "monai": "1.6.1", "einops": "0.8"}


def report(road: str, installed: dict[str, str], free: int = MUCH):
    return check(road, installed.get, free)


def names(packages) -> set[str]:
    return {split_requirement(package.requirement)[0] for package in packages}


def test_fresh_slicer_needs_the_small_packages_for_the_starter():
    found = report("onnx", SLICER)
    assert names(found.missing) == set(SMALL)
    assert set(plan(found).pip) == {p.requirement for p in found.missing}
    assert plan(found).torch is None
    assert found.obstacles == found.warnings == ()
    assert 20 < sum(p.download_mb for p in found.missing) < 100


def test_large_models_need_torch_through_its_extension_and_no_onnxruntime():
    found = report("torch", SLICER)
    assert names(found.missing) == (set(SMALL) - {"onnxruntime"}) | set(LARGE)
    assert plan(found).torch == ">=2.8,!=2.9.*"
    assert not any(line.startswith("torch") for line in plan(found).pip)


@pytest.mark.parametrize(
    ("road", "more"), [("onnx", SMALL), ("torch", {**SMALL, **LARGE}), ("learn", {**SMALL, **LARGE, **LEARN})]
)
def test_nothing_is_missing_once_everything_is_there(road, more):
    found = report(road, {**SLICER, **more})
    assert (found.missing, plan(found).pip, plan(found).torch) == ((), (), None)
    assert all(p.is_good and p.installed and p.download_mb == 0 for p in found.packages)


def test_packages_say_what_they_are_for_and_under_which_licence():
    for package in (*report("onnx", {}).packages, *report("torch", {}).packages, *report("learn", {}).packages):
        assert package.reason
        assert package.licence
        assert package.download_mb > 0


@pytest.mark.parametrize("name", ["numpy", "scipy", "SimpleITK"])
@pytest.mark.parametrize("version", [None, "0.9"])
def test_what_belongs_to_slicer_is_never_installed_or_replaced(name, version):
    installed = {**SLICER, name: version}
    found = report("onnx", {key: value for key, value in installed.items() if value})
    assert name in names(found.missing)
    assert not [line for line in plan(found).pip if split_requirement(line)[0] == name]
    assert any(name in sentence and "newer Slicer" in sentence for sentence in found.obstacles)


def test_what_slicer_has_in_another_version_is_not_replaced_either():
    found = report("onnx", {**SLICER, **SMALL, "requests": "2.20.0"})
    assert plan(found).pip == ()
    assert "requests" in found.obstacles[0]


@pytest.mark.parametrize("version", ["2.7.1", "2.9.0", "2.9.1+cu128"])
def test_torch_that_does_not_fit_is_not_replaced_but_explained(version):
    found = report("torch", {**SLICER, **SMALL, **LARGE, "torch": version})
    assert plan(found).torch is None
    assert not any(line.startswith("torch") for line in plan(found).pip)
    (sentence,) = found.obstacles
    assert version in sentence
    assert "starter" in sentence


@pytest.mark.parametrize(
    ("numpy", "torch", "is_pair"),
    [("2.0.2", "2.2.2", True), ("2.4.6", "1.13.1", True), ("1.26.4", "2.2.2", False), ("2.0.2", "2.3.0", False)],
)
def test_numpy_2_with_an_old_torch_is_recognised(numpy, torch, is_pair):
    (sentence,) = report("torch", {**SLICER, **SMALL, **LARGE, "numpy": numpy, "torch": torch}).obstacles
    assert (f"does not work with NumPy {numpy}" in sentence) is is_pair
    assert report("onnx", {**SLICER, **SMALL, "numpy": numpy, "torch": torch}).obstacles == ()


def test_both_kinds_of_onnxruntime_are_warned_of():
    both = {**SLICER, **SMALL, "onnxruntime-gpu": "1.22.0"}
    (warning,) = report("onnx", both).warnings
    assert "overwrite each other" in warning
    alone = {key: value for key, value in both.items() if key != "onnxruntime"}
    assert report("onnx", alone).missing == report("onnx", alone).warnings == ()


@pytest.mark.parametrize(
    ("road", "free", "is_short"), [("onnx", 2e9, False), ("onnx", 5e8, True), ("torch", 2e9, True)]
)
def test_full_disk_is_found_before_anything_is_installed(road, free, is_short):
    obstacles = report(road, SLICER, int(free)).obstacles
    assert any("Free some space" in sentence for sentence in obstacles) is is_short


def test_full_disk_does_not_matter_once_everything_is_there():
    assert report("onnx", {**SLICER, **SMALL}, 0).obstacles == ()


def test_constraints_hold_slicers_packages_where_they_are():
    lines = constraints_text({**SLICER, "torch": "2.8.0+cu128"}.get).splitlines()
    held = {Requirement(line).name: str(Requirement(line).specifier) for line in lines}
    assert held["numpy"] == "==2.4.6"
    assert held["SimpleITK"] == "==2.5.5"
    assert held["torch"] == "==2.8.0+cu128"
    assert held["monai"] == ">=1.5"
    assert len(held) == len(lines)


def test_constraints_keep_torch_in_its_range_where_there_is_none():
    assert "torch>=2.8,!=2.9.*" in constraints_text(SLICER.get).splitlines()


def test_files_of_the_resources_agree_with_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    dependencies = [*project["dependencies"], *project["optional-dependencies"]["learn"]]
    for name, text in requirement_files(dependencies).items():
        assert (ROOT / "Resources" / name).read_text(encoding="utf-8") == text, "run scripts/update_requirements"


def test_worker_asks_for_the_same_ranges():
    ours = {
        split_requirement(p.requirement)[0]: p.requirement for road in ("onnx", "torch") for p in check(road).packages
    }
    theirs = {requirement.names[0]: requirement for requirement in REQUIREMENTS}
    shared = ours.keys() & theirs.keys()
    assert shared >= {*SMALL, "torch", "monai", "numpy"}
    for name in shared:
        excluded = f",!={theirs[name].excluded}.*" if theirs[name].excluded else ""
        assert ours[name] == f"{name}>={theirs[name].least}{excluded}"


def test_learning_needs_more_than_segmenting():
    here = {**SLICER, **SMALL, **LARGE}
    assert names(report("learn", here).missing) == set(LEARN)
    assert report("torch", here).missing == ()


def test_pip_gets_neither_torch_nor_what_belongs_to_slicer():
    lines = (ROOT / "Resources" / "requirements.txt").read_text(encoding="utf-8").splitlines()
    wanted = {normalized(Requirement(line).name) for line in lines if not line.startswith("#")}
    assert not wanted & {"torch", "torchvision", "numpy", "scipy", "simpleitk"}
    assert not any("==" in line for line in lines)


def test_check_of_this_python_imports_nothing_heavy():
    code = (
        "import sys; from GenesisSegmentLib.core.setup_plan import check; check('torch'); check('onnx');"
        "print(*(m for m in ('torch', 'monai', 'onnxruntime', 'scipy', 'SimpleITK') if m in sys.modules))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "GenesisSegment")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


def test_check_of_this_python_finds_what_is_installed():
    here = {split_requirement(p.requirement)[0]: p.installed for p in check("torch").packages}
    assert here["numpy"] == setup_plan.installed_version("numpy")
    assert setup_plan.installed_version("surely-not-installed-anywhere") is None


# --- Versions ---------------------------------------------------------------------------------------------------------

numbers = st.lists(st.integers(0, 12), min_size=1, max_size=4).map(lambda parts: ".".join(map(str, parts)))
clauses = st.one_of(
    st.tuples(st.sampled_from([">=", "<=", "==", "!=", ">", "<"]), numbers).map("".join),
    st.tuples(st.sampled_from(["==", "!="]), numbers).map(lambda pair: f"{pair[0]}{pair[1]}.*"),
)


@given(numbers, st.lists(clauses, max_size=3).map(",".join))
def test_ranges_mean_what_packaging_says(version, specifier):
    assert satisfies(version, specifier) is SpecifierSet(specifier).contains(version)


@pytest.mark.parametrize(
    ("version", "specifier", "is_in"),
    [
        ("2.8.0+cu128", ">=2.8,!=2.9.*", True),
        ("2.8.0rc1", ">=2.8", False),
        ("2.8.0.dev20250801", ">=2.8", False),
        ("2.9.0a0+git", "!=2.9.*", False),
        ("2.8.post1", ">=2.8", True),
        ("unknown", ">=1", False),
    ],
)
def test_versions_as_wheels_have_them(version, specifier, is_in):
    assert satisfies(version, specifier) is is_in


def test_range_that_is_not_known_is_an_error():
    with pytest.raises(ValueError, match="not a range"):
        satisfies("1.0", "~=1.0")
