# SPDX-License-Identifier: Apache-2.0
"""A running `plimsoll serve`, and how to ask it. Ports are chosen by the system; nothing outlives a test."""
import http.client
import json
import signal
import subprocess
import threading

from support import BINARY, environment


class Daemon:
    """`plimsoll serve` as a process. Its line "listening" names the port; all its lines are kept in `events`."""

    def __init__(self, home, *flags, listen="127.0.0.1:0", **env):
        self.process = subprocess.Popen([BINARY, "serve", "--listen", listen, "--log-format", "json", *map(str, flags)],
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=home, env=environment(home, **env))
        self.events = []
        while not self.events or self.events[-1]["event"] != "listening":
            line = self.process.stdout.readline()
            if not line:
                error = self.process.stderr.read()
                self.stop()
                raise RuntimeError("the daemon did not start: " + error)
            self.events.append(json.loads(line))
        self.start = self.events[-1]
        self.port = self.start["port"]
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.events.append(json.loads(line))

    def ask(self, method, path, body=None, headers=None, timeout=30):
        """(status, headers, bytes); `body` is JSON unless it is bytes."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            sent = dict(headers or {})
            if body is not None and not isinstance(body, bytes):
                body = json.dumps(body).encode()
                sent.setdefault("Content-Type", "application/json")
            connection.request(method, path, body, sent)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    def get(self, path, **options):
        status, _, body = self.ask("GET", path, **options)
        return status, json.loads(body)

    def post(self, path, body, **options):
        status, _, answer = self.ask("POST", path, body, **options)
        return status, json.loads(answer)

    def stream(self, headers=None, timeout=60):
        """Events of the stream as (id, type, data), until the caller stops asking."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        connection.request("GET", "/api/events", headers=headers or {})
        answer = connection.getresponse()
        fields = {}
        try:
            while True:
                line = answer.readline()
                if not line:
                    return
                line = line.decode().rstrip("\n")
                if line:
                    name, _, value = line.partition(":")
                    fields[name] = value.strip()
                elif "data" in fields:
                    yield fields.get("id"), fields.get("event"), json.loads(fields["data"])
                    fields = {}
        finally:
            connection.close()

    def wait_for_job(self, job_id):
        """The job once it has ended, told by the stream."""
        status, job = self.get(f"/api/jobs/{job_id}")
        assert status == 200, job
        if job["endedMs"] is not None:
            return job
        for _, event, data in self.stream():
            if event == "job" and data["jobId"] == job_id and data["endedMs"] is not None:
                return data
        raise AssertionError("the stream ended before the job did")

    def stop(self, sent=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(sent)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if hasattr(self, "reader"):
            self.reader.join()
        self.process.stdout.close()
        self.process.stderr.close()
        return self.process.returncode
