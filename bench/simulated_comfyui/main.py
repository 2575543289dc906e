"""Answers as ComfyUI does, and takes a fixed time for each prompt: what is left is the driver's.

Started as ComfyUI is (`main.py --port ...`), with `--seconds` that each prompt takes. Of what a
workflow holds nothing is looked at: every prompt gives the same picture, of noise.
"""

import argparse
import io
import json
import queue
import sys
import threading
import time
import uuid
from collections import OrderedDict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
from PIL import Image

SIZE = (512, 256)
HISTORY = 100
NODES = {
    "LoadImage": {"input": {"required": {"image": [["none.png"], {"image_upload": True}]}}},
    "KSampler": {"input": {"required": {"seed": ["INT", {}]}}},
    "SaveImage": {"input": {"required": {}}},
}


class Host:
    """The queue and the history, and a thread that works on them."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        noise = np.random.default_rng(0).integers(0, 256, (SIZE[1], SIZE[0], 3), np.uint8)
        file = io.BytesIO()
        Image.fromarray(noise).save(file, "PNG")
        self.picture = file.getvalue()
        self.waiting: OrderedDict[str, list] = OrderedDict()
        self.running: dict[str, list] = {}
        self._came: dict[str, float] = {}
        self.history: OrderedDict[str, dict] = OrderedDict()
        self._lock = threading.Lock()
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()
        threading.Thread(target=self._work, daemon=True).start()

    def submit(self, body: dict) -> str:
        prompt_id = uuid.uuid4().hex
        with self._lock:
            self.waiting[prompt_id] = [0, prompt_id, body["prompt"], body.get("extra_data", {})]
            self._came[prompt_id] = time.monotonic()
        self._wake.put(None)
        return prompt_id

    def queued(self) -> dict:
        with self._lock:
            return {
                "queue_running": list(self.running.values()),
                "queue_pending": list(self.waiting.values()),
            }

    def delete(self, ids: list[str]) -> None:
        with self._lock:
            for prompt_id in ids:
                self.waiting.pop(prompt_id, None)

    def _work(self) -> None:
        free_at = 0.0
        while True:
            self._wake.get()
            with self._lock:
                if not self.waiting:
                    continue
                prompt_id, item = self.waiting.popitem(last=False)
                self.running[prompt_id] = item
            # By the clock, so that this process's own slowness is not counted as anyone's.
            free_at = max(free_at, self._came.pop(prompt_id)) + self._seconds
            time.sleep(max(0.0, free_at - time.monotonic()))
            output = next(i for i, n in item[2].items() if n["class_type"] == "SaveImage")
            image = {"filename": "picture.png", "subfolder": "", "type": "output"}
            with self._lock:
                del self.running[prompt_id]
                self.history[prompt_id] = {
                    "prompt": item,
                    "outputs": {output: {"images": [image]}},
                    "status": {"status_str": "success", "messages": []},
                }
                while len(self.history) > HISTORY:
                    self.history.popitem(last=False)


class Handler(BaseHTTPRequestHandler):
    """The paths that `ComfyClient` asks."""

    host: Host

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        path, _, _query = self.path.partition("?")
        if path == "/view":
            self._answer(self.host.picture, "image/png")
        elif path == "/system_stats":
            self._json({"system": {"argv": sys.argv}, "devices": [{"name": "none"}]})
        elif path == "/object_info":
            self._json(NODES)
        elif path == "/queue":
            self._json(self.host.queued())
        elif path.startswith("/history/"):
            prompt_id = path.rpartition("/")[2]
            entry = self.host.history.get(prompt_id)
            self._json({prompt_id: entry} if entry else {})
        elif path == "/history":
            self._json({})
        else:
            self.send_error(404)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/upload/image":
            name = body.partition(b'filename="')[2].partition(b'"')[0].decode()
            self._json({"name": name, "subfolder": "", "type": "input"})
        elif self.path == "/prompt":
            self._json({"prompt_id": self.host.submit(json.loads(body))})
        elif self.path == "/queue":
            self.host.delete(json.loads(body).get("delete", []))
            self._json({})
        else:
            self._json({})

    def _json(self, data: object) -> None:
        self._answer(json.dumps(data).encode(), "application/json")

    def _answer(self, data: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int)
    parser.add_argument("--seconds", type=float, default=1.0)
    args, _ = parser.parse_known_args()
    Handler.host = Host(args.seconds)
    ThreadingHTTPServer(("127.0.0.1", args.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
