"""SageMaker's operations that this platform does not execute: stored by moto, or refused. None pretends."""

from local_test.api.json_protocol import Answer, refusal
from local_test.request.validation import service_model

# what they make is data and nothing more, so moto's answer is true
STORED = frozenset(
    f"{verb}{resource}"
    for verbs, resources in {
        "Create Describe Delete": """Model EndpointConfig ModelCard NotebookInstanceLifecycleConfig
            DataQualityJobDefinition ModelBiasJobDefinition ModelExplainabilityJobDefinition
            ModelQualityJobDefinition""",
        "Create Describe": "FeatureGroup ModelPackage ModelPackageGroup",
        "Update": "ModelCard ModelPackage",
        "List": """Models EndpointConfigs ModelCards ModelCardVersions ModelPackages ModelPackageGroups
            DataQualityJobDefinitions ModelBiasJobDefinitions ModelExplainabilityJobDefinitions
            ModelQualityJobDefinitions""",
    }.items()
    for verb in verbs.split()
    for resource in resources.split()
)


def refuse(operation: str, *, allow_mocked: bool = False) -> Answer | None:
    """The error for an operation that would do something and doesn't; None if moto is to answer.

    moto says Completed or InService to jobs and endpoints that never ran: a false success in somebody's tests.
    `allow_mocked` is for those who want its answers all the same.
    """
    if operation not in service_model().operation_names:
        return refusal("UnknownOperationException", f"SageMaker has no operation {operation}. Is boto3 newer?")
    if allow_mocked or operation in STORED:
        return None
    return refusal(
        "AccessDeniedException",
        f"The local platform does not execute {operation}: nothing would run. serve --allow-mocked gives moto's answer",
        403,
    )
