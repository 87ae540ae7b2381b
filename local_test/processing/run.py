"""The run of a processing job: outputs of mode Continuous are copied up meanwhile."""

from collections.abc import Callable

from local_test.hosts.checkpoint_sync import CheckpointSync
from local_test.processing.host import output_tree
from local_test.request.processing import managed_outputs
from local_test.runners.supervisor import Ended
from local_test.training.run import Run

# the service's words
_FAILED = "AlgorithmError: See job logs for more information"
_OUT_OF_MEMORY = (
    "ClientError: Please use an instance type with more memory, or reduce the size of job data processed "
    "on an instance."
)


class ProcessingRun(Run):
    """One start of its containers."""

    synced, lost = "an output", "Output upload failed"

    def _make_syncs(self, check: Callable[[], None]) -> list[CheckpointSync]:  # noqa: ARG002 - nothing is restored
        continuous = [
            item for item in managed_outputs(self._request) if item["S3Output"]["S3UploadMode"] == "Continuous"
        ]
        return [
            CheckpointSync(
                output_tree(host.paths, item), item["S3Output"]["S3Uri"], self._storage, self._note_copy_problem
            )
            for host in self._hosts
            for item in continuous
        ]

    def _explain_failure(self, ended: Ended) -> str:
        """The exit code is in platform.log: the service's words leave it out."""
        name = self._hosts[ended.index].paths.name
        self._publisher.note(f"the container of {name} has ended with exit code {ended.exit.code}")
        return _OUT_OF_MEMORY if ended.exit.out_of_memory else _FAILED
