from __future__ import annotations

import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.stores import Clock, Followed
from transports import Refusal
from transports.brokers.database import APPLICATION, VERSION, Database, Entry, Forgotten, Keep

KEEP = Keep(events=1000, age=300.0, size=1 << 20, key_window=120.0, key_count=100)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.db"


def append(database: Database, number: int, channel: str = "a", data: bytes = b"1") -> list[int]:
    return database.append([Entry(channel, data, None, None)] * number).offsets


class Reader:
    """Reads a database in chunks, as the thread of the broker does."""

    def __init__(self, database: Database, *, followed: bool) -> None:
        self.database, self.followed = database, followed
        self.epoch, self.seen, self.told = "", 0, Followed()

    def chunk(self) -> bool:
        chunk = self.database.read(self.seen, self.epoch, followed=self.followed)
        if chunk.epoch != self.epoch or chunk.floor > self.seen:
            self.told.begin(chunk.epoch, chunk.floor)
        for step in chunk.steps:
            if isinstance(step, Forgotten):
                self.told.forget(*step)
            else:
                self.told.take(step)
        self.epoch, self.seen = chunk.epoch, chunk.through
        return chunk.more

    def all(self) -> Reader:
        while self.chunk():
            pass
        return self


STEPS = st.one_of(
    st.tuples(st.just("append"), st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(1, 60)), min_size=1, max_size=12)),
    st.tuples(st.just("later"), st.integers(-15, 40)),
    st.tuples(st.sampled_from(["sweep", "reopen", "chunk"]), st.none()),
)


@given(st.lists(STEPS, max_size=40), st.integers(1, 6), st.integers(20, 200))
@settings(deadline=None, max_examples=60)
def test_everything_is_read_or_told_to_be_gone_and_never_both(steps: list, count: int, size: int) -> None:
    """Whatever is let go in between: one who follows slowly, and one who comes at any time, lack nothing of what was before."""
    keep = KEEP._replace(events=count, age=20.0, size=size)
    published: dict[int, str] = {}
    sizes: dict[int, int] = {}
    stamps: dict[int, float] = {}
    oldest = 0.0
    with tempfile.TemporaryDirectory() as directory:
        clock = Clock()
        database = Database(Path(directory) / "events.db", keep, clock=clock, rows=4, spare=2)
        slow = Reader(database, followed=True)
        for name, value in steps:
            if name == "append":
                offsets = database.append([Entry(channel, b"1" * length, None, None) for channel, length in value]).offsets
                assert offsets == list(range(len(published) + 1, len(published) + 1 + len(value)))
                published |= dict(zip(offsets, (channel for channel, _ in value), strict=True))
                sizes |= dict(zip(offsets, (length for _, length in value), strict=True))
                stamps |= dict.fromkeys(offsets, clock.now)
            elif name == "later":
                clock.now += value
            elif name == "sweep":
                database.sweep()
                oldest = max(oldest, clock.now - keep.age)
            elif name == "reopen":
                database.close()
            else:
                slow.chunk()
            behind = {offset: channel for offset, channel in published.items() if offset <= slow.seen}
            assert slow.told.lacks(behind) == set(), "at each step: a reader may stand there"
            newcomer = Reader(database, followed=False).all().told
            assert newcomer.lacks(published) == set()
            assert newcomer.through == len(published) == database.head().offset
            check_bounds(newcomer, count, size)
            young = {offset for offset in within(published, sizes, count, size) if stamps[offset] >= oldest}
            assert young <= {record.offset for record in newcomer.records}
        assert slow.all().told.lacks(published) == set()
        assert len(slow.told.epochs) == 1
        database.close()


def within(published: dict[int, str], sizes: dict[int, int], count: int, size: int) -> set[int]:
    """The newest of each channel that are within the bounds, and its very newest."""
    kept: set[int] = set()
    for channel in set(published.values()):
        room = size
        for place, offset in enumerate(sorted((o for o, name in published.items() if name == channel), reverse=True)):
            room -= sizes[offset]
            if place and (room < 0 or place >= count):
                break
            kept.add(offset)
    return kept


