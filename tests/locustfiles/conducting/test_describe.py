"""Describe: scenario files, run in processes of their own."""

from pathlib import Path

import pytest

from locustfiles.conducting.describe import ScenarioError, description, file_of, names, question_of, questions
from locustfiles.plan import Scenario

OWN = '''"""Is it my own? This is not asked.

Answered by: something.
"""
import locustfiles.rounds
from locustfiles.users import LongPollUser, SSEUser
from locustfiles.plan import Scenario

class Base(SSEUser):
    abstract = True

class Mine(Base):
    pass

class Polling(LongPollUser):
    pass
'''


def written(place: Path, text: str) -> Path:
    file = place / "own.py"
    file.write_text(text, encoding="utf-8")
    return file


def test_every_scenario_asks():
    asked = questions()
    assert "fanout" in asked
    assert list(asked) == names()
    assert all(question.endswith("?") for question in asked.values())


@pytest.mark.real
def test_what_a_scenario_says_of_itself():
    found = description(file_of("fanout"))
    assert found.question == questions()["fanout"]
    assert found.scenario.readers == 100
    assert {"websocket", "sse", "longpoll"} <= set(found.users)


@pytest.mark.real
def test_a_file_of_anybody_s(tmp_path: Path):
    found = description(file_of(str(written(tmp_path, OWN))))
    assert found.question == "Is it my own?"
    assert found.users == {"sse": "Mine", "longpoll": "Polling"}
    assert found.scenario == Scenario(transports=("sse", "longpoll"))


@pytest.mark.real
def test_a_file_may_say_something_of_its_own(tmp_path: Path):
    found = description(written(tmp_path, f"{OWN}\nimport atexit\nprint('before')\natexit.register(print, 'after')"))
    assert found.users == {"sse": "Mine", "longpoll": "Polling"}


@pytest.mark.real
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("raise OSError('no disk')", "OSError: no disk"),
        ("x = 1", "no user class that reads"),
        (OWN + "\nSCENARIO = Scenario()", "wants websocket, for which it has no user class"),
        (OWN + "\nSCENARIO = Scenario(transports=('sse',), quick={'reader': 5})", "what there is not: reader"),
        (OWN + "\nSCENARIO = Scenario(transports=('sse',), point='p99')", "answered by 'p99', which is none of delay, tail"),
        (OWN + "\nSCENARIO = Scenario(transports=('sse',), burst=0)", "SCENARIO makes no sense: .* >= 1 - at `..burst`"),
        (OWN + "\nSCENARIO = Scenario(transports=('sse',), quick={'slow': 2})", "with --quick makes no sense: .* <= 1.0"),
        (OWN + "\nSCENARIO = Scenario(transports=('sse',), follows=2)", "follow 2 of 1 channels"),
        (OWN + "\nSCENARIO = {}", "no locustfiles.plan.Scenario"),
        (OWN + "\nSCENARIO = Scenario(transports=('sse',), rate=0)", "makes no sense.*rate"),
        (OWN + "\nSCENARIO = Scenario(transports=('sse',), seconds=float('nan'))", "makes no sense.*seconds"),
        ("import sys; sys.exit(0)", "ends the process"),
    ],
)
def test_a_file_that_cannot_be_used_tells_why(tmp_path: Path, text: str, said: str):
    with pytest.raises(ScenarioError, match=said):
        description(written(tmp_path, text))


@pytest.mark.parametrize(("name", "said"), [("fanuot", "nearest is fanout"), ("xyz", "there are "), ("no/such.py", "no file")])
def test_a_scenario_that_there_is_not(name: str, said: str):
    with pytest.raises(ScenarioError, match=said):
        file_of(name)


@pytest.mark.parametrize(
    ("docstring", "question"),
    [
        ("How late\nis it? Very.\n\nMore.", "How late is it?"),
        ("What? Who?", "What?"),
        ("How fast is 1.5 MiB?", "How fast is 1.5 MiB?"),
        ("No question\n\nBut text.", "No question"),
        (None, ""),
    ],
)
def test_the_question_is_the_first_sentence(docstring: str | None, question: str):
    assert question_of(docstring) == question
