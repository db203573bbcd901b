"""The files of deploy/ are valid, and agree with the server.

The tests need neither a cluster nor a container engine. The chart is rendered as Helm does, and
checked against the schemas of Kubernetes. The container file is linted, and the commands that build
and run its image are run here.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from helm_python import Chart, HelmRenderError, lint

import server
from actors.node.config import load
from actors.node.services import load_services
from tests.server_process import ROOT, Server

CHART = ROOT / "deploy/helm/greenroom"
CONTAINER = ROOT / "deploy/Containerfile"
VERSIONS = ("1.30", "1.34", "1.37")
"""Versions of Kubernetes, from the first in which a preStop hook can sleep without a feature
gate."""
VALUES: dict[str, Any] = {
    "secret": "stores",
    "cluster": True,
    "autoscaling": {"enabled": True, "sessions": 4000, "cpuPercent": 60},
    "config": '[games]\nduel = "duel:Duel"\n\n[rooms]\nmembers = 500\n',
    "gamesConfigMap": "games",
    "imagePullSecrets": [{"name": "registry"}],
    "podAnnotations": {"team": "backend"},
    "nodeSelector": {"kubernetes.io/arch": "amd64"},
    "tolerations": [{"key": "games", "operator": "Exists"}],
    "affinity": {"podAntiAffinity": {}},
    "service": {"type": "LoadBalancer", "port": 443, "annotations": {"cloud/tcp": "true"}},
    "networkPolicy": {
        "enabled": True,
        "httpFrom": [{"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}],
        "storesTo": [{"ipBlock": {"cidr": "10.0.0.0/8"}}],
        "postgresPort": 6432,
        "redisPort": 6379,
        "otherStorePorts": [26379],
    },
}
ALONE = VALUES | {"cluster": False, "autoscaling": {"enabled": False}}


def rendered(values: dict[str, Any]) -> dict[str, list[Any]]:
    """Return the chart's manifests by kind."""
    with Chart.load(CHART) as chart:
        files = chart.render(values, name="play", namespace="games")
    found: dict[str, list[Any]] = {}
    for path, text in files.items():
        if path.endswith(".yaml"):
            for each in yaml.safe_load_all(text):
                if each is not None:
                    found.setdefault(each["kind"], []).append(each)
    return found


def commands(instruction: str) -> list[str]:
    """Return the arguments of an instruction, for each of its uses in the container file."""
    text = CONTAINER.read_text().replace("\\\n", " ")
    return re.findall(rf"^{instruction}\s+(.*)$", text, re.MULTILINE)


def environment_of_the_container() -> dict[str, str]:
    pairs = (pair.split("=", 1) for line in commands("ENV") for pair in shlex.split(line))
    return {name: value for name, value in pairs if name.startswith("GREENROOM_")}


def settings(environment: dict[str, str], file: Path | None = None) -> Any:
    return load(file, environment, services=load_services(server.SERVICES))


# --- the chart -----------------------------------------------------------------------------------


def test_the_chart_has_nothing_that_helm_warns_of() -> None:
    report = lint(CHART, {"secret": "stores"}, strict=True)
    worst = [each for each in report["messages"] if each["severity"] > 1]
    assert (worst, report["errors"]) == ([], [])


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("values", "more"),
    [
        ({"secret": "stores"}, set()),
        (ALONE, set()),
        ({"secret": "stores", "cluster": True, "replicas": 3}, {"PodDisruptionBudget"}),
        (VALUES, {"PodDisruptionBudget", "HorizontalPodAutoscaler"}),
    ],
    ids=["defaults", "alone", "three", "all"],
)
def test_what_the_chart_renders_is_valid(
    version: str, values: dict[str, Any], more: set[str]
) -> None:
    found = rendered(values)
    assert set(found) == {"ConfigMap", "Deployment", "NetworkPolicy", "Service"} | more
    for manifests in found.values():
        for each in manifests:
            kubernetes_validate.validate(each, version, strict=True)


def test_a_chart_without_its_secret_says_which_keys_it_needs() -> None:
    with pytest.raises(HelmRenderError, match="GREENROOM_POSTGRES__URL and GREENROOM_REDIS__URL"):
        rendered({})


def test_a_chart_without_a_network_policy_renders_none() -> None:
    assert "NetworkPolicy" not in rendered({**VALUES, "networkPolicy": {"enabled": False}})


