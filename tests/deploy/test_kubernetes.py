"""The Kubernetes manifests: each is what its schema allows, and its commands are what the command line takes."""

from __future__ import annotations

import copy
import gzip
import json
import shutil
import subprocess
import tomllib
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import click
import jsonpatch
import jsonschema
import kubernetes_validate
import pytest
import yaml

import wavemill
from transforms import models
from transforms.settings import KafkaAccess, Settings

ROOT = Path(__file__).parents[2]
MANIFESTS = ROOT / "deploy/kubernetes"
SCHEMAS = Path(__file__).parent / "schemas"
KUBERNETES = "1.34"
FLINK = "flinkdeployments.flink.apache.org-v1.yml"
CRDS = {
    ("flink.apache.org/v1beta1", "FlinkDeployment"): f"{FLINK}.gz",
    ("keda.sh/v1alpha1", "ScaledObject"): "keda.sh_scaledobjects.yaml",
    ("keda.sh/v1alpha1", "TriggerAuthentication"): "keda.sh_triggerauthentications.yaml",
}
Resource = dict[str, Any]


@cache
def validator(file: str, version: str) -> jsonschema.Draft202012Validator:
    """Of a custom resource, and strict: a server would drop a field that is not in its schema in silence."""
    data = (SCHEMAS / file).read_bytes()
    crd = yaml.load(gzip.decompress(data) if file.endswith(".gz") else data, yaml.CSafeLoader)
    (found,) = [one["schema"]["openAPIV3Schema"] for one in crd["spec"]["versions"] if one["name"] == version]
    found["properties"] = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"}} | found[
        "properties"
    ]
    return jsonschema.Draft202012Validator(close(found))


def close(node: Any) -> Any:
    """Objects take no property that their schema does not list. Kubernetes' int-or-string has no other word in JSON schema."""
    if isinstance(node, list):
        return [close(one) for one in node]
    if not isinstance(node, dict):
        return node
    closed = {key: close(value) for key, value in node.items()}
    if isinstance(node.get("properties"), dict) and not node.get("x-kubernetes-preserve-unknown-fields"):
        closed.setdefault("additionalProperties", False)
    if node.get("x-kubernetes-int-or-string"):
        closed["type"] = ["integer", "string"]
    return closed


def check(resource: Resource) -> None:
    """Raises jsonschema's ValidationError."""
    file = CRDS.get((resource["apiVersion"], resource["kind"]))
    if file is None:
        kubernetes_validate.validate(resource, KUBERNETES, strict=True)
        return
    validator(file, resource["apiVersion"].partition("/")[2]).validate(resource)
    for pod in pods(resource):
        kubernetes_validate.validate(pod, KUBERNETES, strict=True)


def pods(resource: Resource) -> list[Resource]:
    """The pods that a resource makes, as Kubernetes would see them."""
    spec = resource.get("spec", {})
    if resource["kind"] == "FlinkDeployment":
        return [spec["taskManager"]["podTemplate"]]
    return [{"apiVersion": "v1", "kind": "Pod", **spec["template"]}] if "template" in spec else []


def load(folder: Path) -> list[Resource]:
    """What a kustomization makes, as far as ours need it: resources, and JSON patches of them."""
    about = yaml.safe_load((folder / "kustomization.yaml").read_text())
    assert about.keys() <= {"apiVersion", "kind", "resources", "patches"}, "kubectl knows more of kustomize than this"
    found: list[Resource] = []
    for name in about["resources"]:
        path = folder / name
        found += load(path) if path.is_dir() else list(yaml.safe_load_all(path.read_text()))
    for patch in about.get("patches", ()):
        target = patch["target"]
        (index,) = [n for n, one in enumerate(found) if (one["kind"], one["metadata"]["name"]) == (target["kind"], target["name"])]
        found[index] = jsonpatch.apply_patch(found[index], yaml.safe_load((folder / patch["path"]).read_text()))
    return found


def find(kind: str, folder: str = "base") -> Resource:
    (found,) = [one for one in load(MANIFESTS / folder) if one["kind"] == kind]
    return found


def containers(folder: str = "base") -> dict[str, Resource]:
    """Every container of ours by its name."""
    every = [one for resource in load(MANIFESTS / folder) for pod in pods(resource) for kind in ("initContainers", "containers")
             for one in pod["spec"].get(kind, ())]  # fmt: skip
    return {one["name"]: one for one in every if one.get("image", "").startswith("wavemill:")}


def parse(arguments: list[str]) -> dict[str, Any]:
    """What the command line makes of them, without running it. Raises click's UsageError."""
    command: click.Command = wavemill.root
    context = command.make_context("wavemill", list(arguments))
    while isinstance(command, click.Group):
        name, found, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        assert found
        command, context = found, found.make_context(name, rest, parent=context)
    return {"command": context.command_path, **context.params}


