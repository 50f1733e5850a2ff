"""Documentation: what people and programs read about the API."""

import base64
import hashlib
import re
from functools import cache
from html import escape

import functions_framework.aio

from functions.docs.document import document
from shared import Api, Content, Request, Response
from shared.catalogue import CATALOGUE, RETRYABLE, Code
from shared.routes import PUBLIC, Site

api = Api("docs", audience="browser")

STYLE = """
:root { color-scheme: light dark; background: Canvas; color: CanvasText }
body { font: 1rem/1.6 system-ui, sans-serif; max-width: 48rem; margin: 2rem auto; padding: 0 1rem }
h1, h2 { line-height: 1.2 }
h2 { margin: 3rem 0 1rem; border-bottom: 1px solid; padding-bottom: .3rem }
h3 { margin: 0; font-size: 1rem }
h3 a { color: inherit; text-decoration: none }
h3 a:hover, h3 a:focus-visible { text-decoration: underline }
p { margin: .2rem 0 }
code { font-family: ui-monospace, monospace; overflow-wrap: anywhere }
nav ul { columns: 16rem; list-style: none; padding: 0 }
section { padding: .6rem .8rem; border-radius: .4rem; scroll-margin-top: 1rem }
:target { background: light-dark(#fff3c4, #4a3b00) }
"""
_DIGEST = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
_SAFETY = (
    ("Content-Security-Policy", f"default-src 'none'; style-src 'sha256-{_DIGEST}'"),
    ("X-Content-Type-Options", "nosniff"),
)
_TITLES = {
    400: "The request is wrong",
    401: "No valid key",
    402: "The request is right, and the world refuses",
    403: "Not allowed",
    404: "Not there",
    405: "Not possible there",
    409: "Try again",
    413: "Too large",
    429: "Too much at once",
    500: "Our fault",
    503: "Our fault, and soon over",
}
_BELOW = """<section id="below">
<h2>What is not HTTP</h2>
<p>A request that cannot be read as HTTP never reaches the API: one with a method that HTTP does not
know, an address of more than 64 KiB or with characters that are not percent-encoded, or a length
that is no number. The server answers it with status 400 and the plain text <code>Invalid HTTP
request received.</code>, without a <code>Request-Id</code>.</p>
</section>
"""


@api.get("/docs/errors", permission=PUBLIC)
async def errors(_: Site) -> Content:
    """Show every code: what it means and what to do, each under an anchor of its name."""
    return Content("text/html; charset=utf-8", _page(), _SAFETY)


@api.get("/v1/openapi.json", permission=PUBLIC)
async def get_openapi(site: Site) -> Content:
    """Return this description, in OpenAPI 3.1."""
    return document("openapi.json", site)


@api.get("/v1/openapi-3.2.json", permission=PUBLIC)
async def get_openapi_3_2(site: Site) -> Content:
    """Return this description, in OpenAPI 3.2."""
    return document("openapi-3.2.json", site)


@cache
def _page() -> str:
    codes = sorted(CATALOGUE.values(), key=lambda code: (code.status, code.name))
    groups = {
        status: [code for code in codes if code.status == status]
        for status in dict.fromkeys(code.status for code in codes)
    }
    return f"""<!DOCTYPE html>
<html lang="en-GB">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Errors of the Ally API</title>
<style>{STYLE}</style>
</head>
<body>
<main>
<h1>Errors of the Ally API</h1>
<p>Every answer that is not 200 is one JSON object, <code>error</code>. Its <code>type</code> says
what kind of error it is, its <code>code</code> is for programs, its <code>message</code> and
<code>fix</code> for people; <code>errors</code> has all the wrong parameters of a request, and
<code>request_id</code> finds the request in our logs. What stands in <var>italics</var> below
differs from case to case. With <code>Accept: application/problem+json</code> the same facts come in
the form of RFC 9457. Only <a href="#below">what is not HTTP</a> is answered otherwise.</p>
<nav aria-label="Codes"><ul>
{"".join(f'<li><a href="#{code.name}"><code>{code.name}</code></a></li>' for code in codes)}
</ul></nav>
{"".join(_group(status, members) for status, members in groups.items())}
{_BELOW}
</main>
</body>
</html>
"""


def _group(status: int, codes: list[Code]) -> str:
    again = ""
    if status in RETRYABLE:
        again = "<p>Send the same request again, after the seconds of <code>Retry-After</code>.</p>"
    return f"""<h2>{status}: {_TITLES[status]}</h2>
{again}{"".join(_section(code) for code in codes)}"""


def _section(code: Code) -> str:
    return f"""<section id="{code.name}">
<h3><a href="#{code.name}"><code>{code.name}</code></a></h3>
<p>{_sentence(code.message)} {_sentence(code.fix)}</p>
<p><small>Type <code>{code.type}</code></small></p>
</section>
"""


def _sentence(text: str) -> str:
    """Write a sentence of the catalogue, the facts that each case fills in as variables."""
    return re.sub(r"\{(\w+)\}", r"<var>\1</var>", escape(text, quote=False))


@functions_framework.aio.http
async def docs(request: Request) -> Response:
    """Serve /docs and the OpenAPI documents."""
    return await api(request)
