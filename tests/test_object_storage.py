"""Files in object storage: conditional writes, errors in a line, and how a URI is addressed."""

import _thread
import json
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from unittest.mock import Mock

import obstore
import pyarrow.fs
import pytest
from botocore.exceptions import ProfileNotFound
from obstore.store import ObjectStoreMethods

from mnist_tune import UserError, object_storage, storage
from mnist_tune.object_storage import ChangedError


@pytest.fixture
def file(bucket):
    return storage.join(bucket, "a.txt")


def test_a_file_is_written_only_over_the_version_that_was_seen(file):
    first = object_storage.write(file, b"one", "create")
    with pytest.raises(ChangedError, match=r"^PreconditionFailed "):
        object_storage.write(file, b"two", "create")
    assert object_storage.read(file) == (b"one", first)
    second = object_storage.write(file, b"two", first)
    with pytest.raises(ChangedError, match=r"^PreconditionFailed "):
        object_storage.write(file, b"three", first)
    assert object_storage.read(file) == (b"two", second)
    object_storage.remove(file)
    with pytest.raises(ChangedError):  # it is gone
        object_storage.write(file, b"three", second)
    with pytest.raises(FileNotFoundError):
        object_storage.read(file)


def test_a_large_file_is_written_whole_with_and_without_a_condition(file):
    for over in ("create", None):
        content = bytes(20_000_000)
        written = object_storage.write(file, content, over)
        assert written["e_tag"] == object_storage.read(file)[1]["e_tag"]
        assert object_storage.read(file)[0] == content


def test_what_is_not_there_can_be_copied_and_removed(bucket):
    one, two, three = (storage.join(bucket, name) for name in ("1/a", "2/a", "3"))
    object_storage.write(one, b"1")
    object_storage.copy(one, two)
    object_storage.copy(three, two)
    object_storage.remove(one, three)
    object_storage.remove()
    object_storage.remove(three)
    assert object_storage.below(bucket) == ["2/a"]
    assert object_storage.files(bucket) == {}
    assert object_storage.read(two)[0] == b"1"


def test_a_missing_bucket_is_no_missing_file(s3):
    place = s3.uri("no-such-bucket", "x")
    for call in (object_storage.read, object_storage.below, lambda where: object_storage.write(where, b"1")):
        with pytest.raises(OSError, match=r"^NoSuchBucket The specified bucket does not exist$") as error:
            call(place)
        assert type(error.value) is OSError


def test_storage_that_does_not_answer_is_an_error_in_a_line(silent_s3):
    with pytest.raises(OSError, match=r"^error sending request \(Connection refused\)$"):
        object_storage.read(silent_s3.uri("mnist-tune", "x"))