def check_bounds(reader: Followed, count: int, size: int) -> None:
    """Nothing that is told to be gone is kept, and of each channel no more than an eighth over the bounds."""
    for channel in "abcdef":
        records = [record for record in reader.records if record.channel == channel]
        assert all(record.offset > max(reader.gone, reader.forgotten.get(channel, 0)) for record in records)
        assert len(records) <= count + count // 8
        assert len(records) <= 1 or sum(len(record.data) for record in records) <= size + size // 8


def test_no_offset_is_given_twice_even_when_nothing_is_left(path: Path) -> None:
    clock = Clock()
    database = Database(path, KEEP, clock=clock)
    assert append(database, 3) == [1, 2, 3]
    clock.now += 301
    assert not database.sweep()
    assert Reader(database, followed=False).all().told.records == []
    database.close()
    database = Database(path, KEEP, clock=clock)
    assert append(database, 1) == [4]
    assert Reader(database, followed=False).all().told.forgotten == {"a": 3}


def test_a_clock_that_is_set_back_lets_nothing_go_earlier(path: Path) -> None:
    clock = Clock()
    database = Database(path, KEEP, clock=clock)
    append(database, 1)
    clock.now -= 3600
    append(database, 1)
    clock.now += 3600
    database.sweep()
    assert len(Reader(database, followed=False).all().told.records) == 2
    clock.now += 301
    database.sweep()
    assert Reader(database, followed=False).all().told.records == []


def test_channels_of_which_nothing_is_left_do_not_fill_the_file(path: Path) -> None:
    clock = Clock()
    database = Database(path, KEEP, clock=clock, spare=10)
    for n in range(100):
        append(database, 1, f"room{n}")
    clock.now += 301
    database.sweep()
    reader = Reader(database, followed=False).all().told
    assert (len(reader.forgotten), reader.gone, reader.through) == (10, 90, 100)
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT count(*) FROM channels").fetchone() == (10,)


def test_old_keys_are_let_go(path: Path) -> None:
    clock = Clock()
    database = Database(path, KEEP, clock=clock)
    database.append([Entry("a", b"1", f"k{n}", None) for n in range(250)])
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT count(*) FROM keys").fetchone() == (100,)
        clock.now += 121
        database.sweep()
        assert other.execute("SELECT count(*) FROM keys").fetchone() == (0,)


def test_the_epoch_is_that_of_the_file(path: Path) -> None:
    first = Database(path, KEEP)
    append(first, 3)
    epoch = first.head().epoch
    killed = Database(path, KEEP)  # `first` was not closed
    assert killed.head() == (epoch, 3)
    assert Database(path.with_name("other.db"), KEEP).head().epoch != epoch


# --- a file that is not what it was


def backup(path: Path, to: Path) -> None:
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(to)) as copy:
        source.backup(copy)


@pytest.mark.parametrize("how", ["file", "both files", "file, head removed"])
def test_a_restored_backup_begins_another_epoch(path: Path, how: str) -> None:
    database = Database(path, KEEP)
    append(database, 3)
    copy, head = path.with_name("copy.db"), path.with_name("events.db-head")
    backup(path, copy)
    shutil.copy2(head, path.with_name("copy-head"))
    if how != "both files":  # a copy of the mark is known by its place on the disk alone
        append(database, 2)
    epoch = database.head().epoch
    database.close()
    path.unlink()
    if how == "both files":
        path.with_name("copy-head").rename(head)
    elif how == "file, head removed":
        head.unlink()
    shutil.copy2(copy, path)
    restored = Database(path, KEEP)
    assert restored.head().epoch != epoch
    assert len(Reader(restored, followed=False).all().told.records) == 3
    append(restored, 1)
    restored.close()
    assert Database(path, KEEP).head() == (restored_epoch(path), 4), "once is enough"


def restored_epoch(path: Path) -> str:
    with closing(sqlite3.connect(path)) as other:
        return other.execute("SELECT epoch FROM life").fetchone()[0]


def test_a_power_cut_that_takes_the_mark_back_changes_nothing(path: Path) -> None:
    head = path.with_name("events.db-head")
    database = Database(path, KEEP)
    append(database, 3)
    before = head.read_bytes()
    append(database, 3)
    epoch = database.head().epoch
    head.write_bytes(before)  # what had not come to the disk
    assert Database(path, KEEP).head() == (epoch, 6)


