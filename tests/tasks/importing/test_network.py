"""Redirects and answers of servers, and the proxies of an import."""

from __future__ import annotations

import base64
import contextlib
import socket
import threading
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest
from django.core.management import CommandError

from tasks.sources.fetching import answers, client, connections, trying
from tasks.sources.fetching.access import Access
from tasks.sources.fetching.addresses import is_public
from tasks.sources.fetching.errors import PrivateAddressError
from tasks.sources.fetching.urls import BadUrlError, redirected, shown
from tests.tasks.importing.test_import import contents, import_data
from tests.tasks.origin import Fault, Origin, encrypted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.django_db(transaction=True)

PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trying, "_FIRST_PAUSE", 0.01)
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def origin() -> Iterator[Origin]:
    server = Origin()
    server.files = {"a.txt": b"first"}
    yield server
    server.stop()


def failure(source: str) -> str:
    with pytest.raises(CommandError) as raised:
        import_data(source)
    return str(raised.value)


# -- private addresses ----------------------------------------------------------------------


@pytest.fixture
def public(origin: Origin, monkeypatch: pytest.MonkeyPatch) -> Iterator[Origin]:
    """A server whose address, 127.0.0.2, counts as public. The address of ``origin`` does not."""
    server = Origin("127.0.0.2")
    server.files = {"b.txt": b"public"}
    for module in (answers, connections):
        monkeypatch.setattr(module, "is_public", lambda address: address == "127.0.0.2")
    yield server
    server.stop()


def test_a_public_server_cannot_redirect_to_a_private_one(origin: Origin, public: Origin) -> None:
    public.redirects = {"x": origin.url("a.txt"), "y": public.url("z"), "z": origin.url("a.txt")}
    for name in "xy":
        complaint = failure(public.url(name))
        assert "is redirected from a public address to a private one" in complaint
    assert origin.requests == [], "nothing was asked of it"
    import_data(origin.url("a.txt"))
    assert contents() == {"a.txt": b"first"}, "an operator may name it"
    assert "public address" in failure(public.url("x")), "also when it is connected to already"


def test_the_connected_address_of_a_name_decides(origin: Origin, public: Origin) -> None:
    public.redirects["x"] = origin.url("a.txt").replace("127.0.0.1", "localhost")
    assert "to a private one" in failure(public.url("x"))
    assert origin.requests == []
    import_data(public.redirects["x"])


def test_other_redirects_are_followed(origin: Origin, public: Origin) -> None:
    origin.redirects = {"x": public.url("y"), "p": origin.url("a.txt")}
    public.redirects = {"y": public.url("b.txt")}
    import_data(origin.url("x"))
    import_data(origin.url("p"))
    assert contents() == {"x": b"public", "p": b"first"}


@pytest.mark.parametrize(
    ("address", "public_"),
    [
        ("8.8.8.8", True),
        ("2606:4700:4700::1111", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("::", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:8.8.8.8", True),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b::808:808", True),
        ("2002:7f00:1::", False),
        ("64:ff9b:1::7f00:1", False),
        ("::127.0.0.1", False),
        ("::ffff:0:10.0.0.1", False),
        ("fec0::1", False),
        ("", False),
    ],
)
def test_public_and_private_addresses(address: str, public_: bool) -> None:
    assert is_public(address) is public_


# -- headers --------------------------------------------------------------------------------


@pytest.mark.parametrize("length", ["9" * 5000, "²", "٣", "-1", "1_0", ""])
def test_an_invalid_length_is_ignored(origin: Origin, length: str) -> None:
    origin.fail("a.txt", *[Fault(headers={"Content-Length": length, "Connection": "close"})] * 9)
    with contextlib.suppress(CommandError):  # anything else would be a traceback
        import_data(origin.url("a.txt"))
        assert contents() == {"a.txt": b"first"}


def test_numbers_with_thousands_of_digits_are_ignored() -> None:
    assert client.number("9" * 5000) is None


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("/grün/ä b", "http://a.test/gr%C3%BCn/%C3%A4%20b"),
        ("/%C3%BC?q=ü", "http://a.test/%C3%BC?q=%C3%BC"),
        ("/plain", "http://a.test/plain"),
    ],
)
def test_a_redirect_in_utf_8_is_followed(location: str, url: str) -> None:
    assert redirected("http://a.test/x", location.encode().decode("latin-1")) == url


def test_a_redirect_in_other_bytes_keeps_them() -> None:
    assert redirected("http://a.test/x", "/gr\xfcn") == "http://a.test/gr%FCn"


def test_a_file_behind_a_redirect_in_utf_8_is_imported(origin: Origin) -> None:
    origin.files["grün.txt"] = b"green"
    origin.redirects["x.txt"] = "/grün.txt".encode().decode("latin-1")
    import_data(origin.url("x.txt"))
    assert contents() == {"x.txt": b"green"}


# -- proxies --------------------------------------------------------------------------------


def passed_on(here: socket.socket, there: socket.socket) -> None:
    """Pass everything on from one end of a tunnel to the other."""
    with contextlib.suppress(OSError):
        while some := here.recv(65536):
            there.sendall(some)
    with contextlib.suppress(OSError):
        there.shutdown(socket.SHUT_RDWR)


