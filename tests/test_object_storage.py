"""Files in object storage: conditional writes, errors in a line, and how a URI is
addressed."""

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
import pytest
from botocore.exceptions import ProfileNotFound
from kept_texts import assert_kept
from obstore.store import ObjectStoreMethods
from outcomes import outcome

from mnist_tune import UserError, object_storage, storage
from mnist_tune.object_storage import ChangedError


@pytest.fixture
def file(bucket):
    return storage.join(bucket, "a.txt")


def test_a_file_is_written_only_over_the_version_that_was_seen(file):
    first = object_storage.write_over(file, b"one", None, "one")
    with pytest.raises(ChangedError, match=r"^PreconditionFailed "):
        object_storage.write_over(file, b"two", None, "two")
    assert object_storage.read(file) == (b"one", first)
    second = object_storage.write_over(file, b"two", first, "two")
    with pytest.raises(ChangedError, match=r"^PreconditionFailed "):
        object_storage.write_over(file, b"three", first, "one")
    assert object_storage.read(file) == (b"two", second)
    object_storage.remove(file)
    with pytest.raises(ChangedError):  # it is gone
        object_storage.write_over(file, b"three", second, "two")
    with pytest.raises(FileNotFoundError):
        object_storage.read(file)


def test_a_write_whose_answer_was_lost_is_known_as_ones_own(file):
    """It may also arrive late, after the storage was asked what is there."""
    first = object_storage.write_over(file, b"one", None, "me")
    object_storage.write_over(file, b"two", first, "me")
    for seen in (first, None):
        third = object_storage.write_over(file, b"three", seen, "me")
        assert object_storage.read(file) == (b"three", third)
    with pytest.raises(ChangedError):
        object_storage.write_over(file, b"four", first, "another")
    assert object_storage.read(file)[0] == b"three"


@pytest.mark.promise("Each file is written whole or not at all")
def test_a_large_file_is_written_whole_with_and_without_a_condition(file):
    content = bytes(20_000_000)
    written = object_storage.write_over(file, content, None, "one")
    assert object_storage.read(file) == (content, written)
    object_storage.write(file, content[1:])
    assert object_storage.read(file)[0] == content[1:]


def test_what_is_not_there_can_be_copied_and_removed(bucket):
    original = storage.join(bucket, "1/a")
    copy = storage.join(bucket, "2/a")
    nothing = storage.join(bucket, "3")
    object_storage.write(original, b"1")
    object_storage.copy(original, copy)
    object_storage.copy(nothing, copy)
    object_storage.remove(original, nothing)
    object_storage.remove()
    object_storage.remove(nothing)
    assert object_storage.below(bucket) == ["2/a"]
    assert object_storage.files(bucket) == {}
    assert object_storage.read(copy)[0] == b"1"


def test_a_missing_bucket_is_no_missing_file(s3):
    place = s3.uri("no-such-bucket", "x")
    for call in (
        object_storage.read,
        object_storage.below,
        lambda where: object_storage.write(where, b"1"),
    ):
        line = r"^NoSuchBucket The specified bucket does not exist$"
        with pytest.raises(OSError, match=line) as error:
            call(place)
        assert type(error.value) is OSError


def test_storage_that_does_not_answer_is_an_error_in_a_line(silent_s3):
    line = r"^error sending request \(Connection refused\)$"
    with pytest.raises(OSError, match=line):
        object_storage.read(silent_s3.uri("mnist-tune", "x"))


