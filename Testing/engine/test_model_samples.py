"""Sample CTs are fetched once, with consent, and checked; everything lies in a home folder without a version."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from runpy import run_path

import pytest

from GenesisSegmentLib.core.errors import ConsentError, InputError, NetworkError
from GenesisSegmentLib.core.home import data_home
from GenesisSegmentLib.core.jobs import Job
from GenesisSegmentLib.engine.models.samples import DEFAULT_SAMPLE, SAMPLE_DATA_PAGE, SAMPLES, SampleStore
from GenesisSegmentLib.engine.models.store import ModelStore

# Test modules are imported by path, and so is what they share.
FileServer = run_path(str(Path(__file__).parents[1] / "local_file_server.py"))["FileServer"]
CONTENT = bytes(range(256)) * 400


@pytest.fixture
def server():
    with FileServer(CONTENT) as server:
        yield server


@pytest.fixture
def samples(tmp_path, server):
    sample = SAMPLES[DEFAULT_SAMPLE]
    remote = replace(sample.remote, url=server.url("x"), sha256=hashlib.sha256(CONTENT).hexdigest())
    return SampleStore(tmp_path / "samples", {sample.id: replace(sample, remote=remote)})


def test_the_default_sample_is_the_registered_liver_ct():
    remote = SAMPLES[DEFAULT_SAMPLE].remote
    assert remote.file == "CTLiver.nrrd"
    assert remote.sha256 == "e16eae0ae6fefa858c5c11e58f0f1bb81834d81b7102e021571056324ef6f37e"
    assert remote.url.endswith(f"/SHA256/{remote.sha256}")


def test_a_sample_is_fetched_once_with_its_unknown_licence_shown(samples, server):
    offers = []
    assert samples.find() is None
    path = samples.fetch(lambda offer: offers.append(offer) or True, Job())
    assert path.read_bytes() == CONTENT
    assert samples.find() == samples.fetch(lambda offer: False, Job()) == path
    assert len(server.requests) == 1
    (offer,) = offers
    assert offer.licence.name == "not known"
    assert offer.licence.url == SAMPLE_DATA_PAGE


def test_without_consent_no_sample_is_requested(samples, server):
    with pytest.raises(ConsentError):
        samples.fetch(lambda offer: False, Job())
    assert server.requests == []


def test_a_sample_that_differs_from_its_checksum_is_refused(samples, server):
    server.content = CONTENT[::-1]
    with pytest.raises(NetworkError, match="SHA-256"):
        samples.fetch(lambda offer: True, Job())
    assert samples.find() is None


def test_an_unknown_sample_is_told(samples):
    with pytest.raises(InputError, match="There is no sample"):
        samples.find("CTBrain")


def test_the_home_folder_has_no_version_and_can_be_chosen(monkeypatch, tmp_path):
    monkeypatch.delenv("GENESIS_SEGMENT_HOME", raising=False)
    assert data_home().name == "GenesisSegment"
    monkeypatch.setenv("GENESIS_SEGMENT_HOME", str(tmp_path))
    assert data_home() == tmp_path
    assert ModelStore.of_this_person().folder == tmp_path / "models"
