"""The server's edge: what a browser brings from elsewhere is refused, what a client sends is answered."""

import http.client
import json
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from local_test.page.site import STRANGERS
from local_test.server.access import AccessControl, KnownHosts
from tests.support.browser import browse, open_page
from tests.support.missing import missing
from tests.support.served import BUCKET, Served, request

BROWSERS = ("chromium-headless-shell", "chromium", "google-chrome")
LIST = {"X-Amz-Target": "SageMaker.ListTrainingJobs", "Content-Type": "application/x-amz-json-1.1"}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("served")) as server:
        server.client("s3").create_bucket(Bucket=BUCKET)
        yield server


def ask(served: Served, method: str, path: str, headers: dict[str, str], body: str = "") -> tuple[int, str, Any]:
    """(status, body, headers) of one request, with these headers alone."""
    address = served.exports["AWS_ENDPOINT_URL"].removeprefix("http://")
    connection = http.client.HTTPConnection(address, timeout=60)
    connection.putrequest(method, path, skip_host="Host" in headers)
    for name, value in {"Content-Length": str(len(body)), **headers}.items():
        connection.putheader(name, value)
    connection.endheaders(body.encode())
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text, answer.headers


@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("127.0.0.1:4580", True), ("127.9.9.9", True), ("localhost:1", True), ("LOCALHOST.", True),
        ("[::1]:4580", True), ("bucket.localhost:4580", True), ("host.docker.internal:4580", True),
        ("172.17.0.1:4580", True), ("laptop:4580", True), ("bucket.laptop:4580", True),
        ("", False), ("evil.example", False), ("localhost.evil.example", False), ("evillocalhost", False),
        ("127.0.0.1.evil.example", False), ("10.0.0.1", False), ("2130706433", False), ("0x7f000001", False),
        ("localhost@evil.example", False), ("evil.example@localhost", False), ("localhost/x", False),
        ("localhost,evil.example", False), ("[::1", False), ("0.0.0.0", False),
    ],
)  # fmt: skip
def test_a_host_is_known_by_its_whole_name(host: str, known: bool) -> None:
    assert KnownHosts(frozenset({"172.17.0.1", "laptop"})).include(host) is known


def test_a_server_at_all_addresses_knows_addresses_but_no_foreign_names() -> None:
    hosts = KnownHosts(frozenset({"laptop"}), any_address=True)
    assert hosts.include("192.168.0.7:4580")
    assert not hosts.include("evil.example")


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"}, {"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": ""},
        {"Origin": "http://127.0.0.1:1"}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"},
        {"Host": "host.docker.internal:4580", "Accept-Language": "en"},
        {"Host": "a.gateway.docker.internal.", "Origin": "http://a.gateway.docker.internal."},
    ],
)  # fmt: skip
@pytest.mark.parametrize(("method", "path"), [("POST", "/"), ("GET", f"/{BUCKET}"), ("OPTIONS", "/"), ("PUT", "/new")])
def test_what_a_page_of_another_origin_sends_is_refused(
    served: Served, headers: dict[str, str], method: str, path: str
) -> None:
    status, text, answered = ask(served, method, path, LIST | headers, "{}")
    assert (status, json.loads(text)["__type"]) == (403, "AccessDeniedException")
    assert not [name for name in answered if name.lower().startswith("access-control-")]
    assert [bucket["Name"] for bucket in served.client("s3").list_buckets()["Buckets"]] == [BUCKET]


