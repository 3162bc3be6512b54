"""An engine whose vLLM is a page of standard library, with the processes of the real one."""

from pathlib import Path

import psutil

from jan import clock
from jan.runner import bundles, engines
from jan.runner.engines import Engine

ENTRY = """
import http.server, json, multiprocessing, os, socketserver, subprocess, sys, threading, time


def core(lock):
    own = multiprocessing.get_context("spawn").Lock()
    time.sleep(600)


class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        name = sys.argv[sys.argv.index("--served-model-name") + 1]
        self.wfile.write(json.dumps({"data": [{"id": name}]}).encode())

    def log_message(self, *args):
        pass


def main():
    print("INFO [model.py] Resolved architecture: Fake", flush=True)
    if "--load-until" in sys.argv:
        print("Loading safetensors checkpoint shards:  50% Completed | 1/2", flush=True)
        while not os.path.exists(sys.argv[sys.argv.index("--load-until") + 1]):
            time.sleep(0.05)
    if "--bogus" in sys.argv:
        import argparse
        argparse.ArgumentParser().parse_args(["--bogus"])
    breaks_while = "--break-while" in sys.argv and sys.argv[sys.argv.index("--break-while") + 1]
    if "--break" in sys.argv or (breaks_while and os.path.exists(breaks_while)):
        raise RuntimeError("the weights are upside down")
    if "--hang" in sys.argv:
        time.sleep(600)
    spawning = multiprocessing.get_context("spawn")
    lock = spawning.Lock()
    worker = spawning.Process(target=core, args=[lock], daemon=True)
    worker.start()
    if "--escape" in sys.argv:
        subprocess.Popen(["sleep", "600"], start_new_session=True)

    def watch():
        worker.join()
        print("ERROR EngineCore died", flush=True)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    if "--uds" in sys.argv:
        path = sys.argv[sys.argv.index("--uds") + 1]
        server = socketserver.UnixStreamServer(path, Health, bind_and_activate=False)
        server.server_bind()
        while "--never-listen" in sys.argv:
            time.sleep(1)
        server.server_activate()
    else:
        port = int(sys.argv[sys.argv.index("--port") + 1])
        server = http.server.HTTPServer(("127.0.0.1", port), Health)
    server.serve_forever()
"""


def write(home: Path) -> Engine:
    """Put it where the real CPU engine would be."""
    bundle = bundles.find("cpu")
    folder = engines.folder_of(home) / bundle.name
    server = folder / "vllm" / "entrypoints" / "launchers" / "api_server"
    server.mkdir(parents=True)
    (server / "entry.py").write_text(ENTRY)
    engine = Engine(
        variant="cpu",
        version=bundle.version,
        python=bundle.python,
        interpreter=Path("/nowhere/python"),
        lock_sha256=bundle.lock_sha256,
        installed_at=clock.now(),
        size_bytes=1,
        folder=folder,
    )
    engine.write()
    return engine


def family(pid: int) -> list[psutil.Process]:
    """All that live below a process, and the process itself as the first."""
    parent = psutil.Process(pid)
    return [parent, *parent.children(recursive=True)]
