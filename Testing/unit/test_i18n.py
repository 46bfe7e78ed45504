from __future__ import annotations

import pytest

from GenesisSegmentLib.core import i18n


@pytest.fixture(autouse=True)
def _own_language():
    yield
    i18n.set_translator(i18n._same)


def test_text_stays_as_it_is_until_somebody_translates():
    assert i18n._("Segment") == "Segment"


def test_text_is_translated_when_it_is_asked_for():
    i18n.set_translator({"Segment": "Segmentieren"}.__getitem__)
    assert i18n._("Segment") == "Segmentieren"
