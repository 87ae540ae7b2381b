"""Between a client and the local API: notes what is asked for, as IAM calls it, and can be a network that is gone."""

import http.client
import re
import threading
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import parse_qs, urlsplit

_SCOPE = re.compile(r"Credential=[^/]+/\d+/[^/]+/(?P<service>[^/]+)/aws4_request")
_S3 = {
    ("GET", False): "ListBucket", ("HEAD", False): "ListBucket", ("POST", False): "DeleteObject",
    ("GET", True): "GetObject", ("HEAD", True): "GetObject", ("PUT", True): "PutObject", ("POST", True): "PutObject",
    ("DELETE", True): "DeleteObject",
}  # fmt: skip
_OF_A_CONNECTION = {"connection", "content-length", "transfer-encoding"}


def find_action(method: str, path: str, headers: Message, body: bytes) -> str:
    """What a policy has to allow for this request: `s3:GetObject`."""
    scope = _SCOPE.search(headers.get("Authorization", ""))
    assert scope, (method, path)
    service = scope["service"]
    if service == "s3":
        _, _, key = urlsplit(path).path.strip("/").partition("/")
        return f"s3:{_S3[method, bool(key)]}"
    if target := headers.get("X-Amz-Target"):
        return f"{service}:{target.rpartition('.')[2]}"
    return f"{service}:{parse_qs(body.decode())['Action'][0]}"


class Relay:
    """Listens on `url`; whatever comes goes to `target`, whose answer goes back."""

    def __init__(self, target: str) -> None:
        self.actions: set[str] = set()
        self.offline = threading.Event()  # set: connections are closed without an answer
        self.refused = threading.Event()  # one was
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler(urlsplit(target).netloc))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, name="relay")

    def _handler(relay, target: str) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - self is the handler's
        class Handler(BaseHTTPRequestHandler):
            def _relay(self) -> None:
                self.close_connection = True
                if relay.offline.is_set():
                    relay.refused.set()
                    return
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                relay.actions.add(find_action(self.command, self.path, self.headers, body))
                connection = http.client.HTTPConnection(target, timeout=60)
                connection.request(self.command, self.path, body, dict(self.headers))
                answer = connection.getresponse()
                content = answer.read()
                connection.close()
                self.send_response_only(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in _OF_A_CONNECTION:
                        self.send_header(name, value)
                length = answer.getheader("Content-Length", "0") if self.command == "HEAD" else str(len(content))
                self.send_header("Content-Length", length)
                self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _relay  # noqa: N815 - the base's names

            def log_message(self, *_: object) -> None:
                pass

        return Handler

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
