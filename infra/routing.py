"""Which host name the balancer leads where: values for steps/85-balancer.yaml.

A portal's host leads to that portal, whatever the path; every other name leads to the gateway.
"""

import json
from typing import Any

from infra.steps import Values

PREFIX = "https://www.googleapis.com/compute/v1/projects"


def portals(values: Values) -> dict[str, Any]:
    """Return what the balancer leads to, and the rules of templates/url-map.yaml as JSON."""
    found = values["portals"]
    services = [each["service"] for each in found]
    return {
        "backends": [{"backend": name} for name in ("ally-gateway", *services)],
        "host_rules": json.dumps(
            [{"hosts": [each["host"]], "pathMatcher": each["service"]} for each in found]
        ),
        "path_matchers": json.dumps([_matcher(service, values) for service in services]),
    }


def _matcher(service: str, values: Values) -> Values:
    everything = f"{PREFIX}/{values['project']}/global"
    return {
        "name": service,
        "defaultService": f"{everything}/backendServices/{service}",
        # People are told by a page, where the API's callers are told by an envelope.
        "defaultCustomErrorResponsePolicy": {
            "errorService": f"{everything}/backendBuckets/ally-errors",
            "errorResponseRules": [
                {"matchResponseCodes": ["502", "504"], "path": "/page_failed.html"}
            ],
        },
    }
