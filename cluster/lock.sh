#!/usr/bin/env bash
# Renew the locks: every package that a node installs, with its version and hashes. It needs uv: python -m pip install uv
#   cluster/lock.sh            keeps the versions that the locks have, where they still fit
#   cluster/lock.sh --upgrade  takes the newest that pyproject.toml and constraints.txt allow
set -euo pipefail
cd "$(dirname "$0")/.."
common=(pyproject.toml --constraint cluster/constraints.txt --python-version 3.12 --python-platform linux
    --no-python-downloads --generate-hashes --no-annotate --quiet --custom-compile-command cluster/lock.sh)
# (boto3 on the head wants an older python-dateutil.)
printf '%s\n' 'ray[default]' hatchling hatch-fancy-pypi-readme 'python-dateutil<3' |
    python -m uv pip compile "${common[@]}" - --extra all --extra cuda "$@" --output-file cluster/worker.lock
# The head trains nothing: it has no CUDA, but what Ray needs to start nodes.
printf '%s\n' 'ray[default]' hatchling hatch-fancy-pypi-readme boto3 google-api-python-client google-auth google-auth-httplib2 cryptography |
    python -m uv pip compile "${common[@]}" --constraint cluster/worker.lock - --extra all "$@" --output-file cluster/head.lock
