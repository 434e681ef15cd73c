"""Requests for other names get no page, and no information about the site."""

from __future__ import annotations

import http.client
import socket
import ssl
from typing import TYPE_CHECKING

import pytest

from tests.deploy.site import Answer

if TYPE_CHECKING:
    from tests.deploy.site import Nginx


def test_the_plain_port_redirects_the_sites_name_to_tls(nginx: Nginx) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", nginx.port, timeout=60)
    connection.request("GET", "/x", headers={"Host": "localhost"})
    answer = connection.getresponse()
    assert (answer.status, answer.headers["Location"]) == (301, "https://localhost/x")
    connection.close()


@pytest.mark.parametrize("host", ["other.example.org", "127.0.0.1", "localhost.other.test"])
def test_the_plain_port_does_not_answer_other_names(nginx: Nginx, host: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", nginx.port, timeout=60)
    connection.request("GET", "/", headers={"Host": host})
    with pytest.raises((http.client.RemoteDisconnected, http.client.BadStatusLine)):
        connection.getresponse()
    connection.close()


@pytest.mark.parametrize("name", ["other.example.org", None])
def test_tls_shows_no_certificate_to_other_names(nginx: Nginx, name: str | None) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", nginx.tls_port), timeout=60) as plain,
        pytest.raises(ssl.SSLError, match=r"(?i)unrecognized.name"),
    ):
        context.wrap_socket(plain, server_hostname=name)


def test_a_request_for_another_name_than_the_handshake_was_for_is_misdirected(
    nginx: Nginx,
) -> None:
    assert Answer(nginx, "/", Host="other.example.org").status == 421
    assert Answer(nginx, "/", Host="localhost").status == 200
