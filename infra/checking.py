"""What is asked of the system while it is deployed, and the way back where the answer is wrong."""

import base64
from collections.abc import Iterator, Mapping
from typing import Any

from infra.applying import Check, Run, StoppedError
from infra.gcloud import GcloudError, gcloud, read
from infra.smoke import NoWayError, ask, ask_page, probes
from infra.steps import Values

TAG = "candidate"
"""What a revision without traffic is called, so that it has an address."""
KEPT = 10
"""Gateway configs that are kept: Google allows 100."""


def checks(values: Values) -> Mapping[str, Check]:
    """Return the checks that steps may name."""
    return {
        "candidates": lambda _: candidates(values),
        "answering": lambda run: answering(values, run),
        "pruned": lambda _: pruned(values),
        "mail": lambda _: mail(values),
    }


def candidates(values: Values) -> Iterator[str]:
    """Ask each revision that is to serve, at its own address. StoppedError at a wrong answer.

    A portal has none that we could ask: Cloud Run did, before it called the revision ready.
    """
    key = smoke_key(values)
    for each in values["functions"]:
        if each["host"]:
            yield f"{each['function']}: asked by Cloud Run itself when it started"
            continue
        service = _describe(each["service"], values)
        address = _address_of_latest(service)
        token = gcloud(
            f"auth print-identity-token --audiences={service['status']['url']}"
            f" --impersonate-service-account={values['pipeline']}"
        )
        # Behind the gateway the caller's own key is in this header.
        headers = {"Authorization": f"Bearer {token['id_token']}"}
        for probe in probes(each["function"], with_key=bool(key)):
            own = {"X-Forwarded-Authorization": key} if key and each in values["publics"] else {}
            yield ask(probe, address, {**headers, **own}, values)


def answering(values: Values, run: Run) -> Iterator[str]:
    """Ask each public function as partners do, through the gateway, and each portal as people do.

    At a wrong answer, or where it cannot be asked, what this run changed is taken back, and
    StoppedError says so.
    """
    try:
        described = gcloud(
            f"api-gateway gateways describe ally --location={values['region']}"
            f" --project={values['project']}"
        )
        address = f"https://{described['defaultHostname']}"
        key = smoke_key(values)
        for each in values["publics"]:
            for probe in probes(each["function"], with_key=bool(key)):
                yield ask(probe, address, {"Authorization": key} if key else {}, values)
        for each in values["portals"]:
            try:
                yield ask_page(each, values)
            except NoWayError as error:  # so at the first deployment; no revision can mend it
                yield str(error)
    except (StoppedError, GcloudError) as error:
        yield str(error)
        back = list(taken_back(values, run))
        yield from back
        said = "Rolled back; the revisions before serve again." if back else "Nothing to roll back."
        raise StoppedError(f"{error}\n{said}") from None


def taken_back(values: Values, run: Run) -> Iterator[str]:
    """Give the gateway and traffic back to what served before this run, the last change first."""
    for change in reversed(run.changes):
        found = change.found
        if change.step.phase == "traffic" and (before := _serving(found)):
            yield _serve(found["metadata"]["name"], before, values)
        if change.step.phase == "gateway" and change.verb == "update" and "apiConfig" in found:
            config = found["apiConfig"].rpartition("/")[2]
            gcloud(
                f"api-gateway gateways update ally --api=ally --api-config={config}"
                f" --location={values['region']} --project={values['project']}"
            )
            yield f"the gateway works by {config} again"


def rolled_back(values: Values) -> Iterator[str]:
    """Let each service's revision before the one that serves now serve again."""
    for each in values["functions"]:
        serving = _serving(_describe(each["service"], values))
        listed = gcloud(
            f"run revisions list --service={each['service']} --region={values['region']}"
            f" --project={values['project']} --sort-by=~metadata.creationTimestamp"
        )
        names = [revision["metadata"]["name"] for revision in listed]
        older = names[names.index(serving) + 1 :] if serving in names else []
        if older:
            yield _serve(each["service"], older[0], values)
        else:
            yield f"{each['service']} has no revision before {serving}"


def pruned(values: Values) -> Iterator[str]:
    """Delete gateway configs that are neither in use nor among the newest."""
    project = values["project"]
    listed = gcloud(
        f"api-gateway api-configs list --api=ally --project={project} --sort-by=~createTime"
    )
    for each in listed[KEPT:]:
        name = each["name"].rpartition("/")[2]
        if name != values["config"]:
            gcloud(f"api-gateway api-configs delete {name} --api=ally --project={project}")
            yield f"{name} deleted"
    yield f"{min(len(listed), KEPT)} kept"


def mail(values: Values) -> Iterator[str]:
    """Tell whether there is a password for the mail server, and what to do where there is none."""
    if not values["smtp_user"]:
        yield f"{values['smtp']} is not asked for any"
    elif _version("smtp-password", "describe 1", values) is None:
        yield (
            "There is none, and no mail leaves until there is. Make it:"
            f' printf %s "$PASSWORD" | gcloud secrets create smtp-password --data-file=-'
            f" --location={values['region']} --project={values['project']}"
        )
    else:
        yield f"it is there, for {values['smtp_user']} at {values['smtp']}"


def smoke_key(values: Values) -> str:
    """Return the test key that is kept for smoke tests; nothing where there is none yet."""
    found = _version("smoke-key", "access latest", values)
    return "" if found is None else base64.urlsafe_b64decode(found["payload"]["data"]).decode()


def _version(secret: str, verb: str, values: Values) -> Any:
    """Ask for a version of a secret; None where there is no such version, or no such secret."""
    return read(
        f"secrets versions {verb} --secret={secret} --location={values['region']}"
        f" --project={values['project']}"
    )


def _describe(service: str, values: Values) -> Any:
    return gcloud(
        f"run services describe {service} --region={values['region']} --project={values['project']}"
    )


def _address_of_latest(service: Any) -> str:
    """Return where the newest revision alone answers. StoppedError where nobody can ask it."""
    newest = service["status"]["latestReadyRevisionName"]
    for entry in service["status"]["traffic"]:
        if entry.get("tag") == TAG and entry["revisionName"] == newest:
            return str(entry["url"])
    if _serving(service) == newest:
        return str(service["status"]["url"])
    name = service["metadata"]["name"]
    raise StoppedError(
        f"{newest} was made by hand and never asked: it has no tag {TAG}. Deploy another commit, or"
        f" let it be asked: gcloud run services update-traffic {name} --update-tags={TAG}={newest}"
    )


def _serving(service: Any) -> str:
    """Return the revision that has all traffic; nothing where none has."""
    traffic = (service or {}).get("status", {}).get("traffic", ())
    return next((each["revisionName"] for each in traffic if each.get("percent") == 100), "")


def _serve(service: str, revision: str, values: Values) -> str:
    gcloud(
        f"run services update-traffic {service} --to-revisions={revision}=100"
        f" --region={values['region']} --project={values['project']}"
    )
    return f"{service} is served by {revision} again"