@pytest.fixture
def server():
    """A server that answers as it is told, and keeps what was asked: the method, the path, the headers and the body."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            told.asked.append((self.command, self.path, dict(self.headers), body))
            status, headers, content = told.answers.pop(0) if len(told.answers) > 1 else told.answers[0]
            self.send_response(status)
            for name, value in {"Content-Length": len(content), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PUT = do_POST = answer

        def log_message(self, *arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        told = SimpleNamespace(
            asked=[], answers=[], at=f"endpoint_override=127.0.0.1:{listening.server_port}&scheme=http"
        )
        yield told
        listening.shutdown()


@pytest.mark.parametrize(
    ("status", "content", "kind", "said"),
    [
        (
            403,
            b"<Error><Code>AccessDenied</Code><Message>no\nnot you</Message></Error>",
            PermissionError,
            "AccessDenied no",
        ),
        (401, b"who?", PermissionError, "401 Unauthorized: who?"),
        (400, b"<Error><Code>ExpiredToken</Code><Message>old</Message></Error>", OSError, "ExpiredToken old"),
        (503, b"", OSError, "503 Service Unavailable"),
        (404, b"", FileNotFoundError, "404 Not Found"),
    ],
)
def test_an_answer_of_the_storage_becomes_an_error_of_a_line(s3, server, status, content, kind, said):
    server.answers = [(status, {}, content)]
    with pytest.raises(OSError) as error:  # noqa: PT011
        object_storage.read(f"s3://bucket/x?{server.at}&region=us-east-1")
    assert (type(error.value), storage.reason(error.value)) == (kind, said)
    assert len(server.asked) == (3 if status == 503 else 1)  # a hiccup is tried again


def test_google_is_told_the_number_of_the_version_that_was_seen(server, monkeypatch):
    """Its tag alone is refused."""
    key = {"disable_oauth": True, "client_email": "", "private_key": "", "private_key_id": ""}
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT_KEY", json.dumps(key))
    place = f"gs://bucket/a?{server.at}"
    server.answers = [(200, {"ETag": '"e"', "x-goog-generation": "7"}, b"")]
    version = object_storage.write(place, b"one", "create")
    object_storage.write(place, b"two", version)
    assert [(method, path, headers.get("x-goog-if-generation-match")) for method, path, headers, _ in server.asked] == [
        ("PUT", "/bucket/a", "0"),
        ("PUT", "/bucket/a", "7"),
    ]


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        (
            "s3://bucket/x?region=us-east-1&colour=red",
            "colour after the ? is not known, only endpoint_override, scheme, re",
        ),
        ("gs://bucket/x?region=us-east-1", "region after the ? is not known, only endpoint_override, scheme is"),
        ("az://bucket/x?endpoint_override=host", "endpoint_override after the ? is not known, only nothing is"),
    ],
)
def test_what_a_query_may_not_say_is_named(uri, said):
    with pytest.raises(UserError) as error:
        storage.read(uri)
    assert said in str(error.value)


@pytest.fixture
def made(monkeypatch):
    """What stores are made of."""
    found = []
    for name in ("S3Store", "GCSStore", "AzureStore"):
        monkeypatch.setattr(
            f"obstore.store.{name}", lambda bucket, kind=name, **settings: found.append((kind, bucket, settings))
        )
    object_storage._store.cache_clear()
    yield found
    object_storage._store.cache_clear()


@pytest.mark.parametrize(
    ("uri", "kind", "bucket", "config"),
    [
        ("s3://b?endpoint_override=host:1&scheme=http", "S3Store", "b", {"endpoint": "http://host:1"}),
        ("s3://b?endpoint_override=host", "S3Store", "b", {"endpoint": "https://host"}),
        ("s3://b?region=eu-west-1", "S3Store", "b", {"region": "eu-west-1"}),
        ("gs://b", "GCSStore", "b", {}),
        ("gs://b?endpoint_override=host", "GCSStore", "b", {"base_url": "https://host"}),
        ("az://c", "AzureStore", "c", None),
    ],
)
def test_each_uri_addresses_its_storage(made, uri, kind, bucket, config):
    object_storage._store(uri)
    [(found, name, settings)] = made
    assert (found, name, settings.get("config")) == (kind, bucket, config)
    assert settings["client_options"]["allow_http"] is ("scheme=http" in uri)


@pytest.mark.parametrize("environment", [{}, {"AWS_ENDPOINT_URL": "https://host"}])
def test_the_region_of_a_bucket_of_amazons_is_looked_up(made, monkeypatch, environment):
    monkeypatch.setattr(pyarrow.fs, "resolve_s3_region", lambda bucket: f"of {bucket}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "some")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    object_storage._store("s3://b")
    assert made[0][2]["config"] == ({} if environment else {"region": "of b"})


def test_a_region_that_cannot_be_looked_up_is_left_to_the_environment(made, monkeypatch):
    monkeypatch.setattr(pyarrow.fs, "resolve_s3_region", Mock(side_effect=OSError("no network")))
    object_storage._store("s3://b")
    assert made[0][2]["config"] == {}


AWS = "[default]\naws_access_key_id = from-file\naws_secret_access_key = hidden\n"


@pytest.mark.parametrize("kept", ["environment", "file", "nowhere"])
def test_keys_come_from_the_environment_or_from_the_file_of_aws_if_boto3_is_there(tmp_path, monkeypatch, kept):
    file = tmp_path / "credentials"
    file.write_text(AWS if kept == "file" else "")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {
        "CONFIG_FILE": "none",
        "SHARED_CREDENTIALS_FILE": file,
        "EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(f"AWS_{name}", str(value))
    if kept == "environment":
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "some")
    found = object_storage._keys_of_aws()
    assert (found and found()["access_key_id"]) == ("from-file" if kept == "file" else None)
    monkeypatch.setattr(object_storage, "find_spec", lambda name: None)
    assert object_storage._keys_of_aws() is None


def test_a_profile_that_is_missing_is_said_in_a_line(monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    monkeypatch.setattr("obstore.auth.boto3.Boto3CredentialProvider", Mock(side_effect=ProfileNotFound(profile="x")))
    with pytest.raises(
        UserError, match=r"^can't read the configuration of AWS: The config profile \(x\) could not be found$"
    ):
        object_storage._keys_of_aws()


def test_keys_that_are_nowhere_are_an_error_that_says_where_they_belong():
    text = "Generic S3 error: Error performing PUT http://169.254.169.254/latest/api/token in 3s - HTTP error: timeout"
    with pytest.raises(
        OSError, match=r"^no keys are in the environment, nor .*; ~/.aws is read if boto3 is installed$"
    ):
        object_storage._as_of_files(Mock(side_effect=obstore.exceptions.GenericError(text)))


def test_tunes_filesystem_finds_the_same_files(file, monkeypatch):
    object_storage.write(file, b"1")
    filesystem, path = object_storage.filesystem_of(file)
    assert filesystem.open_input_file(path).read() == b"1"
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    filesystem, path = object_storage.filesystem_of("az://container/a/b")
    assert (filesystem.type_name, path) == ("abfs", "container/a/b")


def test_what_tune_writes_goes_with_the_folders_that_pyarrow_makes(bucket):
    filesystem, path = object_storage.filesystem_of(storage.join(bucket, ".ray", "1"))
    filesystem.create_dir(f"{path}/tune", recursive=True)
    with filesystem.open_output_stream(f"{path}/tune/file") as file:
        file.write(b"1")
    object_storage.write(storage.join(bucket, "a"), b"1")
    assert sorted(object_storage.below(bucket)) == [".ray", ".ray/1", ".ray/1/tune", ".ray/1/tune/file", "a"]
    object_storage.remove_tunes(storage.join(bucket, ".ray"))
    object_storage.remove_tunes(storage.join(bucket, "nothing"))
    assert object_storage.below(bucket) == [".ray", "a"]


def test_ctrl_c_during_an_upload_leaves_a_whole_file(file, monkeypatch):
    """And comes through once it has ended: obstore can't be interrupted."""
    put = ObjectStoreMethods.put

    def interrupted(*arguments, **options):
        time.sleep(0.2)  # until the main thread waits
        _thread.interrupt_main()
        time.sleep(0.2)
        return put(*arguments, **options)

    monkeypatch.setattr(ObjectStoreMethods, "put", interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background ignores it
    try:
        with pytest.raises(KeyboardInterrupt):
            object_storage.write(file, b"whole")
    finally:
        signal.signal(signal.SIGINT, before)
    assert object_storage.read(file)[0] == b"whole"


def test_a_sweep_in_a_folder_does_not_import_obstore():
    check = "import sys, mnist_tune, mnist_tune.results.writer; sys.exit('obstore' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check]).returncode == 0
