"""Offline runs of Weights & Biases, as its public API returns those that were synced:
its own classes, with these files in place of its server."""

import json
import struct


def leveldb_records(content):
    """Yield the records of a log as LevelDB writes it, after W&B's header of 7 bytes:
    in blocks of 32 KiB, each part with a checksum, its length and whether it is whole
    (1), the first (2), a middle (3) or the last (4)."""
    place = 7
    data = b""
    while place < len(content):
        rest_of_block = 32768 - place % 32768
        if rest_of_block < 7:
            place += rest_of_block
            continue
        length, kind = struct.unpack("<HB", content[place + 4 : place + 7])
        data += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):
            yield data
            data = b""


def records_of(file):
    """Return the records of a file of an offline run."""
    from wandb.proto.wandb_internal_pb2 import Record

    return [Record.FromString(data) for data in leveldb_records(file.read_bytes())]


def key_of(item):
    return item.key or ".".join(item.nested_key)


class Files:
    """Stands in for W&B's server, with the records of one run."""

    app_url = "https://example.invalid/"

    def __init__(self, records, state):
        self.rows = []
        self.config = {}
        for record in records:
            kind = record.WhichOneof("record_type")
            if kind == "history":
                self.rows.append(record.history)
            if kind == "run":
                self.name = record.run.run_id
                self._update(record.run.config)
            if kind == "config":
                self._update(record.config)
        self.state = state

    def _update(self, config):
        for item in config.update:
            self.config[key_of(item)] = {"value": json.loads(item.value_json)}

    @property
    def last_step(self):
        return max((row.step.num for row in self.rows), default=-1)

    def execute_graphql(self, query, variables=None, **_):
        run = {
            "id": self.name,
            "name": self.name,
            "state": self.state,
            "config": json.dumps(self.config),
            "historyKeys": {"lastStep": self.last_step},
        }
        return {"project": {"run": run}}

    def send_api_request(self, request):
        from wandb.proto import wandb_api_pb2 as api

        scan = request.read_run_history_request
        response = api.ReadRunHistoryResponse()
        if scan.HasField("scan_run_history"):
            span = range(scan.scan_run_history.min_step, scan.scan_run_history.max_step)
            for row in self.rows:
                if row.step.num in span:
                    items = response.run_history.history_rows.add().history_items
                    for item in row.item:
                        items.add(key=key_of(item), value_json=item.value_json)
        else:
            response.scan_run_history_init.request_id = 1
        return api.ApiResponse(read_run_history_response=response)

    def finalize(self, obj, cleanup):
        return lambda: None


def synced(folder, state="finished"):
    """Return the offline runs in a folder, as `wandb.Api().runs(...)` returns runs."""
    from wandb.apis.public import Run

    runs = []
    for file in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
        files = Files(records_of(file), state)
        attributes = {"id": files.name, "name": files.name, "state": state}
        runs.append(Run(files, "me", "mine", files.name, attributes))
    return runs
