"""Search beside jobs and experiments: suggestions of property names, and resources that are moto's or nobody's."""

from typing import Any

from tests.support.api import check_shape, refusal_of
from tests.support.served import ended, request


def test_suggestions_are_what_can_be_searched_for(sagemaker: Any) -> None:
    def suggest(hint: str) -> list[str]:
        answer = sagemaker.get_search_suggestions(
            Resource="TrainingJob", SuggestionQuery={"PropertyNameQuery": {"PropertyNameHint": hint}}
        )
        return [item["PropertyName"] for item in check_shape("GetSearchSuggestions", answer)["PropertyNameSuggestions"]]

    tags = [{"Key": "team", "Value": "a"}]
    sagemaker.create_training_job(**request("suggested", HyperParameters={"suggested-rate": "1"}, Tags=tags))
    ended(sagemaker, "suggested")
    assert {"TrainingJobName", "TrainingJobArn", "TrainingJobStatus"} <= set(suggest("TrainingJob"))
    assert suggest("HyperParameters.sugg") == ["HyperParameters.suggested-rate"]
    assert "Tags.team" in suggest("Tags.")
    assert suggest("Nothing") == []
    for name in ("HyperParameters.suggested-rate", "ResourceConfig.InstanceType"):
        assert name in suggest(name)
        found = sagemaker.search(
            Resource="TrainingJob", SearchExpression={"Filters": [{"Name": name, "Operator": "Exists"}]}
        )
        assert found["Results"]
    assert sagemaker.get_search_suggestions(Resource="ExperimentTrialComponent")["PropertyNameSuggestions"]
    assert "suggests nothing for this. Received: Model." in refusal_of(
        sagemaker.get_search_suggestions, "ValidationException", Resource="Model"
    )


def test_search_for_other_resources(sagemaker: Any) -> None:
    sagemaker.create_model_package_group(ModelPackageGroupName="searched")
    named = [{"Name": "ModelPackageGroupName", "Operator": "Equals", "Value": "searched"}]
    found = sagemaker.search(Resource="ModelPackageGroup", SearchExpression={"Filters": named})["Results"]
    assert [item["ModelPackageGroup"]["ModelPackageGroupName"] for item in found] == ["searched"]
    for resource in ("Model", "ModelCard", "HubContent"):
        assert f"does not search for this. Received: {resource}. Expected: TrainingJob" in refusal_of(
            sagemaker.search, "ValidationException", Resource=resource
        )
    for members in (
        {"SearchExpression": {"Filters": [{**named[0], "Operator": "GreaterThan"}]}},
        {"SearchExpression": {"SubExpressions": [{"Filters": named}]}},
        {"SearchExpression": {"Filters": [{"Name": "Tags.a", "Operator": "NotEquals", "Value": "b"}]}},
        {"SortBy": "CreationTime"},
    ):
        refusal_of(sagemaker.search, "ValidationException", Resource="ModelPackageGroup", **members)
