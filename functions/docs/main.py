"""Documentation: what people and programs read about the API."""

import functions_framework.aio

from functions.docs import pages
from functions.docs.document import document
from shared import Api, Content, Request, Response
from shared.routes import PUBLIC, Site

api = Api("docs", audience="browser")


@api.get("/docs", permission=PUBLIC)
async def start(site: Site) -> Content:
    """Show the first page: the quick start."""
    return pages.page("/docs", site)


@api.get("/docs/{page}", permission=PUBLIC)
async def guide(site: Site, page: str) -> Content:
    """Show a guide, the codes of errors, or the overview of the reference."""
    return pages.page(f"/docs/{page}", site)


@api.get("/docs/reference/{resource}", permission=PUBLIC)
async def resource(site: Site, resource: str) -> Content:
    """Show the operations of one resource."""
    return pages.page(f"/docs/reference/{resource}", site)


@api.get("/docs/assets/{name}", permission=PUBLIC)
async def asset(_: Site, name: str) -> Content:
    """Return a style sheet, a script or a picture of the pages."""
    return pages.asset(name)


@api.get("/v1/openapi.json", permission=PUBLIC)
async def get_openapi(site: Site) -> Content:
    """Return this description, in OpenAPI 3.1."""
    return document("openapi.json", site)


@api.get("/v1/openapi-3.2.json", permission=PUBLIC)
async def get_openapi_3_2(site: Site) -> Content:
    """Return this description, in OpenAPI 3.2."""
    return document("openapi-3.2.json", site)


@functions_framework.aio.http
async def docs(request: Request) -> Response:
    """Serve /docs and the OpenAPI documents."""
    return await api(request)
