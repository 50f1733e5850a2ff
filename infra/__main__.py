"""Make a project on Google Cloud what this repository declares.

`plan` says what would change, `deploy` changes it, `rollback` lets the revisions before serve
again, `destroy` takes away what holds no data.
"""

import argparse
import re
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from infra.applying import Run, StoppedError
from infra.checking import checks, rolled_back
from infra.gcloud import GcloudError
from infra.steps import HERE, StepError, Values, load
from infra.values import commit, environments, values


def main() -> None:
    """Read the arguments, run, and end with a clear sentence where something stopped."""
    phases = [path.stem.partition("-")[2] for path in sorted((HERE / "steps").glob("*.yaml"))]
    parser = argparse.ArgumentParser(prog="make deploy", description=__doc__.split("\n\n")[0])
    verbs = {
        "plan": "say what would change, as the commands that would be run; change nothing",
        "deploy": "make it so: build, release, route; what is as declared is left alone",
        "rollback": "let each service's revision before the one that serves now serve again",
        "destroy": "take away services, gateway and balancer; data, keys and logs stay",
    }
    parser.add_argument(
        "verb", choices=verbs, help="; ".join(f"{a}: {b}" for a, b in verbs.items())
    )
    parser.add_argument("environment", choices=environments())
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        choices=phases,
        metavar="PHASE",
        help=f"these steps alone, may be given again: {', '.join(phases)}",
    )
    parser.add_argument(
        "--commit",
        type=_commit,
        help="the commit that is deployed (default: what is checked out)",
    )
    arguments = parser.parse_args()
    try:
        found = values(arguments.environment, commit=arguments.commit or commit())
        with TemporaryDirectory(prefix="ally-infra-") as files:
            run(arguments.verb, found, Path(files), arguments.only)
    except (StoppedError, StepError, GcloudError) as error:
        sys.exit(str(error))


def _commit(text: str) -> str:
    """Take what an image can be named after for good: a branch moves on, an image stays."""
    if re.fullmatch("[0-9a-f]{7,40}", text) is None:
        raise argparse.ArgumentTypeError("say a commit by 7 to 40 of its hexadecimal digits.")
    return text


def run(verb: str, found: Values, files: Path, phases: list[str]) -> None:
    """Do one of the four."""
    # One write for each line: steps that are made at the same time would mix theirs.
    work = Run(checks(found), lambda line: sys.stdout.write(f"{line}\n"))
    declarations = load(found, files)
    if verb == "plan":
        work.plan(declarations, phases)
    elif verb == "deploy":
        work.deploy(declarations, phases)
    elif verb == "rollback":
        for line in rolled_back(found):
            print(line)
    elif input(f"Take away {found['project']}? Type its name: ") == found["project"]:
        work.destroy(declarations)
    else:
        sys.exit("Nothing was taken away.")


if __name__ == "__main__":
    main()
