"""The store fetches once and with consent, trusts a file only after a look into it, and finds damage."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from runpy import run_path

import pytest

from GenesisSegmentLib.core.errors import Cancelled, ConsentError, ModelError, NetworkError, OutputError
from GenesisSegmentLib.core.jobs import Job
from GenesisSegmentLib.engine.models.cache import FileCache
from GenesisSegmentLib.engine.models.catalogue import Catalogue, load_catalogue
from GenesisSegmentLib.engine.models.offer import Offer
from GenesisSegmentLib.engine.models.store import ModelStore

# Test modules are imported by path, and so is what they share.
FileServer = run_path(str(Path(__file__).parents[1] / "local_file_server.py"))["FileServer"]
CONTENT = b"universal_unet 32 " + b"".join(hashlib.sha256(str(n).encode()).digest() for n in range(4096))
NAME = "universal_unet"
FILE = "clip_driven_universal_unet.pth"


@dataclass(frozen=True)
class StandInCheckpoint:
    """What a stand-in file says of itself in its first words: network and number of outputs."""

    architecture: str
    sha256: str
    options: dict = field(default_factory=dict)


def read_stand_in(path: Path) -> StandInCheckpoint:
    words = (content := path.read_bytes())[:64].split()
    if len(words) < 2 or not words[1].isdigit():
        raise ModelError(f"{path} is not a checkpoint.")
    return StandInCheckpoint(words[0].decode(), hashlib.sha256(content).hexdigest(), {"classes": int(words[1])})


class Person:
    """Answers every offer in the same way and remembers what was shown."""

    def __init__(self, agrees: bool = True) -> None:
        self.agrees = agrees
        self.offers: list[Offer] = []

    def __call__(self, offer: Offer) -> bool:
        self.offers.append(offer)
        return self.agrees


@pytest.fixture
def server():
    with FileServer(CONTENT) as server:
        yield server


@pytest.fixture
def catalogue(server):
    """The real catalogue with the files at the local host."""
    return Catalogue(
        [
            entry if entry.is_bundled else replace(entry, source=replace(entry.source, url=server.url(entry.id)))
            for entry in load_catalogue()
        ]
    )


@pytest.fixture
def store(tmp_path, catalogue):
    return ModelStore(tmp_path / "home" / "models", catalogue, read_stand_in)


def with_checksum(store: ModelStore, sha256: str) -> ModelStore:
    entries = [
        replace(entry, source=replace(entry.source, sha256=sha256)) if entry.id == NAME else entry
        for entry in store.catalogue
    ]
    return ModelStore(store.folder, Catalogue(entries), read_stand_in)


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.endswith(".lock")}


def test_a_download_is_recorded_and_found_by_the_next_program(store, server, catalogue):
    path = store.download(NAME, Person(), Job())
    assert path.read_bytes() == CONTENT
    assert store.status(NAME) == "installed"
    assert files_in(store.folder) == {FILE, f"{FILE}.json"}
    record = json.loads((store.folder / f"{FILE}.json").read_text())
    assert record["sha256"] == hashlib.sha256(CONTENT).hexdigest() == store.sha256(NAME)
    assert record["size_bytes"] == len(CONTENT) == store.size_bytes(NAME)
    assert record["origin"] == server.url(NAME)
    again = ModelStore(store.folder, catalogue, read_stand_in)
    assert again.path_of(NAME) == path


def test_the_second_run_makes_no_request_and_asks_nothing(store, server):
    store.download(NAME, Person(), Job())
    person = Person()
    assert store.download(NAME, person, Job()) == store.path_of(NAME)
    assert len(server.requests) == 1
    assert person.offers == []


def test_the_person_sees_address_size_and_licence_before_anything_happens(store, server):
    seen = []

    def consent(offer):
        seen.append((len(server.requests), offer))
        return True

    store.download(NAME, consent, Job())
    ((requests_before, offer),) = seen
    assert requests_before == 0
    assert offer.remote.url == server.url(NAME)
    assert offer.remote.size_bytes is None
    assert offer.licence.name == "CC BY-NC-ND 4.0"


def test_without_consent_nothing_is_requested_or_written(store, server):
    with pytest.raises(ConsentError, match="Nothing was downloaded"):
        store.download(NAME, Person(agrees=False), Job())
    assert server.requests == []
    assert not store.folder.exists()


def test_a_refused_download_tells_how_to_import_by_hand(store, server):
    server.status = 403
    with pytest.raises(NetworkError) as caught:
        store.download(NAME, Person(), Job())
    assert "Log in at https://huggingface.co/ljwztc/CLIP-Driven-Universal-Model" in caught.value.remedy
    assert f"genesis-segment models import {NAME} FILE" in caught.value.remedy


def test_a_cancelled_download_goes_on_next_time(store, server):
    job = Job(lambda progress: job.cancel())
    with pytest.raises(Cancelled):
        store.download(NAME, Person(), job)
    assert store.status(NAME) == "missing"
    kept = (store.folder / f"{FILE}.part").stat().st_size
    store.download(NAME, Person(), Job())
    assert server.requests[1]["Range"] == f"bytes={kept}-"
    assert store.path_of(NAME).read_bytes() == CONTENT


def test_a_wrong_checksum_is_refused_and_nothing_of_it_is_kept(store, server):
    store = with_checksum(store, "0" * 64)
    with pytest.raises(NetworkError, match="SHA-256 differs from the published one"):
        store.download(NAME, Person(), Job())
    assert store.status(NAME) == "missing"
    assert files_in(store.folder) == set()


def test_a_right_checksum_is_accepted(store):
    store = with_checksum(store, hashlib.sha256(CONTENT).hexdigest())
    store.download(NAME, Person(), Job())
    assert store.verify(NAME) == "installed"


@pytest.mark.parametrize("content", [b"no checkpoint at all", b"suprem_segresnet 25 ...", b"universal_unet 25 ..."])
def test_a_file_that_is_not_the_model_is_not_installed(store, server, content):
    server.content = content
    with pytest.raises(ModelError):
        store.download(NAME, Person(), Job())
    assert store.status(NAME) == "missing"
    assert files_in(store.folder) == set()


def test_damage_is_found_told_and_mended_by_another_download(store, server):
    path = store.download(NAME, Person(), Job())
    path.write_bytes(CONTENT[:-1] + b"?")
    assert store.status(NAME) == "installed"  # the quick look sees only the size
    assert store.verify(NAME) == "damaged"
    with pytest.raises(ModelError, match=f"is damaged.*models download {NAME}"):
        store.path_of(NAME)
    store.download(NAME, Person(), Job())
    assert store.path_of(NAME).read_bytes() == CONTENT


def test_a_truncated_file_is_seen_at_a_glance(store):
    path = store.download(NAME, Person(), Job())
    path.write_bytes(CONTENT[:100])
    assert store.status(NAME) == "damaged"


def test_a_file_that_changed_at_the_host_is_not_trusted_again_by_itself(store, server):
    store.download(NAME, Person(), Job()).unlink()
    server.content, server.etag = CONTENT + b"changed", '"two"'
    with pytest.raises(NetworkError, match="not the file that was recorded on this machine before"):
        store.download(NAME, Person(), Job())
    assert store.status(NAME) == "missing"
    assert store.remove(NAME)
    store.download(NAME, Person(), Job())
    assert store.sha256(NAME) == hashlib.sha256(server.content).hexdigest()


def test_a_missing_model_is_told_with_the_way_to_get_it(store):
    with pytest.raises(ModelError, match=f"not installed.*models download {NAME}"):
        store.path_of(NAME)


def test_a_file_is_imported_and_then_checked(store, server, tmp_path):
    brought = tmp_path / "from a stick.bin"
    brought.write_bytes(CONTENT)
    path = store.import_file(NAME, brought)
    assert path == store.path_of(NAME)
    assert brought.read_bytes() == path.read_bytes() == CONTENT
    assert json.loads((store.folder / f"{FILE}.json").read_text())["origin"] == "imported from from a stick.bin"
    assert files_in(store.folder) == {FILE, f"{FILE}.json"}
    assert server.requests == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"no checkpoint at all", "is not a checkpoint"),
        (b"universal_swinunetr 32 ...", "holds the network universal_swinunetr, but universal_unet has"),
        (b"universal_unet 25 ...", "has 25 outputs where universal_unet has 32"),
    ],
)
def test_a_wrong_file_is_not_imported(store, tmp_path, content, words):
    brought = tmp_path / "weights.pth"
    brought.write_bytes(content)
    with pytest.raises(ModelError, match=words):
        store.import_file(NAME, brought)
    assert store.status(NAME) == "missing"


def test_an_import_that_differs_from_the_recorded_file_is_refused(store, tmp_path):
    path = store.download(NAME, Person(), Job())
    brought = tmp_path / "weights.pth"
    brought.write_bytes(CONTENT + b"other")
    with pytest.raises(ModelError, match="SHA-256 differs"):
        store.import_file(NAME, brought)
    assert path.read_bytes() == CONTENT


def test_a_file_put_into_the_folder_by_hand_is_used_only_after_an_import(store):
    store.folder.mkdir(parents=True)
    path = store.folder / FILE
    path.write_bytes(CONTENT)
    assert store.status(NAME) == store.verify(NAME) == "unchecked"
    with pytest.raises(ModelError, match=f"models import {NAME}"):
        store.path_of(NAME)
    store.import_file(NAME, path)
    assert store.path_of(NAME).read_bytes() == CONTENT


def test_a_file_that_is_not_there_cannot_be_imported(store, tmp_path):
    with pytest.raises(ModelError, match="There is no file"):
        store.import_file(NAME, tmp_path / "nothing.pth")


def test_the_folder_can_be_carried_to_another_machine(store, catalogue, server, tmp_path):
    store.download(NAME, Person(), Job())
    store.folder.rename(tmp_path / "elsewhere")
    carried = ModelStore(tmp_path / "elsewhere", catalogue, read_stand_in)
    assert carried.path_of(NAME).read_bytes() == CONTENT
    assert len(server.requests) == 1


def test_removing_takes_file_record_and_unfinished_parts(store, server):
    assert not store.remove(NAME)
    job = Job(lambda progress: job.cancel())
    with pytest.raises(Cancelled):
        store.download(NAME, Person(), job)
    assert store.remove(NAME)
    assert files_in(store.folder) == set()
    store.download(NAME, Person(), Job())
    assert store.remove(NAME)
    assert files_in(store.folder) == set()
    assert store.sha256(NAME) is None


@pytest.mark.parametrize("act", ["offer", "remove"])
def test_what_comes_with_the_program_is_not_downloaded_or_removed(store, act):
    with pytest.raises(ModelError, match="comes with GenesisSegment"):
        getattr(store, act)("starter")


@pytest.mark.parametrize("name", ["../universal_unet", "/etc/passwd", "..", "", "a\\b"])
def test_names_that_lead_out_of_the_folder_are_refused(store, server, name, tmp_path):
    for act in (store.status, store.verify, store.path_of, store.remove, lambda n: store.download(n, Person(), Job())):
        with pytest.raises(ModelError, match="There is no model"):
            act(name)
    with pytest.raises(ModelError):
        FileCache(tmp_path).path(name or "..")
    assert server.requests == []


def test_a_folder_that_cannot_be_made_is_told(catalogue, tmp_path):
    (tmp_path / "home").write_text("a file")
    store = ModelStore(tmp_path / "home" / "models", catalogue, read_stand_in)
    with pytest.raises(OutputError):
        store.download(NAME, Person(), Job())


def test_two_processes_fetch_a_file_once(store, server):
    program = (
        "import sys; from pathlib import Path\n"
        "from GenesisSegmentLib.core.jobs import Job\n"
        "from GenesisSegmentLib.engine.models.cache import FileCache\n"
        "from GenesisSegmentLib.engine.models.offer import Licence, Offer, RemoteFile\n"
        "remote = RemoteFile('weights.pth', sys.argv[2], None, None, None)\n"
        "offer = Offer('', remote, Licence('', None, None, None, None, None, ''), '')\n"
        "cache = FileCache(Path(sys.argv[1]))\n"
        "cache.download(offer, lambda offer: True, Job())\n"
        "assert cache.verified_state(remote) == 'installed'\n"
    )
    command = [sys.executable, "-c", program, str(store.folder), server.url("weights.pth")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    server.delay_s = 1.0
    running = [subprocess.Popen(command, env=environment) for _ in range(2)]
    assert [process.wait(timeout=60) for process in running] == [0, 0]
    assert len(server.requests) == 1
    assert (store.folder / "weights.pth").read_bytes() == CONTENT


def test_waiting_for_another_process_can_be_cancelled(store, server):
    from filelock import FileLock

    store.folder.mkdir(parents=True)
    job = Job()
    job.cancel()
    with FileLock(store.folder / f".{FILE}.lock"), pytest.raises(Cancelled):
        store.download(NAME, Person(), job)
    assert server.requests == []


def test_an_installed_model_resolves_to_its_facts(store):
    store.download(NAME, Person(), Job())
    model = store.resolve(NAME)
    assert model.path == store.path_of(NAME)
    assert model.sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert model.facts == store.catalogue[NAME].facts
    assert model.licence.commercial_use is False


def test_a_file_of_the_person_is_recognised_by_its_network(store, tmp_path):
    path = tmp_path / "tuned.pth"
    path.write_bytes(b"universal_swinunetr 32 ...")
    model = store.resolve(str(path))
    assert model.name == "tuned.pth"
    assert model.facts.architecture == "universal_swinunetr"
    assert model.facts.preprocessing == store.catalogue["universal_swinunetr"].facts.preprocessing
    assert model.licence is None
    assert "licence is not known" in model.notes[0]


def test_a_published_file_outside_the_store_keeps_its_own_facts(store, tmp_path):
    path = tmp_path / "supervised_suprem_unet_2100.pth"
    path.write_bytes(b"universal_unet 32 ...")
    model = store.resolve(path)
    assert model.facts.offered == store.catalogue["supervised_suprem_unet_2100"].facts.offered
    assert model.licence.holder == "Johns Hopkins University"


def test_a_file_name_does_not_outweigh_the_network(store, tmp_path):
    path = tmp_path / "supervised_suprem_unet_2100.pth"
    path.write_bytes(b"suprem_segresnet 25 ...")
    assert store.resolve(path).facts.architecture == "suprem_segresnet"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"universal_unet 25 ...", "what they stand for is not known"),
        (b"genesis_unet3d 1 ...", "segments nothing"),
        (b"unetpp 2 ...", "no way to segment is known"),
    ],
)
def test_a_file_that_cannot_segment_is_refused(store, tmp_path, content, words):
    path = tmp_path / "own.pth"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=words):
        store.resolve(path)


def test_weights_for_initialisation_are_not_offered_for_segmentation(store):
    with pytest.raises(ModelError, match=r"segments nothing.*Choose from: starter"):
        store.resolve("genesis_chest_ct")


def test_an_onnx_file_is_described_by_the_json_beside_it(store, tmp_path):
    path = tmp_path / "own.onnx"
    path.write_bytes(b"network")
    with pytest.raises(ModelError, match=r"own\.json is missing beside it.* copy .*genesis_starter\.json there"):
        store.resolve(path)
    recipe = {"orientation": "RAS", "spacing_mm": [3, 3, 3], "intensity_hu": [-175, 250], "window": None}
    facts = {"architecture": "starter", "classes": [6], "offered": [6], "preprocessing": recipe | {"overlap": None}}
    path.with_suffix(".json").write_text(json.dumps(facts))
    model = store.resolve(path)
    assert model.facts.classes == (6,)
    assert model.sha256 == hashlib.sha256(b"network").hexdigest()


def test_a_bundled_model_is_used_with_the_facts_beside_it_and_checked(catalogue, tmp_path, monkeypatch):
    monkeypatch.setattr("GenesisSegmentLib.engine.models.store.resource", lambda file: tmp_path / Path(file).name)
    shipped = catalogue["starter"]
    starter = replace(shipped, source=replace(shipped.source, sha256=hashlib.sha256(b"network").hexdigest()))
    store = ModelStore(tmp_path / "models", Catalogue([starter]), read_stand_in)
    assert store.status("starter") == "missing"
    with pytest.raises(ModelError, match="Install GenesisSegment again"):
        store.resolve("starter")
    path = tmp_path / starter.source.file
    path.write_bytes(b"network")
    recipe = {"orientation": "RAS", "spacing_mm": [2, 2, 2], "intensity_hu": [-100, 250], "window": None}
    facts = {"architecture": "starter", "classes": [6, 1], "offered": [6], "preprocessing": recipe | {"overlap": None}}
    path.with_suffix(".json").write_text(json.dumps(facts))
    model = store.resolve("starter")
    assert store.status("starter") == "bundled"
    assert model.path == path
    assert model.sha256 == hashlib.sha256(b"network").hexdigest()
    assert model.facts.classes == (6, 1)
    assert model.facts.preprocessing.spacing_mm == (2, 2, 2)
    published = replace(starter, source=replace(starter.source, sha256="0" * 64))
    with pytest.raises(ModelError, match="is damaged"):
        ModelStore(tmp_path / "models", Catalogue([published]), read_stand_in).resolve("starter")


@pytest.mark.parametrize("name", ["nowhere/own.pth", "own.pth"])
def test_a_model_file_that_is_not_there_is_told(store, name):
    with pytest.raises(ModelError, match="There is no model file"):
        store.resolve(name)


def test_real_checkpoints_are_looked_into_before_they_are_trusted(tmp_path, catalogue):
    torch = pytest.importorskip("torch")
    from GenesisSegmentLib.engine.networks import build

    store = ModelStore(tmp_path / "models", catalogue)
    weights, page = tmp_path / "weights.pth", tmp_path / "page.pth"
    state = {f"module.{key}": value for key, value in build("suprem_segresnet").state_dict().items()}
    torch.save({"net": state, "epoch": 1}, weights)
    page.write_bytes(b"<html>sign in</html>")
    with pytest.raises(ModelError, match="holds the network suprem_segresnet"):
        store.import_file("universal_unet", weights)
    with pytest.raises(ModelError, match="not a PyTorch checkpoint"):
        store.import_file("supervised_suprem_segresnet_2100", page)
    store.import_file("supervised_suprem_segresnet_2100", weights)
    assert store.verify("supervised_suprem_segresnet_2100") == "installed"
    assert store.resolve(weights).facts.architecture == "suprem_segresnet"
