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
AUTOSCALER = Path(ray.__file__).parent / "autoscaler"
LAUNCHER = json.loads((AUTOSCALER / "ray-schema.json").read_text())
RAYJOB = json.loads(Path(__file__).with_name("rayjob-schema.json").read_text())


def config_of(name):
    return yaml.safe_load((CLUSTER / name).read_text())


PODS = config_of("rayjob.yaml")["spec"]["rayClusterSpec"]


def against(schema, text):
    """Return the errors of a file by a schema."""
    validator = jsonschema.validators.validator_for(schema)(schema)
    errors = validator.iter_errors(yaml.safe_load(text))
    return [f"{error.json_path}: {error.message}" for error in errors]


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
    faults = linted("hadolint", text)
    users = re.findall(r"^USER (\S+)", text, re.MULTILINE)
    last = users[-1] if users else "root"
    if not last.isdigit() or int(last) == 0:
        faults.append("it runs as root, or as a user without number")
    return faults


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
    with_a_key = secrets(f"{text}\n--output s3://key:secret@bucket/sweep")
    assert with_a_key == ["://key:secret@"]


def test_pods_and_image_have_the_same_ray_version():
    constraints = (CLUSTER / "constraints.txt").read_text()
    [pinned] = re.findall("^ray==(.+)$", constraints, re.MULTILINE)
    assert PODS["rayVersion"] == pinned


@pytest.mark.promise(
    "Workers are spot nodes and go when idle, and nodes ask for the token"
)
@pytest.mark.parametrize("name", ["aws.yaml", "gcp.yaml"])
def test_a_launcher_saves_money_and_asks_for_the_token(name):
    config = config_of(name)
    head = config["available_node_types"]["head"]
    assert "spot" not in json.dumps(head["node_config"]).lower()
    gpu = config["available_node_types"]["gpu"]
    assert "spot" in json.dumps(gpu["node_config"]).lower()
    assert gpu["min_workers"] == 0
    assert config["idle_timeout_minutes"] <= 10
    assert config["provider"]["cache_stopped_nodes"] is False
    assert "~/.ray/auth_token" in config["file_mounts"]
    assert "RAY_AUTH_MODE=token" in " ".join(config["setup_commands"])
    assert "--dashboard-host=127.0.0.1" in " ".join(config["head_start_ray_commands"])


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


POLICY = r"--policy-name (\w+) --policy-document '(.*?)}'\n"


def policies():
    """Return the statements of each policy that the pages make."""
    statements = {}
    for name, text in re.findall(POLICY, PAGES, re.DOTALL):
        filled = re.sub(r"'\"\$(\w+)\"'", r"\1", text + "}")
        statements[name] = json.loads(filled)["Statement"]
    return statements


def actions(statement):
    action = statement["Action"]
    return {action} if isinstance(action, str) else set(action)


def all_actions(statements):
    return set().union(*map(actions, statements))


@pytest.mark.promise(
    "The nodes' role in the cloud may do what is listed, and nothing else"
)
def test_a_role_may_do_what_is_listed_and_nothing_else():
    statements = policies()
    assert statements.keys() == {"bucket", "nodes"}
    assert all_actions(statements["bucket"]) == BUCKET
    resources = {statement["Resource"] for statement in statements["bucket"]}
    assert resources == {"arn:aws:s3:::BUCKET", "arn:aws:s3:::BUCKET/*"}
    assert all_actions(statements["nodes"]) == NODES | {"iam:PassRole"}
    worker = "arn:aws:iam::ACCOUNT:role/mnist-tune-worker"
    own_nodes = {"ec2:ResourceTag/ray-cluster-name": "mnist-tune"}
    for statement in statements["nodes"]:
        if "iam:PassRole" in actions(statement):
            assert statement["Resource"] == worker
        if "ec2:TerminateInstances" in actions(statement):
            assert statement["Condition"] == {"StringEquals": own_nodes}
    config = config_of("aws.yaml")
    assert config["cluster_name"] == "mnist-tune"
    for name, role in (("head", "mnist-tune-head"), ("gpu", "mnist-tune-worker")):
        node = config["available_node_types"][name]["node_config"]
        assert node["IamInstanceProfile"] == {"Name": role}
        assert node["MetadataOptions"] == {"HttpTokens": "required"}


