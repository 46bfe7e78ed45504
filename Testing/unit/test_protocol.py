from __future__ import annotations

import dataclasses
import json
import types
import typing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from GenesisSegmentLib.core.errors import Cancelled, InputError
from GenesisSegmentLib.core.prompts import Prompt
from GenesisSegmentLib.core.protocol import (
    COMMANDS,
    EVENTS,
    VERSION,
    Done,
    Failure,
    Heartbeat,
    Hello,
    Progress,
    Segment,
    decode,
    encode,
    new_id,
)
from GenesisSegmentLib.core.refining_messages import Refine
from GenesisSegmentLib.core.wire import LineSplitter

few = settings(max_examples=30)
TYPES = {**COMMANDS, **EVENTS}
TEXT = st.text(st.characters(), max_size=20)  # lone surrogates included: file names may hold them
INTS = st.integers(-(2**63) + 1, 2**63 - 1)
FLOATS = st.floats(-1e18, 1e18)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
POSITIONS = st.tuples(*[st.floats(-1e6, 1e6)] * 3)
PROMPTS = st.one_of(
    st.builds(Prompt, st.just("point"), st.tuples(POSITIONS), st.booleans(), st.floats(0, 100)),
    st.builds(Prompt, st.sampled_from(("scribble", "lasso")), st.lists(POSITIONS, max_size=3).map(tuple)),
    st.builds(Prompt, st.just("box"), st.tuples(*[POSITIONS] * 4), st.booleans()),
)


def values(hint: object) -> st.SearchStrategy:
    """Every value that a field declared as ``hint`` may hold."""
    plain = {str: TEXT, int: INTS, float: FLOATS, bool: st.booleans(), type(None): st.none()}
    if hint in plain:
        return plain[hint]
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return st.sampled_from(arguments)
    if origin in (types.UnionType, typing.Union):
        return st.one_of(*(values(a) for a in arguments))
    if origin is dict:
        return st.dictionaries(TEXT, values(arguments[1]), max_size=3)
    if origin is tuple and arguments[-1] is Ellipsis:
        return st.lists(values(arguments[0]), max_size=2).map(tuple)
    if origin is tuple:
        return st.tuples(*(values(a) for a in arguments))
    return instances(hint)


def instances(cls: type) -> st.SearchStrategy:
    if cls is Prompt:
        return PROMPTS
    hints = typing.get_type_hints(cls)
    return st.builds(cls, **{field.name: values(hints[field.name]) for field in dataclasses.fields(cls)})


@few
@given(st.data())
@pytest.mark.parametrize("name", sorted(TYPES))
def test_every_message_comes_back_as_it_was_sent(name, data):
    message = data.draw(instances(TYPES[name]))
    line = encode(message)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert decode(line[:-1]) == message


def test_type_of_a_message_is_unique_and_says_what_it_is():
    assert len(COMMANDS) + len(EVENTS) == len(TYPES)
    assert json.loads(encode(Hello("a"))) == {"v": VERSION, "type": "hello", "id": "a"}


@given(st.binary(max_size=200))
def test_arbitrary_bytes_never_raise(line):
    assert decode(line) is None or isinstance(decode(line), Failure)


@few
@given(st.data(), st.sampled_from(sorted(TYPES)))
def test_messages_with_wrong_fields_never_raise_and_keep_their_id(data, name):
    fields = {field.name: data.draw(JSON) for field in dataclasses.fields(TYPES[name]) if data.draw(st.booleans())}
    line = json.dumps({"v": VERSION, "type": name, **fields, "id": "job"}).encode()
    message = decode(line)
    assert message is None or message.id == "job"  # None: NaN and infinity are not JSON


@few
@given(st.data(), st.sampled_from(sorted(TYPES)))
def test_fields_of_a_newer_sender_are_left_aside(data, name):
    message = data.draw(instances(TYPES[name]))
    document = {**json.loads(encode(message)), "not known yet": data.draw(st.none() | TEXT | st.lists(INTS))}
    assert decode(json.dumps(document).encode()) == message


@few
@given(st.data(), st.integers(1, 100))
def test_line_that_was_cut_off_does_not_take_the_next_one_with_it(data, keep):
    first, second = (encode(data.draw(instances(TYPES[name]))) for name in ("result", "progress"))
    cut = first[: min(keep, len(first) - 2)]
    assert decode(cut + second) == decode(second)