RESOURCES = [(folder, one) for folder in ("base", "gpu") for one in load(MANIFESTS / folder)]


@pytest.mark.parametrize(("folder", "resource"), RESOURCES, ids=[f"{folder}-{one['kind']}" for folder, one in RESOURCES])
def test_a_manifest_is_what_its_schema_allows(folder: str, resource: Resource) -> None:
    check(resource)


BROKEN: list[tuple[str, Callable[[Resource], object]]] = [
    ("ConfigMap", lambda it: it["data"].update(number=1)),
    ("Deployment", lambda it: it["spec"]["template"]["spec"].update(terminationGracePeriod=90)),
    ("Deployment", lambda it: it["spec"]["template"]["spec"]["containers"][0].update(livenessProbe={"httpGet": {"path": "/"}})),
    ("Job", lambda it: it["spec"]["podFailurePolicy"]["rules"][1].pop("action")),
    ("FlinkDeployment", lambda it: it["spec"].update(flinkVersion="v9_9")),
    ("FlinkDeployment", lambda it: it["spec"]["taskManager"].update(replica=2)),
    ("FlinkDeployment", lambda it: it["spec"]["taskManager"]["podTemplate"]["spec"]["initContainers"][0].update(imagePolicy="Always")),
    ("ScaledObject", lambda it: it["spec"].update(maxReplicas=3)),
    ("ScaledObject", lambda it: it["spec"]["triggers"][0]["metadata"].update(lagThreshold=100)),
    ("TriggerAuthentication", lambda it: it["spec"]["secretTargetRef"][0].pop("key")),
]


@pytest.mark.parametrize(("kind", "damage"), BROKEN, ids=[f"{n}-{kind}" for n, (kind, _) in enumerate(BROKEN)])
def test_a_broken_field_is_seen(kind: str, damage: Callable[[Resource], object]) -> None:
    resource = copy.deepcopy(find(kind))
    damage(resource)
    with pytest.raises(jsonschema.ValidationError):
        check(resource)


@pytest.mark.parametrize("folder", ["base", "gpu"])
def test_kubectl_makes_the_same_of_the_kustomization(folder: str) -> None:
    if not (kubectl := shutil.which("kubectl")):
        pytest.skip("kubectl is not here")
    told = subprocess.run([kubectl, "kustomize", str(MANIFESTS / folder)], check=True, capture_output=True, text=True).stdout

    def name(one: Resource) -> str:
        return f"{one['kind']} {one['metadata']['name']}"

    assert sorted(yaml.safe_load_all(told), key=name) == sorted(load(MANIFESTS / folder), key=name)


@pytest.mark.parametrize("folder", ["base", "gpu"])
@pytest.mark.parametrize("name", ["run", "worker", "worker-pool"])
def test_a_container_runs_a_command_that_the_command_line_takes(folder: str, name: str) -> None:
    one = containers(folder)[name]
    assert parse(one["args"])["command"].startswith("wavemill ")
    with pytest.raises(click.UsageError):
        parse([*one["args"], "--no-such-flag"])


@pytest.mark.parametrize("folder", ["base", "gpu"])
def test_all_of_ours_run_as_nobody_from_this_versions_image(folder: str) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    found = containers(folder)
    assert found.keys() == {"run", "worker", "worker-pool"}
    for one in found.values():
        assert one["image"].removesuffix("-gpu") == f"wavemill:{version}"
        assert one["securityContext"]["runAsNonRoot"]
        assert not one["securityContext"]["allowPrivilegeEscalation"]


