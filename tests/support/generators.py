"""Clients that openapi-generator makes of the committed document, built as a partner builds them.

Nothing here asks the network. The programs that use the clients are in `generated/`.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from functions.openapi import FOLDER
from tests.support import tools
from tests.support.processes import ROOT

Json = dict[str, Any]

PROGRAMS = ROOT / "tests" / "support" / "generated"
MISSING = (
    "Java, Node.js or the tools of npm were not found, so no client was generated. Install Java 11"
    " and Node.js 20 or newer, and run `make tools`."
)


def found() -> bool:
    """Tell whether there is what clients are generated, built and run with."""
    return all((shutil.which("java"), shutil.which("node"), tools.find("tsc")))


@dataclass(frozen=True)
class Client:
    """A client in a folder of its own, and the program that was written for it."""

    folder: Path
    program: tuple[str, ...]
    models: set[str]
    """The names of its classes of objects."""
    methods: set[str]
    """The names of its methods, as operations are called in the document."""
    environment: Mapping[str, str] = field(default_factory=dict)

    def flow(self, **environment: str) -> Json:
        """Run the program, and return what it printed."""
        printed = _run(self.folder, *self.program, **self.environment, **environment)
        told: Json = json.loads(printed)
        return told


def python(folder: Path) -> Client:
    """Make, install and return the client in Python."""
    source = _generate("python", folder / "source", packageName="ally_generated")
    installed = folder / "installed"
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet")
    offline = ("--no-index", "--no-deps", "--no-build-isolation")
    _run(folder, *pip, *offline, "--target", str(installed), str(source))
    package = installed / "ally_generated"
    methods = re.findall(r"^    def (\w+)\(", _text(package / "api"), re.MULTILINE)
    return Client(
        folder,
        (sys.executable, str(PROGRAMS / "flow.py")),
        set(re.findall(r"^class (\w+)\(BaseModel\)", _text(package / "models"), re.MULTILINE)),
        {re.sub("_(.)", lambda found: found[1].upper(), name) for name in methods},
        {"PYTHONPATH": str(installed), "PYTHONWARNINGS": "error"},
    )


def typescript(folder: Path) -> Client:
    """Make, compile and return the client in TypeScript, with its program, in strict mode."""
    source = folder / "node_modules" / "ally-generated"
    _generate("typescript-fetch", source, npmName="ally-generated", npmVersion="1.0.0")
    tsc = (str(tools.find("tsc")), "--strict", "--skipLibCheck")
    _run(folder, *tsc, "--project", str(source))
    shutil.copy(PROGRAMS / "flow.ts", folder)
    (folder / "package.json").write_text('{"type": "module"}')
    types = str(tools.FOLDER / "node_modules" / "@types")
    node = ("--target", "es2022", "--module", "nodenext", "--types", "node", "--typeRoots", types)
    _run(folder, *tsc, *node, "flow.ts")
    methods = re.findall(r"^    async (\w+)\(", _text(source / "src" / "apis"), re.MULTILINE)
    return Client(
        folder,
        ("node", "flow.js"),
        {file.stem for file in (source / "src" / "models").iterdir()} - {"index"},
        set(methods),
    )


LANGUAGES: Mapping[str, Callable[[Path], Client]] = {"python": python, "typescript": typescript}


def _generate(generator: str, output: Path, **options: str) -> Path:
    jar = str(files("openapi_generator_cli") / "openapi-generator.jar")
    told = ",".join(f"{name}={value}" for name, value in options.items())
    output.mkdir(parents=True)
    # It is over before a better compilation of its code would pay.
    java = ("java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-jar", jar, "generate")
    _run(
        output,
        *(*java, "--generator-name", generator, "--output", str(output)),
        *("--input-spec", str(FOLDER / "openapi.json"), "--additional-properties", told),
    )
    return output


def _run(folder: Path, *command: str, **environment: str) -> str:
    """Run a program in a folder, and return what it printed. What it fails of is told."""
    ran = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, f"{' '.join(command)}\n{ran.stdout}\n{ran.stderr}"
    return ran.stdout


def _text(folder: Path) -> str:
    return "\n".join(file.read_text() for file in sorted(folder.iterdir()) if file.is_file())