def test_a_request_without_a_host_is_no_browsers(served: Served) -> None:
    host, _, port = served.exports["AWS_ENDPOINT_URL"].removeprefix("http://").rpartition(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(f"GET /{BUCKET} HTTP/1.0\r\n\r\n".encode())
        assert connection.makefile("rb").readline().split()[1] == b"200"


@pytest.mark.parametrize("target", ["", "X-Amz-Target: SageMaker.ListTrainingJobs\r\n"])
@pytest.mark.parametrize("chunks", ["zz\r\n", "-1\r\n", "2\r\n{}"])
def test_a_body_whose_chunks_are_none_is_a_bad_request(served: Served, target: str, chunks: str) -> None:
    host, _, port = served.exports["AWS_ENDPOINT_URL"].removeprefix("http://").rpartition(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        head = f"PUT /{BUCKET}/key HTTP/1.1\r\nHost: localhost\r\n{target}Transfer-Encoding: chunked\r\n\r\n"
        connection.sendall(f"{head}{chunks}".encode())
        connection.shutdown(socket.SHUT_WR)
        assert connection.makefile("rb").readline().split()[1] == b"400"
    assert "Contents" not in served.client("s3").list_objects_v2(Bucket=BUCKET)
    assert "Traceback" not in served.errors()


def test_what_a_client_or_the_servers_own_page_sends_is_answered(served: Served) -> None:
    own = served.exports["AWS_ENDPOINT_URL"]
    for headers in ({}, {"Origin": own, "Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}):
        status, text, answered = ask(served, "POST", "/", LIST | headers, "{}")
        assert (status, json.loads(text)) == (200, {"TrainingJobSummaries": []})
        assert not [name for name in answered if name.lower().startswith("access-control-")]


@pytest.mark.parametrize(
    "path", ["/moto-api/reset", "/moto-api/data.json", "//moto-api/reset", "/moto-api", "/%6doto-api/reset"]
)
def test_nobody_resets_moto(served: Served, path: str) -> None:
    status, text, _ = ask(served, "POST", path, {})
    assert status >= 300, text
    assert [bucket["Name"] for bucket in served.client("s3").list_buckets()["Buckets"]] == [BUCKET]


def test_motos_own_permissions_for_other_origins_do_not_leave() -> None:
    def application(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Access-Control-Allow-Origin", "*"), ("ETag", "1")])
        return [b"x"]

    seen: list[Any] = []
    environ = {"HTTP_HOST": "localhost", "wsgi.url_scheme": "http"}
    body = AccessControl(application, KnownHosts())(environ, lambda *call: seen.append(call))
    assert list(body) == [b"x"]
    rights = [("Content-Security-Policy", STRANGERS), ("X-Content-Type-Options", "nosniff")]
    assert seen == [("200 OK", [("ETag", "1"), *rights])]


# Everything that a page can send without the server's leave, and with it. The title says that all of it was tried.
PAGE = """<!doctype html><title>trying</title><body><img src="{url}/{bucket}"><iframe name="sink"></iframe>
<form method="post" action="{url}/moto-api/reset" target="sink"></form><script>
const target = name => ({{"x-amz-target": `SageMaker.${{name}}`, "content-type": "application/x-amz-json-1.1"}})
const tries = [
  fetch("{url}/", {{method: "POST", headers: target("CreateTrainingJob"), body: {job}}}),
  fetch("{url}/moto-api/reset", {{method: "POST", mode: "no-cors"}}),
  fetch("{url}/{bucket}", {{method: "DELETE"}}),
  fetch("{url}/").then(answer => answer.text()),
]
Promise.allSettled(tries).then(results => {{
  document.forms[0].submit()
  const seen = results.map(one => one.status + (one.value?.type ?? ""))
  setTimeout(() => {{ document.title = `tried ${{seen.join()}}` }}, 1000)
}})
</script>"""


def test_a_page_in_a_browser_gets_nothing_and_changes_nothing(served: Served, tmp_path: Path) -> None:
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if not browser:
        missing(f"no browser: none of {', '.join(BROWSERS)} is installed", "REQUIRE_BROWSER")
    sagemaker, url = served.client("sagemaker"), served.exports["AWS_ENDPOINT_URL"]
    job = json.dumps(json.dumps(request("stranger")))
    (tmp_path / "index.html").write_text(PAGE.format(url=url, bucket=BUCKET, job=job))
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(tmp_path))) as stranger:
        threading.Thread(target=stranger.serve_forever, daemon=True).start()
        command = [
            browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
            f"--user-data-dir={tmp_path / 'profile'}", "--timeout=150000", "--virtual-time-budget=20000", "--dump-dom",
            f"http://localhost:{stranger.server_address[1]}/index.html",
        ]  # fmt: skip
        shown = subprocess.run(command, capture_output=True, text=True, timeout=200).stdout
        stranger.shutdown()
    assert "<title>tried rejected,fulfilledopaque,rejected,rejected</title>" in shown
    assert sagemaker.list_training_jobs()["TrainingJobSummaries"] == []
    assert [bucket["Name"] for bucket in served.client("s3").list_buckets()["Buckets"]] == [BUCKET]


# of a job, as an object of S3: the page's own origin, and one that holds what the API's address answers
OBJECT = """<!doctype html><title>quiet</title><h1>report</h1><script>
fetch("/", {method: "POST", headers: {"X-Amz-Target": "SageMaker.ListTrainingJobs"}, body: "{}"})
  .then(answer => { document.title = `answered ${answer.status}` })
</script><img src="/own/picture.png" onerror="document.title = 'ran'">"""


def test_an_object_of_s3_that_a_person_opens_has_no_rights(served: Served) -> None:
    s3, own = served.client("s3"), served.exports["AWS_ENDPOINT_URL"]
    s3.create_bucket(Bucket="own")
    for name, kind, body in (("report.html", "text/html", OBJECT), ("program.js", "text/javascript", "alert(1)")):
        s3.put_object(Bucket="own", Key=name, Body=body.encode(), ContentType=kind, ACL="public-read")
    signed = s3.generate_presigned_url("get_object", {"Bucket": "own", "Key": "report.html"})
    with browse() as browser:
        for url in (f"{own}/own/report.html", signed):
            with open_page(browser, url, allowed="Content Security Policy|sandboxed") as page:
                page.wait_for_load_state("networkidle")
                assert (page.inner_text("h1"), page.title()) == ("report", "quiet")
    for destination, status in (("script", 403), ("iframe", 403), ("serviceworker", 403), ("document", 200)):
        headers = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Dest": destination}
        assert ask(served, "GET", "/own/program.js", headers)[0] == status
    s3.delete_object(Bucket="own", Key="report.html")
    s3.delete_object(Bucket="own", Key="program.js")
    s3.delete_bucket(Bucket="own")
