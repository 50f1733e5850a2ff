"""The package is one of its own: installed alone, with httpx under it and nothing of the server."""

import ast
import re
import shutil
import subprocess
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import pytest

from ally import __version__
from shared import clock
from tests.client.test_webhooks import BODY, SECRET, standard
from tests.support.processes import ROOT
from tests.support.serving import Partner

PACKAGE = ROOT / "clients" / "python"
SOURCES = sorted((PACKAGE / "src" / "ally").glob("*.py"))


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_a_module_imports_the_standard_library_httpx_and_the_package_alone(source: Path) -> None:
    tree = ast.parse(source.read_text())
    imported = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    imported |= {node.module or "." for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    roots = {module.partition(".")[0] for module in imported}
    assert roots - set(sys.stdlib_module_names) <= {"ally", "httpx"}


def under(name: str) -> dict[str, Distribution]:
    """Return a distribution and all that it needs here, extras aside, by their names."""
    try:
        found = distribution(name)
    except PackageNotFoundError:  # it is needed on other versions of Python
        return {}
    needed = {name: found}
    for line in found.requires or ():
        if "extra ==" not in line:
            needed |= under(re.split(r"[^\w.-]", line)[0])
    return needed


def test_it_is_installed_by_itself_and_runs_with_httpx_alone(tmp_path: Path) -> None:
    source, target, beside = (tmp_path / name for name in ("source", "target", "beside"))
    shutil.copytree(PACKAGE, source, ignore=shutil.ignore_patterns("*.egg-info", "build"))
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    flags = ["--no-deps", "--no-index", "--no-build-isolation", "--target", str(target)]
    ran = subprocess.run([*pip, *flags, str(source)], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert (target / "ally" / "py.typed").exists()
    (metadata,) = target.glob("ally-*.dist-info/METADATA")
    assert f"\nVersion: {__version__}\n" in metadata.read_text()
    assert re.findall(r"^Requires-Dist: (\w+)", metadata.read_text(), re.MULTILINE) == ["httpx"]

    beside.mkdir()
    for needed in under("httpx").values():
        for top in {file.parts[0] for file in needed.files or ()} - {"..", "__pycache__"}:
            (beside / top).symlink_to(str(needed.locate_file(top)))
    script = f"""
import sys
sys.path[1:1] = [{str(target)!r}, {str(beside)!r}]
import asyncio, ally, ally.webhooks
client = ally.Ally("test_key", base_url="http://127.0.0.1:1", max_retries=0)
try:
    client.tasks.list()
except ally.ConnectionFailedError:
    print(ally.__file__, "shared" in sys.modules, "functions" in sys.modules)
"""
    alone = subprocess.run(
        [sys.executable, "-I", "-S", "-W", "error", "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert alone.stdout.split() == [str(target / "ally" / "__init__.py"), "False", "False"], (
        alone.stderr
    )


def test_the_code_of_the_readme_runs(
    partner: Partner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".ally").mkdir()
    shutil.copy(partner.server.certificate, tmp_path / ".ally" / "localhost-ca.pem")
    (tmp_path / ".ally" / "test-key").write_text(f"{partner.key}\n")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", (PACKAGE / "README.md").read_text(), re.S | re.M)
    assert len(blocks) == 7
    names: dict[str, Any] = {"__name__": "readme"}
    for block in blocks:
        code = block.replace("https://localhost:8443", partner.server.url)
        exec(compile(code, "README.md", "exec"), names)  # noqa: S102 - our own README
    names["ally"].close()
    signed = standard(at=clock.now())
    assert names["receive"](BODY, signed, SECRET) == 200
    assert names["receive"](BODY + b" ", signed, SECRET) == 400