def test_the_configuration_of_the_chart_is_what_the_server_reads(tmp_path: Path) -> None:
    (config,) = rendered(VALUES)["ConfigMap"]
    file = tmp_path / "config.toml"
    file.write_text(config["data"]["config.toml"])
    assert tomllib.loads(file.read_text()) == tomllib.loads(VALUES["config"])
    loaded = settings({}, file)
    assert {name: value for name, (value, _) in loaded.changed.items()} == {
        "games.duel": "duel:Duel",
        "rooms.members": 500,
    }
    assert not loaded.doubts


def test_a_changed_configuration_is_a_new_pod() -> None:
    first, second = (
        rendered({**VALUES, "config": text})["Deployment"][0]["spec"]["template"]
        for text in ("[rooms]\nmembers = 1\n", "[rooms]\nmembers = 2\n")
    )
    assert first != second


def test_a_server_alone_is_one_pod_at_a_time() -> None:
    (deployment,) = rendered(ALONE)["Deployment"]
    assert deployment["spec"]["replicas"] == 1
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}
    for more in ({"replicas": 2}, {"autoscaling": {"enabled": True}}):
        with pytest.raises(HelmRenderError, match="cluster: must be true for more than one pod"):
            rendered(ALONE | more)


def test_pods_of_a_cluster_are_replaced_one_by_one_and_none_before_the_new_one_is_ready() -> None:
    values = {"secret": "stores", "cluster": True, "replicas": 3}
    found = rendered(values)
    (deployment,), (budget,) = found["Deployment"], found["PodDisruptionBudget"]
    assert deployment["spec"]["replicas"] == 3
    assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert budget["spec"]["maxUnavailable"] == 1
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert budget["spec"]["selector"]["matchLabels"].items() <= labels.items()
    # Else each upgrade would set back what the autoscaler has found.
    assert "replicas" not in rendered(VALUES)["Deployment"][0]["spec"]


