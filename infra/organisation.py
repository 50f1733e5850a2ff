"""Make an organisation on Google Cloud, with its tasks in test mode, and print its first test key.

Partners sign up in the dashboard. This is for smoke tests, which need a key before anybody does:
`python -m infra.organisation`. It runs as whoever is signed in (`gcloud auth application-default
login`), who needs the rights of the function `api_keys` (infra/functions.yaml).
"""

import argparse
import asyncio
import json
import os
import sys

from infra.services import environment
from infra.steps import HERE
from infra.values import environments, values
from shared.keys import ApiKey
from shared.organisations import Organisation
from shared.provision import ADMINISTRATOR, create_organisation, load_coverage
from shared.service import open_service
from shared.settings import Settings, load


def main() -> None:
    """Read the arguments, make it, and print the key alone to standard output."""
    parser = argparse.ArgumentParser(prog="python -m infra.organisation", description=__doc__)
    parser.add_argument("environment", choices=environments())
    parser.add_argument("name", help="what patients read in an SMS: 2 to 40 characters")
    arguments = parser.parse_args()
    # Neither the commit nor the project's number matters to what is stored.
    declared = values(arguments.environment, commit="-", number="0")
    settings = load({**os.environ, **environment("organisations", declared)})
    organisation, key = asyncio.run(make(settings, arguments.name))
    print(f"{organisation.id} {organisation.displayName}; its test key:", file=sys.stderr)
    print(key.secret)


async def make(settings: Settings, name: str) -> tuple[Organisation, ApiKey]:
    """Make the organisation, and see that test mode has its coverage (infra/coverage.json)."""
    areas = json.loads((HERE / "coverage.json").read_text())
    service = await open_service(settings)
    try:
        await load_coverage(service, "test", areas)
        return await create_organisation(service, name, ADMINISTRATOR)
    finally:
        await service.close()


if __name__ == "__main__":
    main()
