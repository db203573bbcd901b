"""What of the TypeScript client is made from something else is as it would be made now."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from protocol.messages import EVERY_OP
from protocol.tables import documented, files, main
from protocol.typescript import CLIENT
from tests.pages import page
from tests.protocol.js.tools import TOOLS, needs_tools, node
from tests.server_process import ROOT

DIST = CLIENT / "dist"
MOST_BYTES = 15_000
"""Of the whole client, gzipped."""
USED_SETTINGS = re.compile(r"^\| `(\w+)` \| (.+?) \|", re.MULTILINE)


def built(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_what_is_written_from_the_table_of_ops_is_up_to_date() -> None:
    assert main(["--check"]) == 0
    for path, text in files().items():
        assert path.read_text("utf-8") == text


def test_every_message_has_a_type_and_every_op_is_in_the_maps() -> None:
    source = (CLIENT / "src" / "messages.ts").read_text("utf-8")
    types = set(re.findall(r"^export (?:interface|type) (\w+)", source, re.MULTILINE))
    assert {struct.__name__ for struct in documented().values()} <= types
    for name, request in EVERY_OP.requests.items():
        assert f'  "{name}": {request.__name__};\n' in source


def test_the_whole_client_stays_under_its_size() -> None:
    for name in ("greenroom.js", "greenroom.cjs"):
        size = len(gzip.compress((DIST / name).read_bytes(), 9))
        assert size <= MOST_BYTES, f"{name}: {size} bytes"


def test_its_page_says_the_size() -> None:
    text = page("protocol/js/README.md").text
    (said,) = re.findall(r"msgpack included: ([\d.]+) KB gzipped", text)
    size = len(gzip.compress((DIST / "greenroom.js").read_bytes(), 9))
    assert abs(float(said) * 1000 - size) < 200, size


def test_its_page_has_every_setting_with_its_default() -> None:
    source = (CLIENT / "src" / "settings.ts").read_text("utf-8")
    defaults = dict(re.findall(r"^  (\w+): (.+),$", source.partition("DEFAULTS")[2], re.MULTILINE))
    rows = USED_SETTINGS.findall(page("protocol/js/README.md").text)
    said = {name: default for name, default in rows if name in defaults}
    assert said.keys() == defaults.keys()
    for name, default in said.items():
        assert default.strip("`").replace(",", "") == defaults[name].replace("_", "").replace(
            ",", ""
        )


def test_the_package_has_the_servers_version_and_the_files_that_it_names() -> None:
    package = json.loads((CLIENT / "package.json").read_text("utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert package["version"] == project["project"]["version"]
    assert "dependencies" not in package, "what it needs is in its file"
    for path in package["exports"]["."].values():
        assert (CLIENT / path).is_file()
    lock = json.loads((CLIENT / "package-lock.json").read_text("utf-8"))
    assert lock["packages"][""]["devDependencies"] == package["devDependencies"]


@needs_tools
def test_its_built_files_are_those_of_its_sources(tmp_path: Path) -> None:
    subprocess.run(node(CLIENT / "build.js", "--out", tmp_path / "dist"), check=True, timeout=120)
    fresh, there = built(tmp_path / "dist"), built(DIST)
    assert fresh.keys() == there.keys(), "build them by: make js"
    assert [name for name in there if there[name] != fresh[name]] == [], "build them by: make js"


CONSUMERS = {
    "modules.mts": """
        import { connect, RequestFailed } from "greenroom";
        import type { Room, RoomUpdate } from "greenroom";

        const session = await connect("ws://127.0.0.1:7350/ws", { name: "ada" });
        const room: Room = await session.join("lobby");
        const players: number | undefined = (await session.matches("arena"))[0]?.players;
        export function told(update: RoomUpdate): string | number | undefined {
          switch (update.op) {
            case "room.message": return update.body;
            case "room.joined": return update.member.name;
            case "gap": return update.first;
            default: return players;
          }
        }
        for await (const update of room.updates()) told(update);
        const { versions } = await session.request("storage.write", { objects: [] });
        export const first: number | undefined = versions[0];
        export const late = (error: unknown) => error instanceof RequestFailed && error.retryInMs;
        """,
    "common.cts": """
        import { connect } from "greenroom";
        void connect("ws://127.0.0.1:7350/ws", { name: "ada", encoding: "json" });
        """,
    "wrong.mts": """
        import { connect } from "greenroom";
        const session = await connect("ws://127.0.0.1:7350/ws", { name: "ada" });
        // @ts-expect-error: no such field
        await session.request("room.join", { lobby: 1 });
        // @ts-expect-error: no such op
        await session.request("room.explode", {});
        """,
}


@needs_tools
@pytest.mark.parametrize("module", ["nodenext", "esnext"])
def test_its_types_serve_a_strict_program(module: str, tmp_path: Path) -> None:
    (tmp_path / "node_modules").mkdir()
    (tmp_path / "node_modules" / "greenroom").symlink_to(CLIENT)
    for name, text in CONSUMERS.items():
        (tmp_path / name).write_text(text, "utf-8")
    resolution = [] if module == "nodenext" else ["--moduleResolution", "bundler"]
    done = subprocess.run(
        [
            *node(TOOLS / "typescript" / "bin" / "tsc", "--noEmit", "--strict", "--types", ""),
            *("--target", "es2022", "--lib", "es2022,dom", "--module", module, *resolution),
            *CONSUMERS,
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout
