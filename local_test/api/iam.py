"""IAM SimulatePrincipalPolicy, which moto lacks and SDKs call before a job: everything is allowed here."""

from collections.abc import Mapping
from urllib.parse import parse_qsl
from uuid import uuid4
from xml.sax.saxutils import escape

from local_test.api.json_protocol import Answer

_NAMESPACE = "https://iam.amazonaws.com/doc/2010-05-08/"


def simulate(body: bytes) -> Answer | None:
    """The answer to a SimulatePrincipalPolicy request, None for any other."""
    form = dict(parse_qsl(body.decode(errors="replace")))
    if form.get("Action") != "SimulatePrincipalPolicy":
        return None
    resources = _members(form, "ResourceArns") or ["*"]
    results = "".join(_result(action, name) for action in _members(form, "ActionNames") for name in resources)
    return Answer(
        200,
        f'<SimulatePrincipalPolicyResponse xmlns="{_NAMESPACE}"><SimulatePrincipalPolicyResult>'
        f"<IsTruncated>false</IsTruncated><EvaluationResults>{results}</EvaluationResults>"
        f"</SimulatePrincipalPolicyResult><ResponseMetadata><RequestId>{uuid4()}</RequestId></ResponseMetadata>"
        "</SimulatePrincipalPolicyResponse>".encode(),
        "text/xml",
    )


def _members(form: Mapping[str, str], name: str) -> list[str]:
    """A list of the query protocol: Name.member.1, Name.member.2, …"""
    values: list[str] = []
    while value := form.get(f"{name}.member.{len(values) + 1}"):
        values.append(value)
    return values


def _result(action: str, resource: str) -> str:
    return (
        f"<member><EvalActionName>{escape(action)}</EvalActionName>"
        f"<EvalResourceName>{escape(resource)}</EvalResourceName><EvalDecision>allowed</EvalDecision>"
        "<MatchedStatements/><MissingContextValues/></member>"
    )