def test_a_worker_has_time_to_drain_before_it_is_killed() -> None:
    pod = find("Deployment")["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] > parse(pod["containers"][0]["args"])["drain"]


@pytest.mark.parametrize("folder", ["base", "gpu"])
def test_a_run_has_a_task_manager_for_each_share_and_waits_until_their_pools_have_their_weights(folder: str) -> None:
    run, pool = containers(folder)["run"], containers(folder)["worker-pool"]
    (shares,) = [option for option in parse(run["args"])["beam_options"] if option.startswith("parallelism=")]
    flink = next(one for one in load(MANIFESTS / "base") if one["kind"] == "FlinkDeployment")["spec"]["flinkConfiguration"]
    assert int(shares.partition("=")[2]) > 1 and flink["taskmanager.numberOfTaskSlots"] == "1"
    probe = pool["startupProbe"]
    patience = {one["name"]: one.get("value") for one in run["env"]}["WAVEMILL_CLUSTER_PATIENCE_S"]
    slot_s, registration_s = (
        int(flink[name]) / 1000 for name in ("slot.request.timeout", "resourcemanager.taskmanager-registration.timeout")
    )
    assert probe["periodSeconds"] * probe["failureThreshold"] < registration_s <= slot_s < float(patience)


def test_probes_ask_where_health_is_told() -> None:
    worker, pool = containers()["worker"], containers()["worker-pool"]
    ports = {"worker": parse(worker["args"])["metrics"].rpartition(":")[2], "worker-pool": str(parse(pool["args"])["health_port"])}
    for one in (worker, pool):
        by_name = {port["name"]: str(port["containerPort"]) for port in one["ports"]}
        asked = [one[kind]["httpGet"] for kind in ("startupProbe", "livenessProbe", "readinessProbe") if kind in one]
        assert len(asked) >= 2
        assert {(by_name[get["port"]], get["path"]) for get in asked} == {(ports[one["name"]], "/healthz")}


def test_the_pool_stands_beside_the_task_manager_where_a_run_looks_for_it() -> None:
    asked = parse(containers()["worker-pool"]["args"])
    assert Settings().pool == f"{asked['host']}:{asked['port']}"


def test_the_pool_pulls_the_weights_that_the_run_needs() -> None:
    given = parse(containers()["run"]["args"])
    pulled = parse(containers()["worker-pool"]["args"])["models"].split(",")
    from pipelines.spec import PipelineSpec

    spec = PipelineSpec(operation=given["command"].split()[2].replace("-", "_"), source="x", out="y")
    engine = spec.new_engine()
    assert set(pulled) <= set(models.MODELS)
    assert set(engine.models(spec.parse_options(engine))) <= set(pulled)


def test_the_scaler_counts_the_topic_and_group_of_the_workers() -> None:
    given, scaled = parse(containers()["worker"]["args"]), find("ScaledObject")["spec"]
    settings = find("ConfigMap")["data"]
    (trigger,) = scaled["triggers"]
    asked = trigger["metadata"]
    assert scaled["scaleTargetRef"]["name"] == find("Deployment")["metadata"]["name"]
    assert trigger["authenticationRef"]["name"] == find("TriggerAuthentication")["metadata"]["name"]
    assert (asked["topic"], asked["consumerGroup"]) == (given["input"], given["group"])
    assert asked["bootstrapServers"] == settings["KAFKA_BOOTSTRAP_SERVERS"]


def test_settings_are_ones_that_wavemill_reads_and_secrets_stand_elsewhere() -> None:
    fields = {f"WAVEMILL_{name.upper()}" for name in Settings.model_fields}
    fields |= {f"WAVEMILL_KAFKA_{name.upper()}" for name in KafkaAccess.model_fields}
    named = set(find("ConfigMap")["data"])
    for folder in ("base", "gpu"):
        for one in containers(folder).values():
            for variable in one.get("env", ()):
                named.add(variable["name"])
                assert "PASSWORD" not in variable["name"] or "value" not in variable
    assert {name for name in named if name.startswith("WAVEMILL_")} <= fields
    assert not [one for _, one in RESOURCES if one["kind"] == "Secret"]


def test_the_job_server_is_of_a_version_that_was_tried() -> None:
    from pipelines.cluster import versions

    (server,) = [one for one in pods(find("Job"))[0]["spec"]["initContainers"] if one["name"] == "job-server"]
    version = server["image"].rpartition(":")[2].rpartition(".")[0]
    python = versions.mine()["apache-beam"].rpartition(".")[0]
    assert (python, version) in {(python, java) for (python, _), java in versions.TESTED.items()}


@pytest.mark.slow
def test_the_kept_schemas_are_the_published_ones(tmp_path: Path) -> None:
    go, maven = shutil.which("go"), shutil.which("mvn")
    if not go or not maven:
        pytest.skip("go or mvn is not here")
    told = (SCHEMAS / "README.md").read_text()
    keda = told.partition("keda/v2 ")[2].split()[0].rstrip(".")
    artifact = told.partition("org.apache.flink:")[2].split()[0].rstrip(".")
    answer = subprocess.run(
        [go, "mod", "download", "-json", f"github.com/kedacore/keda/v2@{keda}"], cwd=tmp_path, capture_output=True, check=True
    )
    published = Path(json.loads(answer.stdout)["Dir"], "config/crd/bases")
    for path in SCHEMAS.glob("keda.*"):
        assert path.read_bytes() == (published / path.name).read_bytes()
    fetch = [maven, "-q", "-B", "dependency:copy", f"-Dartifact=org.apache.flink:{artifact}", f"-DoutputDirectory={tmp_path}"]
    subprocess.run(fetch, check=True, capture_output=True)
    (jar,) = tmp_path.glob("*.jar")
    with zipfile.ZipFile(jar) as file:
        assert file.read(f"META-INF/fabric8/{FLINK}") == gzip.decompress((SCHEMAS / f"{FLINK}.gz").read_bytes())
