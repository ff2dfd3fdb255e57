from __future__ import annotations

import pytest

from transports import Code, Refusal
from transports.errors import ErrorBody, refusal_from


@pytest.mark.parametrize("code", Code, ids=lambda code: code.name)
def test_a_refusal_travels_and_comes_back_the_same(code: Code) -> None:
    sent = Refusal(code, "why")
    back = ErrorBody.of(sent).refusal()
    assert (back.code, back.reason, back.retry) == (code, "why", code.retry)


@pytest.mark.parametrize("code", Code, ids=lambda code: code.name)
def test_the_range_says_what_to_do_next(code: Code) -> None:
    if code >= 4500:
        assert code.retry is not None
        assert code.status >= 500
    elif code >= 4400:
        assert 400 <= code.status < 500


@pytest.mark.parametrize(("code", "known"), [(4499, Code.BAD_COMMAND), (4599, Code.INTERNAL), (7, Code.INTERNAL)])
def test_a_code_of_a_later_version_keeps_the_meaning_of_its_range(code: int, known: Code) -> None:
    refusal = refusal_from(code, "new", 3.0)
    assert (refusal.code, refusal.retry) == (known, 3.0)
