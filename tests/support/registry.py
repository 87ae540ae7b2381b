"""An image registry on loopback."""

import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

from tests.support.hosts import free_port


class Registry:
    """Debian's docker-registry, with its data in `folder`."""

    DOCKER = "application/vnd.docker.distribution.manifest.v2+json"

    def __init__(self, folder: Path, password_hash: str = "") -> None:
        """`password_hash`: bcrypt's, of the user AWS; without one it is open to everybody."""
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        config = folder / "registry.yml"
        config.write_text(
            f"version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {folder}/registry\n"
            f"http:\n  addr: {self.address}\n"
        )
        if password_hash:
            (folder / "htpasswd").write_text(f"AWS:{password_hash}\n")
            with config.open("a") as file:
                file.write(f"auth:\n  htpasswd:\n    realm: tests\n    path: {folder}/htpasswd\n")
        self._log = (folder / "registry.log").open("w")
        self._process = subprocess.Popen(
            ["docker-registry", "serve", str(config)], stdout=self._log, stderr=subprocess.STDOUT
        )
        limit = time.monotonic() + 60
        while not self._answers():
            assert time.monotonic() < limit and self._process.poll() is None, (folder / "registry.log").read_text()
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{self.address}/v2/", timeout=5) as answer:
                return answer.status == 200
        except urllib.error.HTTPError as error:
            return error.code == 401
        except OSError:
            return False

    def manifest(self, name: str, tag: str) -> str:
        """As the registry keeps it."""
        kind = self.DOCKER
        asked = urllib.request.Request(f"http://{self.address}/v2/{name}/manifests/{tag}", headers={"Accept": kind})
        with urllib.request.urlopen(asked, timeout=30) as answer:
            return answer.read().decode()

    def close(self) -> None:
        self._process.kill()
        self._process.wait(30)
        self._log.close()
