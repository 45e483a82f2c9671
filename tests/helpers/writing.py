"""A process that writes a sweep in object storage. It takes one order a line, and may
stop itself before it writes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from recorded_data import recorded_data
from waiting import wait_until

from mnist_tune import TrialConfig, UserError, object_storage
from mnist_tune.epoch_row import EpochRow
from mnist_tune.judged import judge
from mnist_tune.results import folder, remote
from mnist_tune.results.folder import fetched
from mnist_tune.results.writer import SweepWriter

META = {
    "name": "lr_regimes",
    "trials": {"00000": TrialConfig(learning_rate=0.1, epochs=1000).to_dict()},
    "dataset": recorded_data("mnist-5k"),
    "ended": None,
}


class Writer:
    """What the process does."""

    def __init__(self):
        remote.INTERVAL_S = 0.01
        remote.SIGN_S = 0.05
        remote.PATIENCE_S = 5.0
        remote.SEGMENT_BYTES = 1000
        folder.SEGMENT_BYTES = 1000
        self.before = None

    def new(self, uri):
        self.writer = SweepWriter(uri, dict(META), judge)
        return "begun"

    def resume(self, uri):
        meta = json.loads((fetched(uri) / "sweep.json").read_bytes())
        self.writer = SweepWriter(uri, meta, judge, resume=True)
        return "begun"

    def write(self, row, stop_before, ends):
        """Record rows until another process has taken over, and stop before a file of
        this name is written, if any."""
        self.before = stop_before
        for epoch in range(1, 1000):
            values = row | {"epoch": epoch, "step": epoch}
            self.writer.epoch("00000", EpochRow.of(values), False)
            if stop_before:
                self.writer.update_options(epochs=epoch)
            if ends and epoch == 20:
                self.writer.finish(ended="now")
            time.sleep(0.005)
        return "nobody came"

    def add(self, row, epoch):
        values = row | {"epoch": epoch, "step": epoch}
        self.writer.epoch("00000", EpochRow.of(values), False)
        return "added"

    def finish(self):
        self.writer.finish(ended="now")
        return "finished"

    def put(self, where, *arguments, send=object_storage.write_over):
        if self.before and self.before in where:
            self.before = None
            os.kill(os.getpid(), signal.SIGSTOP)
        return send(where, *arguments)


def main():
    writer = Writer()
    object_storage.write_over = writer.put
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        try:
            answer = getattr(writer, name)(*arguments)
        except UserError as error:
            answer = f"refused: {error}"
        print(json.dumps(answer), flush=True)


class Process:
    """Such a process, which pretends to be a machine of its own."""

    def __init__(self, cache, keys):
        environment = os.environ | keys | {"MNIST_TUNE_CACHE": str(cache)}
        command = [sys.executable, __file__]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self._process = subprocess.Popen(command, env=environment, text=True, **pipes)

    def order(self, *order):
        print(json.dumps(order), file=self._process.stdin, flush=True)

    def answer(self):
        line = self._process.stdout.readline()
        assert line, "the process has died"
        return json.loads(line)

    def does(self, *order):
        self.order(*order)
        return self.answer()

    def send(self, number):
        self._process.send_signal(number)

    def wait_until_it_stopped(self):
        stat = Path(f"/proc/{self._process.pid}/stat")

        def has_stopped():
            _, _, fields = stat.read_text().rpartition(")")
            return fields.split()[0] == "T"

        wait_until(has_stopped, "it does not stop", every=0.01)

    def end(self):
        self._process.kill()
        self._process.communicate()


if __name__ == "__main__":
    main()
