"""Every file in `cluster/` passes its schema or linter, and broken copies fail."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import jsonschema
import pytest
import ray
import yaml
from waiting import LONG_S

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "cluster"
LAUNCHER = json.loads(
    (Path(ray.__file__).parent / "autoscaler" / "ray-schema.json").read_text()
)
RAYJOB = json.loads(Path(__file__).with_name("rayjob-schema.json").read_text())


def against(schema, text):
    """Return the errors of a file by a schema."""
    validator = jsonschema.validators.validator_for(schema)(schema)
    return [
        f"{error.json_path}: {error.message}"
        for error in validator.iter_errors(yaml.safe_load(text))
    ]


def launcher(text):
    return against(LAUNCHER, text)


def rayjob(text):
    return against(RAYJOB, text)


def linted(program, text, *flags):
    """Return the output lines of a linter, which is installed as a Python package."""
    command = [Path(sys.executable).with_name(program), *flags, "-"]
    done = subprocess.run(
        command, input=text, capture_output=True, text=True, timeout=LONG_S
    )
    assert done.returncode in (0, 1), done.stderr
    return done.stdout.splitlines()


def dockerfile(text):
    users = re.findall(r"^USER (\S+)", text, re.MULTILINE)
    root = (
        []
        if users and users[-1].isdigit() and int(users[-1])
        else ["it runs as root, or as a user without number"]
    )
    return linted("hadolint", text) + root


def script(text):
    return linted("shellcheck", text, "--severity=style")


def secrets(text):
    return re.findall(
        r"AKIA[0-9A-Z]{16}|-----BEGIN|\b[0-9a-f]{32,}\b|://[^\s/@]+:[^\s/@]+@", text
    )


CHECKS = {
    "cluster/aws.yaml": launcher,
    "cluster/gcp.yaml": launcher,
    "cluster/rayjob.yaml": rayjob,
    "cluster/Dockerfile": dockerfile,
    "cluster/slurm.sbatch": script,
    "cluster/lock.sh": script,
    ".ci/run": script,
}


@pytest.mark.parametrize("path", CHECKS)
def test_a_file_passes_its_check(path):
    assert CHECKS[path]((ROOT / path).read_text()) == []


@pytest.mark.parametrize("path", sorted(CLUSTER.iterdir()), ids=lambda path: path.name)
def test_no_file_holds_a_secret(path):
    text = re.sub(r"--hash=sha256:[0-9a-f]{64}\b", "", path.read_text())
    assert secrets(text) == []
    key = "AKIA" + 16 * "A"
    assert secrets(f"{text}\nAWS_ACCESS_KEY_ID={key}") == [key]
    assert secrets(f"{text}\n--output s3://key:secret@bucket/sweep") == [
        "://key:secret@"
    ]


def test_pods_and_image_have_the_same_ray_version():
    pinned = re.findall(
        "^ray==(.+)$", (CLUSTER / "constraints.txt").read_text(), re.MULTILINE
    )
    assert [
        yaml.safe_load((CLUSTER / "rayjob.yaml").read_text())["spec"]["rayClusterSpec"][
            "rayVersion"
        ]
    ] == pinned


@pytest.mark.promise(
    "Workers are spot nodes and go when idle, and nodes ask for the token"
)
@pytest.mark.parametrize("name", ["aws.yaml", "gcp.yaml"])
def test_a_launcher_saves_money_and_asks_for_the_token(name):
    config = yaml.safe_load((CLUSTER / name).read_text())
    head, gpu = (
        config["available_node_types"][node]["node_config"] for node in ("head", "gpu")
    )
    assert "spot" not in json.dumps(head).lower()
    assert "spot" in json.dumps(gpu).lower()
    assert config["available_node_types"]["gpu"]["min_workers"] == 0
    assert config["idle_timeout_minutes"] <= 10
    assert config["provider"]["cache_stopped_nodes"] is False
    assert "~/.ray/auth_token" in config["file_mounts"]
    assert "RAY_AUTH_MODE=token" in " ".join(config["setup_commands"])
    assert "--dashboard-host=127.0.0.1" in " ".join(config["head_start_ray_commands"])


PODS = yaml.safe_load((CLUSTER / "rayjob.yaml").read_text())["spec"]["rayClusterSpec"]
PAGES = "".join((CLUSTER / f"{name}.md").read_text() for name in ("aws", "gcp"))

BUCKET = {
    "s3:ListBucket",
    "s3:GetObject",
    "s3:PutObject",
    "s3:DeleteObject",
    "s3:AbortMultipartUpload",
}
NODES = {
    "ec2:DescribeInstances",
    "ec2:DescribeImages",
    "ec2:RunInstances",
    "ec2:CreateTags",
    "ec2:TerminateInstances",
}
"""What Ray's node provider calls, with nodes that are not stopped but ended."""


def policies():
    """Return the statements of each policy that the pages make."""
    found = {}
    for name, text in re.findall(
        r"--policy-name (\w+) --policy-document '(.*?)}'\n", PAGES, re.DOTALL
    ):
        filled = re.sub(r"'\"\$(\w+)\"'", r"\1", text + "}")
        found[name] = json.loads(filled)["Statement"]
    return found


def actions(statement):
    return (
        {statement["Action"]}
        if isinstance(statement["Action"], str)
        else set(statement["Action"])
    )


