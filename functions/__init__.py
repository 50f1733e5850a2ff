"""One folder, one Cloud Function. Nothing lists them: whoever needs them looks here."""

from importlib import import_module
from pathlib import Path

from shared.api import Api


def discover() -> list[Api]:
    """Import every function found beside this file and return their routes."""
    folders = sorted(main.parent.name for main in Path(__file__).parent.glob("*/main.py"))
    found = []
    for folder in folders:
        api = import_module(f"functions.{folder}.main").api
        if api.name != folder:
            raise ValueError(f"functions/{folder}/main.py names its Api {api.name}, not {folder}")
        found.append(api)
    return found
