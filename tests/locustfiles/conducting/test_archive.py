"""Archive: the files of a run."""

import csv
from pathlib import Path

import pytest
from runs import a_run

from locustfiles.conducting.archive import HEADER, Archive, ArchiveError, file_name, recorded, show
from locustfiles.samples import Lane, SampleError, decode, encode


def test_the_run_can_be_read_whenever_it_was_kept(tmp_path: Path):
    archive, run = Archive(tmp_path / "new" / "one"), a_run({"sse": [1000, 1100]})
    run.complete = False
    archive.keep(run)
    assert recorded(archive.run) == decode(encode(run))
    run.complete = True
    archive.keep(run)
    assert recorded(archive.run).complete
    assert sorted(file.name for file in archive.directory.iterdir()) == ["events.csv", "run.json"]


def test_events_have_a_header_and_belong_to_a_round(tmp_path: Path):
    (tmp_path / "events.csv").write_text(",".join(HEADER) + "\nleft by an earlier run\n", encoding="utf-8")
    archive = Archive(tmp_path)
    archive.events(Lane("open", "a, b.py", "sse"), 2, ["0,,0.0,3,3,100,200,300", '1,"x,y",0.5,3,2,100,200,300'])
    with (tmp_path / "events.csv").open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    assert tuple(header) == HEADER
    assert rows == [
        ["open", "a, b.py", "sse", "2", "0", "", "0.0", "3", "3", "100", "200", "300"],
        ["open", "a, b.py", "sse", "2", "1", "x,y", "0.5", "3", "2", "100", "200", "300"],
    ]


def test_a_page_and_percentiles_for_each_lane(tmp_path: Path):
    show(a_run({"sse": [1000], "longpoll": [2000]}, networks=("open", "buffering")), tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "buffering-everywire-longpoll.hgrm",
        "buffering-everywire-sse.hgrm",
        "index.html",
        "open-everywire-longpoll.hgrm",
        "open-everywire-sse.hgrm",
    ]
    assert (tmp_path / "index.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert "Percentile" in (tmp_path / "open-everywire-sse.hgrm").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("lane", "name"),
    [
        (Lane("open", "everywire", "sse"), "open-everywire-sse"),
        (
            Lane("latency-200ms+no-upgrade", "null:longpoll=300", "longpoll"),
            "latency_200ms+no_upgrade-null_longpoll_300-longpoll",
        ),
        (Lane("open", "http://127.0.0.1:8000/live", "sse"), "open-http_127.0.0.1_8000_live-sse"),
        (Lane("open", "../my server.py", "sse"), "open-.._my_server.py-sse"),
    ],
)
def test_a_lane_has_a_name_that_is_no_path(lane: Lane, name: str):
    assert file_name(lane) == name


def test_nothing_of_an_earlier_run_stays(tmp_path: Path):
    earlier = Archive(tmp_path)
    earlier.keep(run := a_run({"sse": [1000], "longpoll": [2000]}))
    earlier.show(run)
    earlier.crash("said")
    (tmp_path / "of-somebody-else.hgrm").write_text("", encoding="utf-8")
    Archive(tmp_path).keep(a_run({"sse": [1000]}))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["events.csv", "of-somebody-else.hgrm", "run.json"]


def test_an_earlier_run_stays_until_there_is_something_to_keep(tmp_path: Path):
    earlier = Archive(tmp_path)
    earlier.keep(run := a_run({"sse": [1000]}))
    earlier.show(run)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    Archive(tmp_path).discard()
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


@pytest.mark.parametrize("name", ["run.json", "events.csv", "index.html", "crash.txt"])
def test_what_is_of_somebody_else_is_not_replaced(tmp_path: Path, name: str):
    (tmp_path / name).write_text('{"of": "somebody else"}', encoding="utf-8")
    with pytest.raises(ArchiveError, match=rf"{name} is not of a comparison"):
        Archive(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text(encoding="utf-8") == '{"of": "somebody else"}'


def test_a_page_of_somebody_else_is_not_replaced(tmp_path: Path):
    (tmp_path / "index.html").write_text("<!doctype html>", encoding="utf-8")
    with pytest.raises(ArchiveError, match=r"index\.html is not of a comparison"):
        show(a_run({"sse": [1000]}), tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["index.html"]


def test_a_run_of_another_version_may_be_replaced(tmp_path: Path):
    (tmp_path / "run.json").write_text('{"schema": "everywire.run/1"}', encoding="utf-8")
    Archive(tmp_path).keep(a_run({"sse": [1000]}))
    assert recorded(tmp_path / "run.json").complete


def test_what_cannot_be_written_is_told_with_its_place(tmp_path: Path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(ArchiveError, match=r"cannot write to .*out: Not a directory"):
        Archive(tmp_path / "file" / "out")
    with pytest.raises(ArchiveError, match=r"cannot write to .*file: File exists"):
        show(a_run({"sse": [1000]}), tmp_path / "file")


def test_a_run_without_a_round_can_be_shown(tmp_path: Path):
    run = a_run({"sse": [1000]})
    run.rounds, run.complete = [], False
    show(run, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["index.html"]


def test_what_is_no_run_is_told_with_its_name(tmp_path: Path):
    with pytest.raises(SampleError, match=r"missing\.json: No such file"):
        recorded(tmp_path / "missing.json")
    (tmp_path / "run.json").write_text("{}", encoding="utf-8")
    with pytest.raises(SampleError, match=r"run\.json: .*not 'everywire\.run/2'"):
        recorded(tmp_path / "run.json")


def test_nothing_is_left_where_nothing_was_measured(tmp_path: Path):
    Archive(tmp_path / "new").discard()
    assert not (tmp_path / "new").exists()
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "notes.txt").write_text("", encoding="utf-8")
    Archive(tmp_path / "kept").discard()
    assert [file.name for file in (tmp_path / "kept").iterdir()] == ["notes.txt"]