class Proxy(ThreadingHTTPServer):
    """A real proxy, which records its requests. It makes tunnels to 127.0.0.1 alone."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str | None]] = []
        notes = self.asked

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                notes.append((self.path, self.headers["Proxy-Authorization"]))
                server, path = self.path.removeprefix("http://").split("/", 1)
                with contextlib.closing(HTTPConnection(server)) as connection:
                    connection.request("GET", f"/{path}")
                    answer = connection.getresponse()
                    content = answer.read()
                self.send_response(answer.status)
                self.send_header("Content-Length", str(len(content)))
                self.send_header("Location", answer.headers["Location"] or "")
                self.end_headers()
                self.wfile.write(content)

            def do_CONNECT(self) -> None:
                notes.append((self.path, self.headers["Proxy-Authorization"]))
                host, _, port = self.path.partition(":")
                if host != "127.0.0.1":
                    return self.send_error(403)
                self.send_response(200)
                self.end_headers()
                with socket.create_connection((host, int(port))) as there:
                    away = threading.Thread(target=passed_on, args=(self.connection, there))
                    away.start()
                    passed_on(there, self.connection)
                    away.join()
                return None

            def log_message(self, *args: object) -> None:
                """Requests are recorded in `asked`."""

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with Proxy() as proxy:
        yield proxy
        proxy.shutdown()


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "ALL_PROXY"])
@pytest.mark.parametrize("scheme", ["http://", ""])
def test_the_proxy_of_the_environment_is_used(
    origin: Origin, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, name: str, scheme: str
) -> None:
    monkeypatch.setenv(name, f"{scheme}me:s%40cret@{proxy.url}")
    import_data(origin.url("a.txt"))
    assert contents() == {"a.txt": b"first"}
    word = base64.b64encode(b"me:s@cret").decode()
    assert proxy.asked[0] == (origin.url("a.txt"), f"Basic {word}")


def test_hosts_without_a_proxy_are_connected_to_directly(
    origin: Origin, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.setenv("NO_PROXY", "example.org, 127.0.0.1")
    import_data(origin.url("a.txt"))
    assert (contents(), proxy.asked) == ({"a.txt": b"first"}, [])


def test_https_goes_through_the_tunnel_of_its_proxy(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:secret@{proxy.url}")
    complaint = failure("https://files.test/a.txt")
    assert "the proxy that the environment names" in complaint
    assert "403" in complaint
    assert "secret" not in complaint
    assert proxy.asked[0][0] == "files.test:443"


@pytest.mark.parametrize("is_encrypted", [False, True])
def test_files_come_through_the_tunnel_and_its_end_is_verified(
    origin: Origin,
    proxy: Proxy,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    is_encrypted: bool,
) -> None:
    certificate = encrypted(tmp_path, origin._server)
    if is_encrypted:
        encrypted(tmp_path, proxy)
    monkeypatch.setenv("HTTPS_PROXY", f"http{'s' * is_encrypted}://me:secret@{proxy.url}")
    origin.files["b.txt"] = b"second"
    url = origin.manifest().replace("http:", "https:")
    assert "certificate" in failure(url).lower()
    import_data(url, f"--ca={certificate}", "--jobs=1")
    assert contents() == {"a.txt": b"first", "b.txt": b"second"}
    server = origin.url("").split("/")[2]
    assert set(proxy.asked) == {(server, f"Basic {base64.b64encode(b'me:secret').decode()}")}
    assert not any("proxy-authorization" in each.headers for each in origin.requests)


def test_an_encrypted_proxy_is_asked_for_plain_urls(
    origin: Origin, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    certificate = encrypted(tmp_path, proxy)
    monkeypatch.setenv("HTTP_PROXY", f"https://{proxy.url}")
    assert "the proxy that the environment names: " in failure(origin.url("a.txt"))
    import_data(origin.url("a.txt"), f"--ca={certificate}")
    assert contents() == {"a.txt": b"first"}
    assert proxy.asked == [(origin.url("a.txt"), None)]


def test_an_unreachable_or_unsupported_proxy_is_named(
    origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert "the proxy that the environment names: Connection refused" in failure(
        origin.url("a.txt")
    )
    monkeypatch.setenv("HTTP_PROXY", "socks5://me:secret@127.0.0.1:9")
    complaint = failure(origin.url("a.txt"))
    assert "a proxy of the kind 'socks5'" in complaint
    assert "secret" not in complaint
    monkeypatch.setenv("HTTP_PROXY", "http://me:sec%00ret@127.0.0.1:9")
    assert "of libcurl" in failure(origin.url("a.txt")), "libcurl says nothing about it"


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "a.localhost.",
        "[::1]",
        "2130706433",
        "0xa9fea9fe",
        "169.254.0xA9FE",
    ],
)
def test_a_proxy_is_not_used_for_private_addresses(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    connections.use_access(Access())
    url = f"http://{host}/"
    with pytest.raises(PrivateAddressError):
        connections.Request("GET", url, {}, asked=url, public=True)
    assert proxy.asked == []


def test_a_host_with_escaped_characters_is_refused(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """libcurl takes it for another name."""
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    connections.use_access(Access())
    with pytest.raises(BadUrlError):
        connections.Request("GET", "http://%6cocalhost/", {}, asked="http://a/", public=True)
    assert proxy.asked == []


@pytest.mark.parametrize(
    ("url", "in_messages"),
    [
        ("https://u:p@h/a", "https://…@h/a"),
        ("sftp://u:p/w@h/a", "sftp://…@h/a"),
        ("https://u:p?w#@h/a", "https://…@h/a"),
        ("https://h:8080/@u/a:b@c", "https://h:8080/@u/a:b@c"),
        ("https://h/a?token=b:c@d", "https://h/a"),
    ],
)
def test_messages_have_no_password_of_a_url(url: str, in_messages: str) -> None:
    assert shown(url) == in_messages