ROLES_OF_RAY = r"DEFAULT_SERVICE_ACCOUNT_ROLES = \[(.*?)\]"
REMOVAL = r"for role in (.*); do\n +gcloud projects remove-iam-policy-binding"


@pytest.mark.promise(
    "The nodes' role in the cloud may do what is listed, and nothing else"
)
def test_what_rays_head_on_google_cloud_does_not_need_is_taken_away():
    source = (AUTOSCALER / "_private" / "gcp" / "config.py").read_text()
    listed = re.search(ROLES_OF_RAY, source, re.DOTALL)[1]
    roles = set(re.findall(r'"roles/(.*?)"', listed))
    (removed,) = re.findall(REMOVAL, PAGES)
    assert roles - set(removed.split()) == {"compute.admin"}


@pytest.mark.promise("Trials on Kubernetes have no Kubernetes token")
def test_trials_on_kubernetes_have_no_token_and_no_rights_of_the_head():
    head = PODS["headGroupSpec"]["template"]["spec"]
    (workers,) = PODS["workerGroupSpecs"]
    worker = workers["template"]["spec"]
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


COPIED = "mnist_tune sweeps analysis cluster pyproject.toml README.md LICENSE"


@pytest.mark.promise("Only what is named is copied to the nodes")
@pytest.mark.parametrize("name", ["aws.yaml", "gcp.yaml"])
def test_only_what_is_named_is_copied_to_the_nodes(name):
    config = config_of(name)
    copied = set(config["file_mounts"].values())
    token = "~/.ray/auth_token"
    assert copied == {*COPIED.split(), token}
    assert ".env*" in config["rsync_exclude"]
    for path in copied - {token}:
        assert (ROOT / path).exists()


HASHES = re.compile("sha256:[0-9a-f]{64}( --hash=sha256:[0-9a-f]{64})*")


def requirements(text):
    """Return the lines of a list of packages, without comments."""
    lines = re.sub(r" *\\\n *", " ", text).splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def locked(name):
    """Return the version of each package in a lock. Each must have a hash."""
    versions = {}
    for line in requirements((CLUSTER / name).read_text()):
        package, _, hashes = line.partition("--hash=")
        assert HASHES.fullmatch(hashes), package
        name, version = package.partition(";")[0].strip().split("==")
        versions[name] = version
    return versions


@pytest.mark.promise("Nodes install what is locked, by hashes")
def test_the_locks_hold_every_package_with_its_hashes():
    head = locked("head.lock")
    worker = locked("worker.lock")
    constraints = requirements((CLUSTER / "constraints.txt").read_text())
    pinned = dict(line.split("==") for line in constraints)
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    needed = settings["project"]["dependencies"] + settings["build-system"]["requires"]
    names = {re.match("[a-z0-9-]+", requirement)[0] for requirement in needed}
    for lock in (head, worker):
        assert lock.items() >= pinned.items()
        assert lock.keys() >= names
    for name in head.keys() & worker.keys():
        assert head[name] == worker[name], name
    assert {name for name in worker if name.startswith("jax-cuda12")}
    assert not [name for name in head if "nvidia" in name or "cuda" in name]
    assert head.keys() >= {"boto3", "google-api-python-client"}


@pytest.mark.promise("Nodes install what is locked, by hashes")
@pytest.mark.parametrize(
    ("path", "count"), [("aws.yaml", 4), ("gcp.yaml", 4), ("Dockerfile", 2)]
)
def test_nodes_install_nothing_but_what_is_locked(path, count):
    text = (CLUSTER / path).read_text()
    installs = re.findall(r"pip install (.*?)(?: &&|\n)", text)
    assert len(installs) == count
    for flags in installs:
        is_locked = "--require-hashes -r cluster/" in flags
        is_own = flags.endswith("--no-deps --no-build-isolation .")
        assert is_locked or is_own, flags
