"""Runs the image in a container with the platform's limits, through the engine's API.

A difference to the service, so that a job leaves nothing behind that only root could remove: the container runs as the
calling user (HOME=/tmp where that user is not root), without capabilities unless that is root. An image must therefore
write nowhere but below /opt/ml and /tmp, and work as any user.
"""

import errno
import io
import math
import os
import re
import tarfile
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from ipaddress import ip_network
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import uuid4

import docker
from docker.errors import APIError, ImageNotFound, NotFound
from docker.types import DeviceRequest, IPAMConfig, IPAMPool, Mount

from local_test.errors import RunnerError
from local_test.runners.base import OPT_ML, ContainerSpec, Runner
from local_test.runners.docker_container import ENGINE_ERRORS, LOG, DockerContainer, Removals, one_line
from local_test.runners.gpus import Gpus
from local_test.runners.instance_types import Limits, Machine, find_limits
from local_test.runners.ownership import hold, is_orphan
from local_test.util.console import warn_on_stderr

LABEL = "sagemaker-local-job"
BASE_LABEL = "sagemaker-local-base"  # the folder on this machine: names are unique only there
_PIDS = 8192  # processes and threads of a container: TensorFlow has tens a CPU, and a machine as few as 32768 in all
_PREFIX = "sagemaker-local-"  # of names in the engine
_CLOSE_SECONDS = 10.0  # for what could not be removed yet
_SUBNET_TRIES = 5  # another program may take the same free subnet
_SEEN_SECONDS = 1.0  # for which an image that was there is taken to be there: jobs come by the dozen
# What root has in a container: Docker's default, with which an archive of another user's files unpacks, but for what
# reaches out of it. MKNOD makes devices and SETFCAP programs with capabilities, in folders that are this machine's too;
# NET_RAW speaks for its neighbours on the network.
_CAPABILITIES = (
    *("AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "NET_BIND_SERVICE", "SETGID", "SETPCAP"),
    *("SETUID", "SYS_CHROOT"),
)


class DockerRunner(Runner):
    """`memory` and `shm_size` in Docker's notation ("2g"). Without them a container has its instance type's memory, as
    far as the machine has that, and the engine's default of /dev/shm (64 MB). `gpus`: the numbers of those that
    containers may have; None: all."""

    def __init__(
        self,
        memory: str | None = None,
        shm_size: str | None = None,
        gpus: Collection[int] | None = None,
        new_client: Callable[[], docker.DockerClient] = docker.from_env,
    ) -> None:
        self._memory, self._shm_size, self._gpus = memory, shm_size, Gpus(gpus)
        client = None
        try:
            client = new_client()
            client.ping()
        except ENGINE_ERRORS as error:
            if client:
                client.close()
            raise RunnerError(_explain(error)) from None
        self._client = client
        self._info: Mapping[str, Any] = {}
        self._seen: dict[str, float] = {}  # images, and when each was there
        self._removals, self._making_network = Removals(), threading.Lock()

    def close(self) -> None:
        for what in self._removals.wait(_CLOSE_SECONDS):
            warn_on_stderr(f"the {what} can't be removed: no Docker engine answers. Run docker rm -f, or network rm")
        self._client.close()

    def check(self, spec: ContainerSpec) -> None:
        if time.monotonic() - self._seen.get(spec.image, -math.inf) < _SEEN_SECONDS:
            return
        try:
            self._client.images.get(spec.image)
            self._seen[spec.image] = time.monotonic()
        except ImageNotFound:
            raise RunnerError(
                f"Cannot find the requested image: There is no image {spec.image} on this machine. "
                "Run make build, pull or tag it, name another with --image, or give a local one that name with "
                "serve --images FILE.json"
            ) from None
        except ENGINE_ERRORS as error:
            raise RunnerError(f"The image {spec.image} can't be used. Received: {one_line(error)}") from None

    def unmet_limits(self, spec: ContainerSpec) -> Sequence[str]:
        return self._limits(spec).notes

    def _limits(self, spec: ContainerSpec) -> Limits:
        return find_limits(spec.instance_type, self._machine()) if spec.instance_type else Limits()

    def _machine(self) -> Machine:
        engine = self._engine()
        gpus = len(self._gpus) if "nvidia" in (engine.get("Runtimes") or {}) else 0
        return Machine(engine["NCPU"], engine["MemTotal"], gpus)

    def _engine(self) -> Mapping[str, Any]:
        """What it says of itself, asked once: the answer takes it 10 ms."""
        if not self._info:
            try:
                self._info = self._client.info()
            except ENGINE_ERRORS as error:
                raise RunnerError(f"The engine does not say what it has. Received: {one_line(error)}") from None
        return self._info

    @contextmanager
    def job_network(self, spec: ContainerSpec) -> Iterator[str]:
        """One host is alone on the engine's own network. With EnableNetworkIsolation peers reach each other alone."""
        if len(spec.hosts) == 1:
            yield ""
            return
        name = f"{_PREFIX}{uuid4().hex[:12]}"
        with closing(hold(spec.base)):
            try:
                try:
                    with self._making_network:
                        self._make_network(name, spec)
                except ENGINE_ERRORS as error:
                    raise RunnerError(f"The hosts' network can't be made. Received: {one_line(error)}") from None
                yield name
            finally:
                self._removals.remove(f"network {name}", lambda: self._remove_networks(name))

    def _make_network(self, name: str, spec: ContainerSpec) -> None:
        """Addresses can be chosen only in a subnet that was named, so the engine is asked for a free one first."""
        labels = {LABEL: spec.job, BASE_LABEL: str(spec.base)}
        for tries_left in reversed(range(_SUBNET_TRIES)):
            probe = self._client.networks.create(name, labels=labels)
            try:
                assert probe.id
                subnet = self._client.networks.get(probe.id).attrs["IPAM"]["Config"][0]["Subnet"]
            finally:
                probe.remove()
            pools = IPAMConfig(pool_configs=[IPAMPool(subnet=subnet)])
            try:
                self._client.networks.create(name, internal=not spec.network, ipam=pools, labels=labels)
                return
            except APIError:  # it was taken meanwhile
                if not tries_left:
                    raise

    def _remove_networks(self, name: str) -> None:
        """By its name, which is there although the engine's answer may not have arrived."""
        for network in self._client.networks.list(names=[name]):
            network.remove()

    def start(self, spec: ContainerSpec) -> DockerContainer:
        name = f"{_PREFIX}{uuid4().hex[:12]}"  # it can be removed although the engine's answer may not have arrived
        self._removals.wait(_CLOSE_SECONDS)  # an earlier run of the same job would write to the same folders
        held = ExitStack()  # until the container has ended
        try:
            held.enter_context(closing(hold(spec.base)))
            gpus = self._gpus.take(self._limits(spec).gpus)
            held.callback(self._gpus.give_back, gpus)
            user = self._user()
            container = self._client.containers.create(name=name, **self._options(spec, user, gpus))
            if not _is_root(user):
                container.put_archive("/", _folders_of(user, spec.folders))
            return DockerContainer(container, self._removals, held)
        except BaseException as error:
            held.close()
            self._seen.clear()
            self._removals.remove(
                f"container {name}", lambda: self._client.api.remove_container(name, v=True, force=True)
            )
            if isinstance(error, ENGINE_ERRORS):
                raise RunnerError(_explain_start(spec, one_line(error))) from None
            raise

    def remove_orphans(self) -> None:
        try:
            for container in self._client.containers.list(all=True, filters={"label": LABEL}, ignore_removed=True):
                _remove_orphan(container)
            for network in self._client.networks.list(filters={"label": LABEL}):
                if is_orphan(Path(network.attrs["Labels"].get(BASE_LABEL, ""))):
                    with suppress(NotFound):
                        network.remove()
        except ENGINE_ERRORS as error:
            raise RunnerError(f"Containers left behind can't be removed. Received: {one_line(error)}") from None

    def gateway(self) -> str | None:
        """The address of this machine as containers see it; None where the engine does not say."""
        try:
            pools = self._client.networks.get("bridge").attrs["IPAM"]["Config"]
        except ENGINE_ERRORS:
            return None
        # some engines name none: it is the first address then
        return next((pool.get("Gateway") or str(ip_network(pool["Subnet"])[1]) for pool in pools or []), None)

    def _options(self, spec: ContainerSpec, user: str, gpus: Sequence[int]) -> Mapping[str, Any]:
        limit = self._limits(spec)
        memory = self._memory or limit.memory
        home = {} if _is_root(user) else {"HOME": "/tmp"}  # noqa: S108 - inside the container
        return {
            "image": spec.image,
            "entrypoint": list(spec.entrypoint) if spec.entrypoint else None,
            "command": list(spec.arguments),
            "environment": {**home, **spec.environment},
            "mounts": _mounts(spec),
            "hostname": spec.host,
            "labels": {LABEL: spec.job, "sagemaker-local-host": spec.host, BASE_LABEL: str(spec.base)},
            "user": user,
            "cap_drop": ["ALL"],
            "cap_add": list(_CAPABILITIES) if _is_root(user) else None,
            "security_opt": ["no-new-privileges"],
            **self._network(spec),
            "mem_limit": memory,
            "memswap_limit": memory,  # equal to the memory: no swap, as on the service
            "nano_cpus": limit.cpus and limit.cpus * 1_000_000_000,
            "device_requests": _request_gpus(gpus),
            "shm_size": self._shm_size,
            "pids_limit": _PIDS,
            "log_config": LOG,
        }

    def _network(self, spec: ContainerSpec) -> Mapping[str, Any]:
        if not spec.network_name:
            # without a network the engine gives no host a name, which the toolkit waits for, for 15 minutes
            alone = {} if spec.network else {"extra_hosts": {spec.host: "127.0.0.1"}}
            return {"network_mode": "bridge" if spec.network else "none", **alone}
        subnet = ip_network(self._client.networks.get(spec.network_name).attrs["IPAM"]["Config"][0]["Subnet"])
        # by /etc/hosts as well: asked for a host that is not up yet, the engine's name server asks others, which may
        # take long; but it alone knows that there is no IPv6 address
        addresses = {host: str(subnet[index]) for index, host in enumerate(spec.hosts, 2)}  # after the gateway's
        endpoint = self._client.api.create_endpoint_config(aliases=[spec.host], ipv4_address=addresses[spec.host])
        return {
            "network": spec.network_name,
            "networking_config": {spec.network_name: endpoint},
            "extra_hosts": addresses,
        }

    def _user(self) -> str:
        """The calling user; a rootless engine has that user as its root already."""
        rootless = any("rootless" in option for option in self._engine().get("SecurityOptions") or [])
        return "0:0" if rootless else f"{os.getuid()}:{os.getgid()}"


def _remove_orphan(container: Any) -> None:
    """One whose folder is gone may be of a program that lives and sees other folders: the person is asked."""
    job, base = container.labels[LABEL], Path(container.labels.get(BASE_LABEL, ""))
    with suppress(NotFound):
        if is_orphan(base):
            container.remove(force=True, v=True)
            warn_on_stderr(f"a container of the job {job} was left by a program that was killed; it is removed")
        elif not _is_there(base):
            container.reload()
            warn_on_stderr(
                f"a container of the job {job} is left, and its folder is gone. If nothing of yours runs that job: "
                f"docker rm -f {container.name}"
            )


def _is_there(path: Path) -> bool:
    try:
        path.stat()
    except FileNotFoundError:
        return False
    except OSError:  # another user's
        return True
    return True


def _request_gpus(numbers: Sequence[int]) -> list[DeviceRequest]:
    return [DeviceRequest(device_ids=[*map(str, numbers)], capabilities=[["gpu"]])] if numbers else []


def _is_root(user: str) -> bool:
    return user.startswith("0:")


def _mounts(spec: ContainerSpec) -> list[Mount]:
    """A job's are writable, as on the service: SDK v3's programs change modes below /opt/ml/input, and write there."""
    return [
        *(Mount(str(OPT_ML / name), str(spec.base / name), type="bind") for name in spec.folders),
        *(Mount(target, str(source), type="bind") for source, target in spec.mounts.items()),
        *(Mount(target, str(source), type="bind", read_only=True) for source, target in spec.inputs.items()),
    ]


def _folders_of(user: str, mounted: Sequence[str]) -> bytes:
    """/opt/ml, /opt/ml/code and what else the mounted folders lie in, an image's own or new, as the user's: the toolkit
    unpacks a job's script into it, a processing script may write beside its outputs.

    An archive to be merged into the container.
    """
    above = {OPT_ML / parent for name in mounted for parent in PurePosixPath(name).parents}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path in sorted({OPT_ML, OPT_ML / "code", *above}):
            member = tarfile.TarInfo(str(path.relative_to("/")))
            member.type, member.mode = tarfile.DIRTYPE, 0o755
            member.uid, member.gid = map(int, user.split(":"))
            tar.addfile(member)
    return buffer.getvalue()


def _explain_start(spec: ContainerSpec, reason: str) -> str:
    """The service starts `docker run IMAGE train`, so an image without ENTRYPOINT needs a program of that name; of a
    processing job the image's own."""
    words = [*(spec.entrypoint or ()), *spec.arguments]
    program = words[0] if words else "what its ENTRYPOINT or CMD says"
    if "no command specified" in reason.lower():
        member = f"{spec.kind.specification}.ContainerEntrypoint"
        return f"The image names no program. Received: {spec.image}. Name one in {member}"
    if "executable file not found" in reason:
        return (
            f"The image has no program called {program} on its PATH. Received: {spec.image}. Add one, or name another "
            f"in {spec.kind.specification}.ContainerEntrypoint"
        )
    return f"The container can't be started. Received: {reason}"


def _explain(error: Exception) -> str:
    """Why there is no engine, and what to do. Of an error in an error in an error, the system's own words."""
    text = one_line(error)
    reason = re.search(r"Error\(\d+, '([^']+)'\)", text)
    if reason and reason[1] == os.strerror(errno.EACCES):
        advice = "Join the group of its socket, mostly docker, or use --runner process"
        return f"This user may not use the Docker engine: {reason[1]}. {advice}"
    return f"No Docker engine answers. Received: {reason[1] if reason else text}. Start one, or use --runner process"
