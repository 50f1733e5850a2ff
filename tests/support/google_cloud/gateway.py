"""API Gateway: APIs, their configs, which cannot be changed, and gateways that serve one."""

from tests.support.google_cloud.kinds import Kind, kinds, on
from tests.support.google_cloud.state import Refusal, State
from tests.support.google_cloud.wire import Call, Json

MESSAGE = "google.cloud.apigateway.v1"


def api_born(state: State, _call: Call, name: str, _api: Json) -> Json:
    _, project, *_, api = name.split("/")
    managed = f"{api}-{state.fresh()[:13]}.apigateway.{project}.cloud.goog"
    return {"managedService": managed, "state": "ACTIVE", **_times(state)}


def config_born(state: State, _call: Call, name: str, config: Json) -> Json:
    others = state.within("apigateway", name.rpartition("/")[0]).values()
    if any(other["state"] == "CREATING" for other in others):
        raise Refusal(409, "unable to queue the operation", "ABORTED")
    if len(others) >= 100:
        raise Refusal(429, "An API has 100 configs at most.")
    account = config.get("gatewayServiceAccount", "").rpartition("/")[2]
    owner = account.partition("@")[2].partition(".")[0]
    if account:
        state.find("iam", f"projects/{owner}/serviceAccounts/{account}")
    state.unripe[f"apigateway/{name}"] = {"state": "ACTIVE"}
    identity = f"{name.rpartition('/')[2]}-{state.fresh()[:13]}"
    return {"serviceConfigId": identity, "state": "CREATING", **_times(state)}


def config_changed(state: State, call: Call, _name: str, _config: Json) -> Json:
    if not {"displayName", "labels"}.issuperset(call.query["updateMask"].split(",")):
        raise Refusal(400, "An API config's documents and account cannot be changed.")
    return {"updateTime": state.now()}


def gateway_born(state: State, call: Call, name: str, gateway: Json) -> Json:
    _, _, _, region, _, identity = name.split("/")
    code = "".join(part[0] for part in region.split("-")) if region != "europe-west2" else "nw"
    return {
        "defaultHostname": f"{identity}-{state.fresh()[:8]}.{code}.gateway.dev",
        "state": "ACTIVE",
        "createTime": state.now(),
        **gateway_changed(state, call, name, gateway),
    }


def gateway_changed(state: State, _call: Call, _name: str, gateway: Json) -> Json:
    config = state.find("apigateway", gateway["apiConfig"])
    if config["state"] != "ACTIVE":
        raise Refusal(400, "The API config is not active.", "FAILED_PRECONDITION")
    return {"updateTime": state.now()}


def _times(state: State) -> Json:
    now = state.now()
    return {"createTime": now, "updateTime": now}


API = Kind(
    "apigateway",
    "projects/*/locations/global/apis",
    "?apiId",
    api_born,
    operation="later",
    message=f"{MESSAGE}.Api",
)
CONFIG = Kind(
    "apigateway",
    "projects/*/locations/global/apis/*/configs",
    "?apiConfigId",
    config_born,
    config_changed,
    listed="apiConfigs",
    operation="later",
    message=f"{MESSAGE}.ApiConfig",
)
kinds(
    API,
    CONFIG,
    Kind(
        "apigateway",
        "projects/*/locations/*/gateways",
        "?gatewayId",
        gateway_born,
        gateway_changed,
        operation="later",
        message=f"{MESSAGE}.Gateway",
    ),
)


@on("GET", "apigateway", "{api=**}/configs/{config}")
def config(state: State, call: Call, api: str, config: str) -> Json:
    """Return a config, its documents only if the whole is asked for."""
    found = CONFIG.get(state, f"{api}/configs/{config}")
    if call.query.get("view") != "FULL":
        found.pop("openapiDocuments", None)
    return found


@on("GET", "apigateway", "{api=**}/configs")
def configs(state: State, _call: Call, api: str) -> Json:
    """List configs, without their documents."""
    state.find("apigateway", api)
    found = CONFIG.list(state, f"{api}/configs")
    for each in found["apiConfigs"]:
        each.pop("openapiDocuments", None)
    return found


@on("DELETE", "apigateway", "{place=**}/apis/{api}")
def delete_api(state: State, _call: Call, place: str, api: str) -> Json:
    name = f"{place}/apis/{api}"
    if state.within("apigateway", f"{name}/configs"):
        raise Refusal(
            400, "The API has configs, which must be deleted first.", "FAILED_PRECONDITION"
        )
    return API.delete(state, name)


@on("DELETE", "apigateway", "{api=**}/configs/{config}")
def delete_config(state: State, _call: Call, api: str, config: str) -> Json:
    name = f"{api}/configs/{config}"
    used = [
        key
        for key, each in state.resources.items()
        if key.startswith("apigateway/") and each.get("apiConfig") == name
    ]
    if used:
        raise Refusal(400, f"The API config is used by {used[0]}.", "FAILED_PRECONDITION")
    return CONFIG.delete(state, name)
