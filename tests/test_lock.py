"""The locks of what a server runs on: they name what pyproject.toml asks for, each with its hashes.

`make lock` writes them, `make audit` asks the registries for known faults of what they name.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parent.parent
LOCKS = {
    "deploy/requirements.lock": ("server",),
    "deploy/requirements-embedded.lock": ("server", "embedded"),
}


def asked_for(*extras: str) -> Iterator[Requirement]:
    """What pyproject.toml asks for, with what its extras include of one another."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pending = [*project["dependencies"]]
    for extra in extras:
        pending += project["optional-dependencies"][extra]
    while pending:
        requirement = Requirement(pending.pop())
        if requirement.name == project["name"]:
            for extra in requirement.extras:
                pending += project["optional-dependencies"][extra]
        else:
            yield requirement


def locked(name: str) -> dict[str, tuple[Version, int]]:
    """Each package of a lock that is for this Python: its version, and how many hashes it has."""
    text = (ROOT / name).read_text().replace("\\\n", " ")
    found: dict[str, tuple[Version, int]] = {}
    for line in filter(str.strip, text.splitlines()):
        requirement = Requirement(re.sub(r"\s+--hash=\S+", "", line).strip())
        (pin,) = requirement.specifier
        assert pin.operator == "==", line
        marker = requirement.marker
        if marker is None or marker.evaluate(default_environment()):  # type: ignore[arg-type]
            found[canonicalize_name(requirement.name)] = (
                Version(pin.version),
                len(re.findall(r"--hash=sha256:[0-9a-f]{64}\b", line)),
            )
    return found


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_has_what_is_asked_for_and_hashes_of_all(name: str) -> None:
    found = locked(name)
    for requirement in asked_for(*LOCKS[name]):
        version, _ = found[canonicalize_name(requirement.name)]
        assert version in requirement.specifier, f"{requirement}: run make lock"
    assert all(hashes > 0 for _, hashes in found.values())


def test_what_both_locks_have_is_of_one_version() -> None:
    smaller, larger = (locked(name) for name in LOCKS)
    assert smaller.items() <= larger.items()


def test_the_lock_of_the_typescript_client_has_what_its_package_asks_for() -> None:
    folder = ROOT / "protocol/js"
    package = json.loads((folder / "package.json").read_text())
    lock = json.loads((folder / "package-lock.json").read_text())
    for kind in ("dependencies", "devDependencies"):
        assert lock["packages"][""].get(kind) == package.get(kind), "run npm install"
    for name, one in lock["packages"].items():
        assert not name or one.get("integrity"), name