def test_a_mark_that_makes_no_sense_ends_the_epoch_once(path: Path) -> None:
    epochs = []
    for _ in range(3):
        database = Database(path, KEEP)
        epochs.append(database.head().epoch)
        database.close()
        if len(epochs) == 1:
            path.with_name("events.db-head").write_bytes(b"x" * 99)
    assert epochs[0] != epochs[1] == epochs[2]


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM life",
        "UPDATE life SET head = 'x'",
        "UPDATE life SET head = 9223372036854775807",
        "UPDATE events SET data = 1",
    ],
)
def test_values_that_make_no_sense_are_a_refusal(path: Path, damage: str) -> None:
    database = Database(path, KEEP)
    append(database, 3)
    backup(path, copy := path.with_name("copy.db"))
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(damage)

    def use() -> None:
        append(database, 1)
        database.read(0, "")

    with pytest.raises(Refusal, match=r"4504.*makes no sense"):
        use()
    path.unlink()
    path.with_name("events.db-wal").unlink(missing_ok=True)
    path.with_name("events.db-shm").unlink(missing_ok=True)
    path.with_name("events.db-head").unlink()
    shutil.copy(copy, path)
    use()
    database.close()


@pytest.mark.parametrize("replaced", [False, True])
def test_a_file_that_is_taken_away_is_noticed_before_anything_is_written_to_it(path: Path, replaced: bool) -> None:
    database = Database(path, KEEP)
    append(database, 3)
    epoch = database.head().epoch
    copy = path.with_name("copy.db")
    backup(path, copy)
    append(database, 1)
    for name in ("events.db", "events.db-wal", "events.db-shm"):
        path.with_name(name).unlink()
    if replaced:
        shutil.copy2(copy, path)
    appended = database.append([Entry("a", b"1", None, None)])
    assert appended.epoch != epoch
    assert appended.offsets == [4 if replaced else 1]
    assert Database(path, KEEP).head() == (appended.epoch, appended.offsets[0])


# --- what cannot be used


def garbage(path: Path) -> None:
    path.write_bytes(b"no database at all, but long enough to be taken for one" * 100)


def foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE orders (id INTEGER)")


def newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.execute(f"PRAGMA application_id = {APPLICATION}")
        other.execute(f"PRAGMA user_version = {VERSION + 1}")


@pytest.mark.parametrize(
    ("make", "why"),
    [(garbage, "not a database"), (foreign, "another program"), (newer, "newer version"), (Path.mkdir, "unable to open")],
)
def test_a_file_that_is_not_ours_is_left_as_it_is(path: Path, make, why: str) -> None:
    make(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(Refusal, match=f"4504 .*the log events.db .*{why}"):
        append(Database(path, KEEP), 1)
    assert before == (path.read_bytes() if path.is_file() else None)


def test_a_directory_that_is_not_there_is_not_made(path: Path) -> None:
    database = Database(path.parent / "data" / "events.db", KEEP)
    with pytest.raises(Refusal, match=r"4504 .* its directory is not there"):
        database.head()
    assert not (path.parent / "data").exists()
    (path.parent / "data").mkdir()
    assert append(database, 1) == [1]


def test_who_writes_for_long_keeps_nobody_waiting_for_ever(path: Path) -> None:
    database = Database(path, KEEP, patience=0.05)
    append(database, 1)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Refusal, match=r"4504 .*locked"):
        append(database, 1)
    assert len(Reader(database, followed=False).all().told.records) == 1
    other.execute("ROLLBACK")
    assert append(database, 1) == [2]
    other.close()


def test_what_does_not_fit_on_the_disk_is_refused_whole_and_it_goes_on_when_there_is_room(path: Path) -> None:
    resource = pytest.importorskip("resource")
    database = Database(path, KEEP)
    append(database, 1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.with_name("events.db-wal").stat().st_size + 10_000, hard))
    try:
        with pytest.raises(Refusal, match=r"4504 broker_down: the log events\.db cannot"):
            append(database, 5, data=b"x" * 10_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert append(database, 1) == [2]
    assert [record.offset for record in Reader(database, followed=False).all().told.records] == [1, 2]
