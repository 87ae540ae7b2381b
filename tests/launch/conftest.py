"""The local API with data in a bucket, and each of the four clients."""

from collections.abc import Iterator

import pytest

from tests.support.clients import CLIENTS, Client, LaunchServer, require_client

# the AWS CLI takes seconds a command, the SDKs seconds to import; one request equal from all is a test of its own
PARAMETERS = [CLIENTS[0], *(pytest.param(client, marks=pytest.mark.slow) for client in CLIENTS[1:])]


@pytest.fixture(params=PARAMETERS, ids=lambda client: client.name)
def client(request: pytest.FixtureRequest) -> Client:
    """Each of them; one that is not installed is skipped, with a reason."""
    found: Client = request.param
    return require_client(found)


@pytest.fixture(scope="session")
def launched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LaunchServer]:
    with LaunchServer(tmp_path_factory.mktemp("launched"), "--parallel", "4") as server:
        yield server
        assert "Traceback" not in server.end()
