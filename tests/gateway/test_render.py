"""Errors that nobody foresaw: what a client is told of them, and what a log."""

import json
import subprocess
import sys

SCRIPT = """
import sys
from jan import telemetry
from jan.gateway import render
telemetry.configure("json", "info")
try:
    {}["my-private-prompt"]
except KeyError as error:
    exchange = telemetry.Exchange("req_1", "POST", "/v1/chat/completions")
    status, _, body = render.answer(error, exchange)
print(status, body.decode())
"""


def test_a_bug_is_told_by_its_place_and_the_requests_id() -> None:
    run = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)

    line = json.loads(run.stderr)
    assert (line["event"], line["request_id"]) == ("unexpected error", "req_1")
    assert (line["error_type"], line["raised_at"]) == ("KeyError", "<string>:7")
    assert "private" not in run.stdout + run.stderr
    assert run.stdout.startswith("500 ")
    assert '"code":"internal_error"' in run.stdout
