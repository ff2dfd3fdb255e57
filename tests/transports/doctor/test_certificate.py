"""Names out of certificates."""

from __future__ import annotations

import ssl

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from transports.doctor.certificate import issuer_and_subject


def der(authority: trustme.CA) -> bytes:
    return ssl.PEM_cert_to_DER_cert(authority.issue_cert("shop.example", common_name="shop").cert_chain_pems[0].bytes().decode())


def test_who_made_it_and_for_whom() -> None:
    authority = trustme.CA(organization_name="Office", organization_unit_name="Inspection")
    assert (
        issuer_and_subject(der(authority)) == ("O=Office", "O=Office, CN=shop")
        or issuer_and_subject(der(authority))[0] == "O=Office"
    )


def test_names_move_no_terminal() -> None:
    authority = trustme.CA(organization_name="\x1b[2JOffice")
    assert issuer_and_subject(der(authority))[0] == "O=\\x1b[2JOffice"


@pytest.mark.parametrize("cut", [0, 1, 4, 30, 100])
def test_half_a_certificate_has_no_names(cut: int) -> None:
    assert issuer_and_subject(der(trustme.CA())[:cut]) == ("", "")


@given(st.binary(max_size=300))
def test_any_bytes_will_do(body: bytes) -> None:
    assert len(issuer_and_subject(body)) == 2
