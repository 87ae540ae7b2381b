"""What becomes of each hyperparameter and variable that the training toolkit knows: the tables of docs/scripts.md."""

from collections.abc import Mapping

_OF_MPI = "acted on: with `sagemaker_mpi_enabled`"
_OF_DATA_PARALLEL = "without effect: `sagemaker_distributed_dataparallel_enabled` is refused"
_OF_MODEL_PARALLEL = "without effect: `mp_parameters` is refused"
_NOT_READ = "ignored: the toolkit does not read it"

HYPERPARAMETERS: Mapping[str, str] = {
    "sagemaker_program": "acted on: the script, a path in the source",
    "sagemaker_submit_directory": "acted on: the source, a folder or the address of an archive",
    "sagemaker_container_log_level": "acted on: the log level of the toolkit, a number",
    "sagemaker_job_name": "acted on: `SAGEMAKER_JOB_NAME` of the script",
    "sagemaker_region": "acted on: `SAGEMAKER_REGION` of the script, and where the source is fetched",
    "sagemaker_s3_output": "acted on: files written below `/opt/ml/output/intermediate` are copied there at once",
    "sagemaker_distribution_instance_groups": "acted on: whose hosts take part in the distribution",
    "sagemaker_multi_worker_mirrored_strategy_enabled": "acted on: `TF_CONFIG`",
    "sagemaker_parameter_server_enabled": "acted on: `TF_CONFIG`, and a parameter server on each host",
    "sagemaker_mpi_enabled": "acted on, in an image with MPI: see [Several hosts](#several-hosts)",
    "sagemaker_mpi_num_of_processes_per_host": _OF_MPI,
    "sagemaker_mpi_num_processes": _OF_MPI,
    "sagemaker_mpi_custom_mpi_options": _OF_MPI,
    "_tuning_objective_metric": "acted on: `model_dir` in S3 gets the job's name and `/model`",
    "sagemaker_distributed_dataparallel_enabled": "refused",
    "sagemaker_torch_distributed_enabled": "refused",
    "sagemaker_pytorch_ddp_enabled": "refused",
    "sagemaker_pytorch_xla_multi_worker_enabled": "refused",
    "mp_parameters": "refused",
    "sagemaker_…_enabled": "refused, whatever it is",
    "sagemaker_distributed_dataparallel_custom_mpi_options": _OF_DATA_PARALLEL,
    "sagemaker_instance_type": _OF_DATA_PARALLEL,
    "sagemaker_enable_cloudwatch_metrics": _NOT_READ,
    "sagemaker_network_interface_name": _NOT_READ,
    "default_user_module_name": _NOT_READ,
    "sagemaker_…": "passed on in `SM_FRAMEWORK_PARAMS`",
}

VARIABLES: Mapping[str, str] = {
    "SAGEMAKER_PROGRAM": "acted on: as `sagemaker_program`",
    "SAGEMAKER_TRAINING_MODULE": "acted on: `train.entrypoint:main`, set by the image; empty: the toolkit alone",
    "SAGEMAKER_BASE_DIR": "acted on: the folder that is `/opt/ml` elsewhere",
    "SM_STUDIO_LOCAL_MODE": "acted on: `true` does not wait for the names of all hosts; set for `--runner process`",
    "CA_REPOSITORY_ARN": "acted on: packages come from that CodeArtifact repository",
    "AWS_REGION": "acted on: where the source is fetched",
    "SAGEMAKER_REGION": "acted on: the same, without `AWS_REGION`",
    "S3_ENDPOINT_URL": "acted on: the address of S3 for the source",
    "TRAINING_JOB_NAME": "acted on: where intermediate output is copied",
    "SAGEMAKER_SUBMIT_DIRECTORY": "ignored: the toolkit takes the hyperparameter alone",
    "SAGEMAKER_CONTAINER_LOG_LEVEL": "ignored: the toolkit takes the hyperparameter alone",
    "CURRENT_HOST": "written: the host's name",
    "SAGEMAKER_JOB_NAME": "written: the hyperparameter's value",
    "TF_CONFIG": "written, where a distribution asks for it",
    "PYTHONPATH": "written: the source first, then the search path of the container",
    "SM_HP_MP_PARAMETERS": "written: of `mp_parameters`, which is refused",
    "USE_SMDEBUG": "without effect: smdebug is not in the image",
    "SM_DLC_TORCH_VERSION": _OF_MODEL_PARALLEL,
    "RUN_NEURON_PARALLEL_COMPILE": "without effect: `sagemaker_torch_distributed_enabled` is refused",
    "SAGEMAKER_S3_OUTPUT": _NOT_READ,
    "SAGEMAKER_ENABLE_CLOUDWATCH_METRICS": _NOT_READ,
    "SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT": "of serving, not of training",
    "SAGEMAKER_BIND_TO_PORT": "of serving, not of training",
    "SAGEMAKER_SAFE_PORT_RANGE": "of serving, not of training",
}

# what a script finds in its environment; SM_CHANNEL_<NAME> and SM_HP_<NAME> are there once for each
GIVEN = (
    "SM_CHANNELS", "SM_CHANNEL_<NAME>", "SM_CURRENT_HOST", "SM_CURRENT_INSTANCE_GROUP",
    "SM_CURRENT_INSTANCE_GROUP_HOSTS", "SM_CURRENT_INSTANCE_TYPE", "SM_DISTRIBUTION_INSTANCE_GROUPS",
    "SM_FRAMEWORK_MODULE", "SM_FRAMEWORK_PARAMS", "SM_HOSTS", "SM_HPS", "SM_HP_<NAME>", "SM_INPUT_CONFIG_DIR",
    "SM_INPUT_DATA_CONFIG", "SM_INPUT_DIR", "SM_INSTANCE_GROUPS", "SM_INSTANCE_GROUPS_DICT", "SM_IS_HETERO",
    "SM_LOG_LEVEL", "SM_MODEL_DIR", "SM_MODULE_DIR", "SM_MODULE_NAME", "SM_NETWORK_INTERFACE_NAME", "SM_NUM_CPUS",
    "SM_NUM_GPUS", "SM_NUM_NEURONS", "SM_OUTPUT_DATA_DIR", "SM_OUTPUT_DIR", "SM_OUTPUT_INTERMEDIATE_DIR",
    "SM_RESOURCE_CONFIG", "SM_TRAINING_ENV", "SM_USER_ARGS", "SM_USER_ENTRY_POINT",
)  # fmt: skip
