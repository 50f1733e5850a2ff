"""One folder, one Cloud Function. Nothing lists them: whoever needs them looks here."""

from importlib import import_module
from pathlib import Path

from shared.api import Api
from shared.portals import Portal


def discover() -> list[Api]:
    """Import every function found beside this file and return the routes of the API."""
    return [found for found in _functions() if isinstance(found, Api)]


def discover_portals() -> list[Portal]:
    """Import every function found beside this file and return the portals."""
    return [found for found in _functions() if isinstance(found, Portal)]


def _functions() -> list[Api | Portal]:
    folders = sorted(main.parent.name for main in Path(__file__).parent.glob("*/main.py"))
    found = []
    for folder in folders:
        module = import_module(f"functions.{folder}.main")
        function: Api | Portal = module.portal if hasattr(module, "portal") else module.api
        if function.name != folder:
            raise ValueError(f"functions/{folder}/main.py names itself {function.name}")
        found.append(function)
    return found
