"""Planning: what is told before anything is started."""

import pytest

from locustfiles.conducting.planning import Wishes, staging

pytestmark = pytest.mark.real  # the scenario is run in a process of its own


def test_what_a_forward_proxy_keeps_out_is_told():
    wishes = Wishes(scenario="restricted", networks=("no-upgrade", "proxy-407"))
    assert staging(wishes).notes == ["on proxy-407, a forward proxy, only the client that chooses can be told of it"]


def test_where_only_the_client_that_chooses_is_asked_for_nothing_is_kept_out():
    assert staging(Wishes(scenario="restricted", networks=("proxy-407",), transports=("negotiated",))).notes == []
