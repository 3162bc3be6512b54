"""An engine whose vLLM is a page of standard library, with the processes of the real one."""

from pathlib import Path

import psutil

from jan import clock
from jan.runner import bundles, engines
from jan.runner.engines import Engine

ENTRY = r'''
import http.server, json, multiprocessing, os, socketserver, subprocess, sys, threading, time


def core(lock):
    own = multiprocessing.get_context("spawn").Lock()
    time.sleep(600)


class Server(http.server.BaseHTTPRequestHandler):
    """Chat completions tell by `system_fingerprint` which process made them. A request may say how
    long it takes: `pause_s` before each of `pieces`."""

    protocol_version = "HTTP/1.1"
    counting = threading.Lock()
    running = requests = tokens = 0

    def do_GET(self):
        if self.path != "/metrics":
            return self.send(json.dumps({"data": [{"id": self.model()}]}))
        lines = {"num_requests_running": self.running, "num_requests_waiting": 0,
                 "generation_tokens_total": self.tokens, "request_success_total": self.requests}
        text = "".join(f'vllm:{name}{{model_name="x"}} {float(value)}\n'
                       for name, value in lines.items())
        self.send(text)

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with self.counting:
            Server.running += 1
        try:
            self.chat(body)
        except OSError:
            self.close_connection = True
        finally:
            with self.counting:
                Server.running -= 1
                Server.requests += 1
                Server.tokens += body.get("pieces", 1)

    def chat(self, body):
        pieces, pause_s = body.get("pieces", 1), body.get("pause_s", 0)
        about = {"id": "chatcmpl-1", "created": 1, "model": self.model(),
                 "system_fingerprint": str(os.getpid())}
        usage = {"prompt_tokens": 1, "completion_tokens": pieces, "total_tokens": pieces + 1}
        if not body.get("stream"):
            time.sleep(pieces * pause_s)
            message = {"role": "assistant", "content": "x" * pieces}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            self.send(json.dumps({**about, "object": "chat.completion", "choices": [choice],
                                  "usage": usage}))
            return
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        about["object"] = "chat.completion.chunk"
        for number in range(pieces):
            time.sleep(pause_s)
            choice = {"index": 0, "delta": {"content": "x"}, "finish_reason": None}
            self.event(json.dumps({**about, "choices": [choice]}))
        choice["delta"], choice["finish_reason"] = {}, "stop"
        self.event(json.dumps({**about, "choices": [choice]}))
        self.event(json.dumps({**about, "choices": [], "usage": usage}))
        self.event("[DONE]")
        self.wfile.write(b"0\r\n\r\n")

    def event(self, text):
        data = f"data: {text}\n\n".encode()
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))

    def send(self, text):
        data = text.encode()
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(data)}"
        if self.request_version == "HTTP/1.0" or self.headers.get("connection") == "close":
            head, self.close_connection = head + "\r\nconnection: close", True
        self.wfile.write(head.encode() + b"\r\n\r\n" + data)

    def model(self):
        return sys.argv[sys.argv.index("--served-model-name") + 1]

    def log_message(self, *args):
        pass


class Unix(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads, request_queue_size = True, 1024


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
        server = Unix(path, Server, bind_and_activate=False)
        server.server_bind()
        while "--never-listen" in sys.argv:
            time.sleep(1)
        server.server_activate()
    else:
        port = int(sys.argv[sys.argv.index("--port") + 1])
        server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Server)
    server.serve_forever()
'''


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