@pytest.fixture
def server():
    """A server that answers as it is told, and keeps what was asked: the method, the
    path, the headers and the body."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            orders.asked.append((self.command, self.path, dict(self.headers), body))
            status, headers, content = orders.answers[0]
            # the last answer is given again and again
            if len(orders.answers) > 1:
                del orders.answers[0]
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
        at = f"endpoint_override=127.0.0.1:{listening.server_port}&scheme=http"
        orders = SimpleNamespace(asked=[], answers=[], at=at)
        yield orders
        listening.shutdown()


@pytest.mark.parametrize(
    ("status", "content", "kind", "line"),
    [
        (
            403,
            b"<Error><Code>NotYou</Code><Message>no\nyou</Message></Error>",
            PermissionError,
            "NotYou no",
        ),
        (401, b"who?", PermissionError, "401 Unauthorized: who?"),
        (
            400,
            b"<Error><Code>ExpiredToken</Code><Message>old</Message></Error>",
            OSError,
            "ExpiredToken old",
        ),
        (503, b"", OSError, "503 Service Unavailable"),
        (404, b"", FileNotFoundError, "404 Not Found"),
    ],
)
def test_an_answer_of_the_storage_becomes_an_error_of_a_line(
    s3, server, status, content, kind, line
):
    server.answers = [(status, {}, content)]
    with pytest.raises(OSError) as error:  # noqa: PT011
        object_storage.read(f"s3://bucket/x?{server.at}&region=us-east-1")
    assert type(error.value) is kind
    assert storage.reason(error.value) == line
    assert len(server.asked) == (3 if status == 503 else 1)  # a hiccup is tried again


def test_google_is_told_the_number_of_the_version_that_was_seen(server, monkeypatch):
    """Its tag alone is refused."""
    key = {
        "disable_oauth": True,
        "client_email": "",
        "private_key": "",
        "private_key_id": "",
    }
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT_KEY", json.dumps(key))
    place = f"gs://bucket/a?{server.at}"
    server.answers = [(200, {"ETag": '"e"', "x-goog-generation": "7"}, b"")]
    version = object_storage.write_over(place, b"one", None, "one")
    object_storage.write_over(place, b"two", version, "one")
    versions = []
    for method, path, headers, _ in server.asked:
        assert (method, path) == ("PUT", "/bucket/a")
        versions.append(headers.get("x-goog-if-generation-match"))
    assert versions == ["0", "7"]


ERRORS = {
    "an answer": "S3 error: <Error><Code>AccessDenied</Code><Message>no\nnot you</Message></Error> HTTP error: x",
    "no message": "<Error><Code>AccessDenied</Code></Error>\nmore",
    "a status": "Server returned non-2xx status code: 401 Unauthorized: who?\n\nDebug",
    "a status without more": "Server returned non-2xx status code: 503 Service Unavailable: \n\nDebug",
    "a page": "status code: 404 Not Found: <html>",
    "no connection": 'HTTP error: error sending request\n\nDebug: message: "Connection refused" }',
    "a time-out": "HTTP error: error sending request\n\nDebug: kind: TimedOut }",
    "no keys": "Error performing PUT http://169.254.169.254/latest/api/token in 3s - HTTP error: timeout",
    "no bucket": "<Code>NoSuchBucket</Code><Message>The bucket does not exist</Message>",
    "no container": "<Code>ContainerNotFound</Code><Message>The container does not exist</Message>",
    "none of these": "Object at location a not found\n\nDebug",
}
RAISED = (
    "BaseError",
    "GenericError",
    "AlreadyExistsError",
    "PreconditionError",
    "PermissionDeniedError",
    "UnauthenticatedError",
    "InvalidPathError",
)


def test_errors_of_the_storage_become_errors_of_files_in_a_line():
    errors = {}
    for name, text in ERRORS.items():
        errors[name] = obstore.exceptions.GenericError(text)
    for name in [*ERRORS][-3:]:
        errors[f"{name}, not found"] = FileNotFoundError(ERRORS[name])
    for name in RAISED:
        errors[name] = getattr(obstore.exceptions, name)("it")
    lines = []
    for name, error in errors.items():
        end = outcome(object_storage._as_of_files, Mock(side_effect=error))
        lines.append(f"{name}: {end}")
    assert_kept("storage errors", "\n".join(lines) + "\n")


AWS = "[default]\naws_access_key_id = from-file\naws_secret_access_key = hidden\n"


@pytest.mark.promise(
    "Keys come from the environment or the machine, and from `~/.aws` with boto3"
)
@pytest.mark.parametrize(
    ("place", "key_id"),
    [("environment", None), ("file", "from-file"), ("nowhere", None)],
)
def test_keys_come_from_the_environment_or_from_the_file_of_aws_if_boto3_is_there(
    tmp_path, monkeypatch, place, key_id
):
    file = tmp_path / "credentials"
    file.write_text(AWS if place == "file" else "")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "none")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    if place == "environment":
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "some")
    keys = object_storage._keys_of_aws()
    assert (keys and keys()["access_key_id"]) == key_id
    monkeypatch.setattr(object_storage, "find_spec", lambda name: None)
    assert object_storage._keys_of_aws() is None


def test_a_profile_that_is_missing_is_said_in_a_line(monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    monkeypatch.setattr(
        "obstore.auth.boto3.Boto3CredentialProvider",
        Mock(side_effect=ProfileNotFound(profile="x")),
    )
    line = r"^can't read the configuration of AWS: .*profile \(x\) could not be found$"
    with pytest.raises(UserError, match=line):
        object_storage._keys_of_aws()


def test_what_tune_writes_goes_with_the_folders_that_pyarrow_makes(bucket):
    filesystem, path = object_storage.filesystem_of(storage.join(bucket, ".ray", "1"))
    filesystem.create_dir(f"{path}/tune", recursive=True)
    with filesystem.open_output_stream(f"{path}/tune/file") as file:
        file.write(b"1")
    object_storage.write(storage.join(bucket, "a"), b"1")
    tunes_file = storage.join(bucket, ".ray", "1", "tune", "file")
    content, _ = object_storage.read(tunes_file)
    assert content == b"1"
    tunes = [".ray", ".ray/1", ".ray/1/tune", ".ray/1/tune/file"]
    assert sorted(object_storage.below(bucket)) == [*tunes, "a"]
    object_storage.remove_tunes(storage.join(bucket, ".ray"))
    object_storage.remove_tunes(storage.join(bucket, "nothing"))
    assert object_storage.below(bucket) == [".ray", "a"]


@pytest.mark.promise("Each file is written whole or not at all")
def test_ctrl_c_during_an_upload_leaves_a_whole_file(file, monkeypatch):
    """And comes through once it has ended: obstore can't be interrupted."""
    put = ObjectStoreMethods.put

    def interrupted(*arguments, **options):
        time.sleep(0.2)  # until the main thread waits
        _thread.interrupt_main()
        time.sleep(0.2)
        return put(*arguments, **options)

    monkeypatch.setattr(ObjectStoreMethods, "put", interrupted)
    # a shell's background ignores it
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            object_storage.write(file, b"whole")
    finally:
        signal.signal(signal.SIGINT, before)
    assert object_storage.read(file)[0] == b"whole"


def test_a_sweep_in_a_folder_does_not_import_obstore():
    check = "import sys, mnist_tune, mnist_tune.results.writer; sys.exit('obstore' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check]).returncode == 0
