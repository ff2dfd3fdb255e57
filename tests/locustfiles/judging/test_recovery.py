"""Recovery: how long after the end of a fault readers had events again."""

from runs import a_sample, histogram

from locustfiles.judging.recovery import recoveries
from locustfiles.samples import Mark, Pause, Recovery

CUT = Mark(do="cut", began=2_000_000, ended=2_010_000)
AWAY = Mark(do="restart", began=6_000_000, ended=7_500_000)


def after(pauses: list[Pause], *marks: Mark, ready: int = 4) -> list[Recovery]:
    return recoveries(a_sample(1000, pauses=pauses, ready=ready, readers=ready, ended=10_000_000), marks)


def test_without_a_mark_there_is_nothing_to_recover_from():
    assert after([Pause(0, 1, 2)]) == []


def test_readers_that_missed_nothing_are_back_at_once():
    assert after([], CUT) == [Recovery(mark=0, back=histogram(0, 0, 0, 0))]


def test_time_counts_from_the_end_of_the_fault():
    pauses = [Pause(0, 1_990_000, 2_310_000), Pause(1, 5_990_000, 7_900_000)]
    cut, restart = after(pauses, CUT, AWAY)
    assert cut.back == histogram(300_000, 0, 0, 0)
    assert restart.back == histogram(400_000, 0, 0, 0)


def test_who_was_back_before_the_fault_was_over_waited_for_nothing():
    (found,) = after([Pause(0, 5_990_000, 6_500_000)], AWAY)
    assert found.back == histogram(0, 0, 0, 0)


def test_what_was_under_way_still_arrives_after_a_cut():
    (found,) = after([Pause(0, 2_012_000, 2_910_000)], CUT)
    assert found.back == histogram(900_000, 0, 0, 0)


def test_a_pause_long_after_is_not_its_doing():
    (found,) = after([Pause(0, 3_000_000, 3_900_000)], CUT)
    assert found.back == histogram(0, 0, 0, 0)


def test_a_pause_before_is_not_its_doing():
    (found,) = after([Pause(0, 1_000_000, 1_999_000)], CUT)
    assert found.back == histogram(0, 0, 0, 0)


def test_of_several_pauses_the_last_to_end_counts():
    (found,) = after([Pause(0, 5_990_000, 7_600_000), Pause(0, 7_600_000, 7_800_000)], AWAY)
    assert found.back == histogram(300_000, 0, 0, 0)


def test_readers_that_are_not_back_when_the_round_ends():
    cut, restart = after([Pause(0, 1_990_000, None), Pause(1, 1_990_000, 2_020_000)], CUT, AWAY)
    assert (cut.never, len(cut.back), cut.back.most) == (1, 3, 10_000)
    assert (restart.never, len(restart.back)) == (1, 3)


def test_a_pause_over_two_faults_is_due_to_both():
    cut, restart = after([Pause(0, 1_990_000, 7_600_000)], CUT, AWAY)
    assert cut.back.most == 5_590_000
    assert restart.back.most == 100_000


def test_what_begins_after_the_next_fault_is_that_ones_doing():
    close = Mark(do="close", began=2_100_000, ended=2_100_000)
    cut, closed = after([Pause(0, 2_105_000, 3_000_000)], CUT, close)
    assert cut.back.most == 0
    assert closed.back.most == 900_000


def test_every_reader_that_was_in_place_is_counted_once():
    (found,) = after([Pause(reader, 1_990_000, 2_500_000) for reader in (0, 0, 1)], CUT, ready=40)
    assert len(found.back) + found.never == 40


def test_a_sample_of_fewer_readers_than_pauses_invents_none():
    (found,) = after([Pause(reader, 1_990_000, 2_500_000) for reader in range(3)], CUT, ready=2)
    assert len(found.back) == 3
    assert found.back.least == 490_000