@pytest.mark.promise(
    "The nodes' role in the cloud may do what is listed, and nothing else"
)
def test_a_role_may_do_what_is_listed_and_nothing_else():
    found = policies()
    assert found.keys() == {"bucket", "nodes"}
    assert set().union(*map(actions, found["bucket"])) == BUCKET
    assert {one["Resource"] for one in found["bucket"]} == {
        "arn:aws:s3:::BUCKET",
        "arn:aws:s3:::BUCKET/*",
    }
    assert set().union(*map(actions, found["nodes"])) == NODES | {"iam:PassRole"}
    for statement in found["nodes"]:
        if "iam:PassRole" in actions(statement):
            assert (
                statement["Resource"] == "arn:aws:iam::ACCOUNT:role/mnist-tune-worker"
            )
        if "ec2:TerminateInstances" in actions(statement):
            assert statement["Condition"] == {
                "StringEquals": {"ec2:ResourceTag/ray-cluster-name": "mnist-tune"}
            }
    config = yaml.safe_load((CLUSTER / "aws.yaml").read_text())
    assert config["cluster_name"] == "mnist-tune"
    for name, role in (("head", "mnist-tune-head"), ("gpu", "mnist-tune-worker")):
        node = config["available_node_types"][name]["node_config"]
        assert node["IamInstanceProfile"] == {"Name": role}
        assert node["MetadataOptions"] == {"HttpTokens": "required"}


@pytest.mark.promise(
    "The nodes' role in the cloud may do what is listed, and nothing else"
)
def test_what_rays_head_on_google_cloud_does_not_need_is_taken_away():
    source = (
        Path(ray.__file__).parent / "autoscaler" / "_private" / "gcp" / "config.py"
    ).read_text()
    given = re.findall(
        r'"(roles/.*?)"',
        re.search(r"DEFAULT_SERVICE_ACCOUNT_ROLES = \[(.*?)\]", source, re.DOTALL)[1],
    )
    (taken,) = re.findall(
        r"for role in (.*); do\n +gcloud projects remove-iam-policy-binding", PAGES
    )
    assert {*given} - {f"roles/{role}" for role in taken.split()} == {
        "roles/compute.admin"
    }


@pytest.mark.promise("Trials on Kubernetes have no Kubernetes token")
def test_trials_on_kubernetes_have_no_token_and_no_rights_of_the_head():
    head, (worker,) = (
        PODS["headGroupSpec"]["template"]["spec"],
        PODS["workerGroupSpecs"],
    )
    worker = worker["template"]["spec"]
    assert PODS["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert worker["automountServiceAccountToken"] is False
    assert worker["serviceAccountName"] != head["serviceAccountName"]
    for pod in (head, worker):
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "runAsNonRoot": True,
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "seccompProfile": {"type": "RuntimeDefault"},
            }


@pytest.mark.promise("Only what is named is copied to the nodes")
@pytest.mark.parametrize("name", ["aws.yaml", "gcp.yaml"])
def test_only_what_is_named_is_copied_to_the_nodes(name):
    config = yaml.safe_load((CLUSTER / name).read_text())
    copied = set(config["file_mounts"].values())
    assert copied == {
        *(
            "mnist_tune",
            "sweeps",
            "analysis",
            "cluster",
            "pyproject.toml",
            "README.md",
            "LICENSE",
            "~/.ray/auth_token",
        )
    }
    assert ".env*" in config["rsync_exclude"]
    assert all((ROOT / path).exists() for path in copied - {"~/.ray/auth_token"})


def locked(name):
    """Return the version of each package in a lock. Each must have a hash."""
    found = {}
    for line in re.sub(r" *\\\n *", " ", (CLUSTER / name).read_text()).splitlines():
        if line and not line.startswith("#"):
            package, hashes = line.partition("--hash=")[::2]
            assert re.fullmatch(
                "sha256:[0-9a-f]{64}( --hash=sha256:[0-9a-f]{64})*", hashes
            ), package
            found.update([package.partition(";")[0].strip().split("==")])
    return found


@pytest.mark.promise("Nodes install what is locked, by hashes")
def test_the_locks_hold_every_package_with_its_hashes():
    head, worker = locked("head.lock"), locked("worker.lock")
    pinned = dict(
        line.split("==")
        for line in re.findall(
            "^[^#].*", (CLUSTER / "constraints.txt").read_text(), re.MULTILINE
        )
    )
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    needed = settings["project"]["dependencies"] + settings["build-system"]["requires"]
    names = {re.match("[a-z0-9-]+", one)[0] for one in needed}
    for lock in (head, worker):
        assert lock.items() >= pinned.items()
        assert lock.keys() >= names
    assert not {
        name for name in head.keys() & worker.keys() if head[name] != worker[name]
    }
    assert {name for name in worker if name.startswith("jax-cuda12")}
    assert not [name for name in head if "nvidia" in name or "cuda" in name]
    assert head.keys() >= {"boto3", "google-api-python-client"}


@pytest.mark.promise("Nodes install what is locked, by hashes")
@pytest.mark.parametrize(
    ("path", "count"), [("aws.yaml", 4), ("gcp.yaml", 4), ("Dockerfile", 2)]
)
def test_nodes_install_nothing_but_what_is_locked(path, count):
    installs = re.findall(r"pip install (.*?)(?: &&|\n)", (CLUSTER / path).read_text())
    assert len(installs) == count
    for flags in installs:
        assert "--require-hashes -r cluster/" in flags or flags.endswith(
            "--no-deps --no-build-isolation ."
        ), flags
