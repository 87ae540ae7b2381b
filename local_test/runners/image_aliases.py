"""Further names of images, such as those of a registry that can't be reached from here."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from local_test.errors import BadRequest
from local_test.runners.base import Container, ContainerSpec, Runner
from local_test.util.atomic_files import read_json


class ImageAliases(Runner):
    """The runner, which runs a local image where a request names it by one of the aliases."""

    def __init__(self, runner: Runner, images: Mapping[str, str]) -> None:
        self._runner, self._images = runner, images

    def check(self, spec: ContainerSpec) -> None:
        self._runner.check(self._resolve(spec))

    def unmet_limits(self, spec: ContainerSpec) -> Sequence[str]:
        return self._runner.unmet_limits(spec)

    def job_network(self, spec: ContainerSpec) -> AbstractContextManager[str]:
        return self._runner.job_network(spec)

    def start(self, spec: ContainerSpec) -> Container:
        return self._runner.start(self._resolve(spec))

    def remove_orphans(self) -> None:
        self._runner.remove_orphans()

    def advise(self, failure: str) -> str | None:
        return self._runner.advise(failure)

    def gateway(self) -> str | None:
        return self._runner.gateway()

    def close(self) -> None:
        self._runner.close()

    def _resolve(self, spec: ContainerSpec) -> ContainerSpec:
        return replace(spec, image=self._images.get(spec.image, spec.image))


def read_images(path: Path | None) -> dict[str, str]:
    """--images: a JSON object of image names of requests → names of local images."""
    if path is None:
        return {}
    names = read_json(path, "--images")
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        raise BadRequest(f'--images must be {{"name in a request": "name of a local image", …}}. Received: {path}')
    return names