def test_a_pod_of_a_cluster_tells_the_server_so_and_its_name() -> None:
    pod = rendered(VALUES)["Deployment"][0]["spec"]["template"]["spec"]["containers"][0]
    names = {each["name"]: each for each in pod["env"]}
    name = names["GREENROOM_SERVER__NAME"]
    assert name["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.name"
    longest = f"{'a' * 42}-7d9f8c6b5f-x2klm"  # of a pod, if the release's name is cut off
    said = {"GREENROOM_SERVER__CLUSTER": names["GREENROOM_SERVER__CLUSTER"]["value"]}
    stores = {
        "GREENROOM_POSTGRES__URL": "postgresql://db/greenroom",
        "GREENROOM_REDIS__URL": "redis://valkey",
    }
    loaded = settings(said | stores | {"GREENROOM_SERVER__NAME": longest})
    assert not loaded.doubts
    assert loaded.config.server.clustered
    assert loaded.config.server.name == longest


def test_pods_with_labels_say_so_and_have_no_service_for_clients() -> None:
    for labels, services in (("games", {"http"}), ("games any", {"http", "clients"})):
        found = rendered(VALUES | {"labels": labels})
        pod = found["Deployment"][0]["spec"]["template"]["spec"]["containers"][0]
        (said,) = [one["value"] for one in pod["env"] if one["name"] == "GREENROOM_SERVER__LABELS"]
        variables = {
            "GREENROOM_SERVER__LABELS": said,
            "GREENROOM_SERVER__NODES": "2",
            "GREENROOM_CLUSTER__KEPT": '{match = "games"}',
        }
        assert settings(variables).config.server.labels == (labels,)
        ports = {one["name"] for each in found["Service"] for one in each["spec"]["ports"]}
        assert ports == services
    with pytest.raises(HelmRenderError, match="cluster: must be true for pods with labels"):
        rendered(ALONE | {"labels": "games"})


def test_the_autoscaler_goes_by_a_metric_that_the_server_exports(tmp_path: Path) -> None:
    found = rendered(VALUES)
    (scaler,), (deployment,) = found["HorizontalPodAutoscaler"], found["Deployment"]
    assert scaler["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    (metric,) = [each["pods"] for each in scaler["spec"]["metrics"] if each["type"] == "Pods"]
    assert metric["target"]["averageValue"] == "4000"
    with Server(tmp_path) as live:
        _, text = live.get("/metrics")
        live.stop()
    assert re.search(rf"^{metric['metric']['name']} ", text, re.MULTILINE)


def test_a_pod_has_the_time_that_a_drain_takes() -> None:
    pod = rendered(VALUES)["Deployment"][0]["spec"]["template"]["spec"]
    sleep_s = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    stop_s = settings({}).config.server.stop_timeout_s
    assert pod["terminationGracePeriodSeconds"] >= sleep_s + stop_s


def test_ports_and_paths_of_the_chart_are_the_servers(tmp_path: Path) -> None:
    config = settings(environment_of_the_container()).config
    found = rendered(VALUES)
    pod = found["Deployment"][0]["spec"]["template"]["spec"]["containers"][0]
    ports = {each["name"]: each["containerPort"] for each in pod["ports"]}
    assert ports == {"clients": config.listen.port, "http": config.http.port}
    probes = [pod[f"{name}Probe"]["httpGet"] for name in ("startup", "readiness", "liveness")]
    assert [each["port"] for each in probes] == ["http"] * 3
    with Server(tmp_path) as live:
        assert [live.get(each["path"])[0] for each in probes] == [200] * 3
        live.stop()


# --- the container -------------------------------------------------------------------------------


def test_the_container_file_has_nothing_that_its_linter_warns_of() -> None:
    linter = Path(sys.executable).with_name("hadolint")
    done = subprocess.run(
        [linter, "--format", "json", CONTAINER], capture_output=True, text=True, check=False
    )
    assert json.loads(done.stdout) == []


def test_the_container_runs_as_nobody_who_may_anything() -> None:
    (user,) = commands("USER")
    pod = rendered(VALUES)["Deployment"][0]["spec"]["template"]["spec"]
    assert int(user) == pod["securityContext"]["runAsUser"] > 0


def test_the_container_listens_where_it_is_reached_from() -> None:
    config = settings(environment_of_the_container()).config
    assert (config.listen.host, config.http.host) == ("0.0.0.0", "0.0.0.0")
    (exposed,) = commands("EXPOSE")
    assert list(map(int, exposed.split())) == [config.listen.port, config.http.port]


def test_the_container_builds_from_what_it_copies(tmp_path: Path) -> None:
    copied = [
        name for line in commands("COPY") if not line.startswith("--") for name in line.split()[:-1]
    ]
    let_through = re.findall(
        r"^!(.*)$", Path(f"{CONTAINER}.dockerignore").read_text(), re.MULTILINE
    )
    assert sorted(let_through) == sorted(copied)
    source = tmp_path / "source"
    source.mkdir()
    for name in copied:
        if (ROOT / name).is_dir():
            shutil.copytree(
                ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__")
            )
        else:
            shutil.copy(ROOT / name, source / Path(name).name)
    wheel: Sequence[str] = (
        sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation",
        "--wheel-dir", str(tmp_path), str(source),
    )  # fmt: skip
    subprocess.run(wheel, check=True)
    assert [each.name for each in tmp_path.glob("*.whl")] == [
        f"greenroom-{server.VERSION}-py3-none-any.whl"
    ]


def test_the_health_check_of_the_container_tells_a_live_server_from_none(tmp_path: Path) -> None:
    (line,) = commands("HEALTHCHECK")
    program: list[str] = json.loads(line[line.index("[") :])
    assert program[0] == "python"

    def healthy(url: str) -> bool:
        code = program[2].replace("http://127.0.0.1:7351", url)
        assert url in code
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
        return done.returncode == 0

    with Server(tmp_path) as live:
        assert healthy(live.http)
        live.stop()
        assert not healthy(live.http)


# --- compose -------------------------------------------------------------------------------------


def test_the_settings_of_compose_are_the_servers() -> None:
    compose = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())
    service = compose["services"]["greenroom"]
    loaded = settings(environment_of_the_container() | service["environment"])
    assert not loaded.doubts
    config = loaded.config
    assert "@postgres/" in config.postgres.url
    assert config.redis.url == "redis://valkey:6379"
    inside = [int(each.rpartition(":")[2]) for each in service["ports"]]
    assert inside == [config.listen.port, config.http.port]
    assert service["ports"][1].startswith("127.0.0.1:")  # it asks nobody who they are
    assert float(service["stop_grace_period"].rstrip("s")) > config.server.stop_timeout_s
    assert set(service["depends_on"]) | {"greenroom"} == set(compose["services"])
    assert (ROOT / "deploy" / service["build"]["context"]).resolve() == ROOT
    assert ROOT / service["build"]["dockerfile"] == CONTAINER


def test_every_file_of_deploy_names_the_version_of_the_server() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    compose = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())
    assert chart["appVersion"] == server.VERSION
    assert compose["services"]["greenroom"]["image"] == f"greenroom:{server.VERSION}"
    assert f"greenroom:{server.VERSION}" in CONTAINER.read_text()