@pytest.mark.parametrize("version", [VERSION + 1, 0, -1, None, "1", 1.5, True, [1]])
def test_other_version_is_refused_with_a_remedy(version):
    refusal = decode(json.dumps({"v": version, "type": "hello", "id": "job"}).encode())
    assert isinstance(refusal, Failure)
    assert (refusal.id, refusal.code) == ("job", "protocol")
    assert "version" in refusal.what
    assert refusal.remedy


@pytest.mark.parametrize("name", ["correct", "accept", "unlearn", "", None, 3, ["hello"], "x" * 1000])
def test_unknown_type_is_answered_with_an_error_of_its_own(name):
    refusal = decode(json.dumps({"v": VERSION, "type": name, "id": "job"}).encode())
    assert isinstance(refusal, Failure)
    assert (refusal.id, refusal.code) == ("job", "unknown_type")
    assert len(refusal.what) < 120


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("volume", 3),
        ("volume", None),
        ("classes", [1, "2"]),
        ("classes", [1.5]),
        ("classes", [True]),
        ("classes", 1),
        ("recipe", "quick"),
        ("overlap", "half"),
        ("overlap", 10**400),
        ("id", ["a"]),
    ],
)
def test_wrong_value_is_refused_and_the_field_named(field, value):
    document = json.loads(encode(Segment("job", "fingerprint")))
    refusal = decode(json.dumps({**document, field: value}).encode())
    assert isinstance(refusal, Failure)
    assert refusal.code == "protocol"
    assert field in refusal.what


def test_missing_field_is_refused_and_named():
    refusal = decode(b'{"v":1,"type":"segment","id":"job"}')
    assert isinstance(refusal, Failure)
    assert "volume is missing" in refusal.what


@pytest.mark.parametrize("line", [b"[" * 100_000, b'{"a":' * 50_000, b"NaN", b'{"v":NaN}', b"9" * 10_000, b"", b"null"])
def test_line_that_is_no_message_is_none(line):
    assert decode(line) is None


def test_whole_number_is_taken_for_a_fraction():
    assert decode(b'{"v":1,"type":"progress","id":"a","stage":"s","fraction":1}') == Progress("a", "s", 1.0)


def test_failure_says_what_the_error_says():
    error = InputError("There is no body.", "Choose another.")
    failure = Failure.of("job", error, "/log")
    assert (failure.code, failure.what, failure.remedy, failure.log) == ("input", error.what, error.remedy, "/log")
    assert not failure.is_cancelled
    assert Failure.of("job", Cancelled()).is_cancelled


def test_ids_differ():
    assert len({new_id() for _ in range(100)}) == 100


@given(st.lists(st.binary(max_size=30).filter(lambda line: b"\n" not in line), max_size=8), st.data())
def test_lines_come_out_whole_however_they_arrive(lines, data):
    stream = b"".join(line + b"\n" for line in lines)
    splitter, found, start = LineSplitter(), [], 0
    while start < len(stream):
        stop = data.draw(st.integers(start + 1, len(stream)))
        found += splitter.feed(stream[start:stop])
        start = stop
    assert found == lines


def test_line_that_grows_too_long_is_dropped_and_what_follows_is_not():
    splitter = LineSplitter(longest=100)
    found = []
    for piece in (b"ab\n", b"x" * 90, b"y" * 90, b"z" * 90 + b"\ncd\n", b"w" * 101 + b"\n", b"e\n"):
        found += splitter.feed(piece)
    assert found == [b"ab", b"cd", b"e"]
    assert splitter._size == 0


def test_memory_of_an_endless_line_stays_small():
    splitter = LineSplitter(longest=100)
    for _ in range(50):
        splitter.feed(b"x" * 90)
    assert sum(map(len, splitter._begun)) == 0


def test_heartbeat_and_done_need_no_more_than_their_names():
    assert decode(b'{"v":1,"type":"heartbeat","id":"","state":"idle"}') == Heartbeat("", "idle")
    assert decode(b'{"v":1,"type":"done","id":"a"}') == Done("a")


def test_a_prompt_that_is_none_is_answered_with_what_is_wrong_with_it():
    line = json.loads(encode(Refine("job", "ct", (0, 0, 0), (1, 1, 1), "file", (Prompt("point", ((1, 2, 3),)),))))
    line["prompts"][0]["points"] = []
    refusal = decode(json.dumps(line).encode())
    assert isinstance(refusal, Failure)
    assert (refusal.id, refusal.code) == ("job", "protocol")
    assert "1 positions, not 0" in refusal.what
