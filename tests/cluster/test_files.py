"""Every file in `cluster/` passes its schema or linter, and broken copies fail."""

import json
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import ray
import yaml

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "cluster"
LAUNCHER = json.loads((Path(ray.__file__).parent / "autoscaler" / "ray-schema.json").read_text())
RAYJOB = json.loads(Path(__file__).with_name("rayjob-schema.json").read_text())


def against(schema, text):
    """Return the errors of a file by a schema."""
    validator = jsonschema.validators.validator_for(schema)(schema)
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(yaml.safe_load(text))]


def launcher(text):
    return against(LAUNCHER, text)


def rayjob(text):
    return against(RAYJOB, text)


def linted(program, text, *flags):
    """Return the output lines of a linter, which is installed as a Python package."""
    command = [Path(sys.executable).with_name(program), *flags, "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60)
    assert done.returncode in (0, 1), done.stderr
    return done.stdout.splitlines()


def dockerfile(text):
    users = re.findall(r"^USER (\S+)", text, re.MULTILINE)
    root = [] if users and users[-1].isdigit() and int(users[-1]) else ["it runs as root, or as a user without number"]
    return linted("hadolint", text) + root


def script(text):
    return linted("shellcheck", text, "--severity=style")


def secrets(text):
    return re.findall(r"AKIA[0-9A-Z]{16}|-----BEGIN|\b[0-9a-f]{32,}\b|://[^\s/@]+:[^\s/@]+@", text)


CHECKS = {
    "cluster/aws.yaml": launcher,
    "cluster/gcp.yaml": launcher,
    "cluster/rayjob.yaml": rayjob,
    "cluster/Dockerfile": dockerfile,
    "cluster/slurm.sbatch": script,
    ".ci/run": script,
}

BROKEN = [
    ("cluster/aws.yaml", "max_workers: 4", "max_worker: 4"),
    ("cluster/aws.yaml", "idle_timeout_minutes: 5", "idle_timeout_minutes: soon"),
    ("cluster/aws.yaml", "resources: {CPU: 4, GPU: 1}", "resources: {CPU: 4, GPU: one}"),
    ("cluster/gcp.yaml", "  type: gcp", "  kind: gcp"),
    ("cluster/gcp.yaml", "    node_config:", "    node_configs:"),
    ("cluster/rayjob.yaml", "ray.io/v1", "ray.io/v1alpha1"),
    ("cluster/rayjob.yaml", "backoffLimit: 3", "backOffLimit: 3"),
    ("cluster/rayjob.yaml", "backoffLimit: 3", 'backoffLimit: "3"'),
    ("cluster/rayjob.yaml", "      mode: token", "      mode: tokens"),
    ("cluster/rayjob.yaml", "maxReplicas: 4", "max: 4"),
    ("cluster/rayjob.yaml", "memory: 12Gi", "memory: 12 GB"),
    ("cluster/rayjob.yaml", "image: IMAGE", "images: IMAGE"),
    ("cluster/Dockerfile", "python:3.12.12-slim-bookworm", "python"),
    ("cluster/Dockerfile", "USER 1000", ""),
    ("cluster/Dockerfile", "USER 1000", "USER root"),
    ("cluster/Dockerfile", "--constraint cluster/constraints.txt", ""),
    ("cluster/slurm.sbatch", '"$address" --min', "$address --min"),
    ("cluster/slurm.sbatch", "export RAY_AUTH_TOKEN\n", ""),
    (".ci/run", 'python3 -m venv "$venv"', "python3 -m venv $venv"),
    (".ci/run", 'cd "$(dirname "$0")/.."', "cd $(dirname $0)/.."),
]


@pytest.mark.parametrize("path", CHECKS)
def test_a_file_passes_its_check(path):
    assert CHECKS[path]((ROOT / path).read_text()) == []


@pytest.mark.parametrize(("path", "right", "wrong"), BROKEN)
def test_a_broken_copy_fails_its_check(path, right, wrong):
    text = (ROOT / path).read_text()
    assert right in text
    assert CHECKS[path](text.replace(right, wrong)) != []


@pytest.mark.parametrize("path", sorted(CLUSTER.iterdir()), ids=lambda path: path.name)
def test_no_file_holds_a_secret(path):
    text = path.read_text()
    assert secrets(text) == []
    key = "AKIA" + 16 * "A"
    assert secrets(f"{text}\nAWS_ACCESS_KEY_ID={key}") == [key]
    assert secrets(f"{text}\n--output s3://key:secret@bucket/sweep") == ["://key:secret@"]


def test_pods_and_image_have_the_same_ray_version():
    pinned = re.findall("^ray==(.+)$", (CLUSTER / "constraints.txt").read_text(), re.MULTILINE)
    assert [yaml.safe_load((CLUSTER / "rayjob.yaml").read_text())["spec"]["rayClusterSpec"]["rayVersion"]] == pinned


@pytest.mark.parametrize("name", ["aws.yaml", "gcp.yaml"])
def test_a_launcher_saves_money_and_asks_for_the_token(name):
    config = yaml.safe_load((CLUSTER / name).read_text())
    head, gpu = (config["available_node_types"][node]["node_config"] for node in ("head", "gpu"))
    assert "spot" not in json.dumps(head).lower()
    assert "spot" in json.dumps(gpu).lower()
    assert config["available_node_types"]["gpu"]["min_workers"] == 0
    assert config["idle_timeout_minutes"] <= 10
    assert config["provider"]["cache_stopped_nodes"] is False
    assert "~/.ray/auth_token" in config["file_mounts"]
    assert "RAY_AUTH_MODE=token" in " ".join(config["setup_commands"])
    assert "--dashboard-host=127.0.0.1" in " ".join(config["head_start_ray_commands"])
