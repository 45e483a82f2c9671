"""The nodes that Ray's launcher starts from `cluster/aws.yaml` on an imitation of AWS,
and their permissions."""

import json
from pathlib import Path

import pytest
import yaml

POLICY = {
    "Path": "/",
    "Document": {},
    "CreateDate": "2015-02-06",
    "UpdateDate": "2015-02-06",
}
POLICIES = {"AmazonEC2FullAccess": POLICY, "AmazonS3FullAccess": POLICY}
"""The policies of AWS's own that Ray's launcher names. Reading all 1,582 of them takes
seconds."""

LAUNCHER = Path(__file__).parents[2] / "cluster" / "aws.yaml"


@pytest.fixture
def aws(monkeypatch, tmp_path):
    """AWS in the state after the steps of `cluster/aws.md` before `ray up`."""
    import boto3  # both take a second, which the processes that run other files save
    import moto

    monkeypatch.setenv("HOME", str(tmp_path))  # where Ray writes the key that it makes
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "imitation")
    monkeypatch.setenv("MOTO_IAM_LOAD_MANAGED_POLICIES", "true")
    policies = json.dumps(POLICIES)
    monkeypatch.setattr("moto.iam.models.aws_managed_policies_data", policies)
    sleep = "ray.autoscaler._private.aws.config.time.sleep"
    monkeypatch.setattr(sleep, lambda seconds: None)
    with moto.mock_aws():
        iam = boto3.client("iam")
        for name in ("mnist-tune-head", "mnist-tune-worker"):
            iam.create_role(RoleName=name, AssumeRolePolicyDocument="{}")
            iam.create_instance_profile(InstanceProfileName=name)
            iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)
        yield boto3.resource("ec2", "us-west-2")


@pytest.mark.promise(
    "Workers are spot nodes and go when idle, and nodes ask for the token"
)
def test_ray_starts_a_head_on_demand_and_a_worker_on_spot(aws):
    import boto3
    from ray.autoscaler._private.aws.config import bootstrap_aws
    from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
    from ray.autoscaler._private.util import prepare_config, validate_config

    image = aws.register_image(Name="ubuntu").id
    text = LAUNCHER.read_text().replace("AMI_ID", image)
    config = prepare_config(yaml.safe_load(text))
    validate_config(config)
    config = bootstrap_aws(config)
    provider = AWSNodeProvider(config["provider"], config["cluster_name"])
    node_types = config["available_node_types"]
    head_config = node_types["head"]["node_config"] | config["head_node"]
    provider.create_node(head_config, {}, 1)
    provider.create_node(node_types["gpu"]["node_config"], {}, 1)

    head, worker = aws.instances.all()
    assert head.instance_type == "m6i.large"
    assert head.instance_lifecycle is None
    assert head.iam_instance_profile["Arn"].rsplit("/")[-1] == "mnist-tune-head"
    assert worker.instance_type == "g6.xlarge"
    assert worker.instance_lifecycle == "spot"
    assert worker.iam_instance_profile["Arn"].rsplit("/")[-1] == "mnist-tune-worker"
    roles = boto3.client("iam").list_roles()["Roles"]
    names = sorted(role["RoleName"] for role in roles)
    no_other = "Ray made one with full access"
    assert names == ["mnist-tune-head", "mnist-tune-worker"], no_other
    (group,) = aws.security_groups.filter(GroupNames=["ray-autoscaler-mnist-tune"])
    from_outside = [rule for rule in group.ip_permissions if rule["IpRanges"]]
    assert [rule["FromPort"] for rule in from_outside] == [22]
