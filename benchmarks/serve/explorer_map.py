"""The explorer's map with very many points, in a headless browser: time to the first drawing, frames, finding a point.

    .venv/bin/python benchmarks/serve/explorer_map.py --points 1000000 [--all]

Points are drawn from 40 clusters, with a category of 12 values to color by, and come over loopback as the service
sends them. Without a graphics card the browser draws by SwiftShader, on the CPU, and the page draws a part of them,
or with `--all` every one: a lower bound of what people see.
Prints one line of JSON.
"""

import argparse
import contextlib
import io
import json
import os
import platform
import shutil
import statistics
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.ipc as ipc
from playwright.sync_api import Page, sync_playwright

STATIC = Path(__file__).parents[2] / "src" / "omnisage" / "serve" / "static"
TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
FLAGS = ["--no-sandbox", "--disable-background-networking", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
MOVE_S = 20.0
NUM_LOOKUPS = 12

# Notes when points were drawn, and how many.
COUNT_DRAWS = """
window.draws = []
const draw = WebGL2RenderingContext.prototype.drawArraysInstanced
WebGL2RenderingContext.prototype.drawArraysInstanced = function (mode, first, count, instances) {
  if (instances > 1000) window.draws.push({at: performance.now(), points: instances})
  return draw.call(this, mode, first, count, instances)
}
"""

# In and out again, a step at each frame that the browser offers.
ZOOM = """([clientX, clientY, length_ms]) => new Promise(done => {
  window.draws.length = 0
  const [canvas, begin] = [document.querySelector('.surface canvas'), performance.now()]
  const step = () => {
    const passed = performance.now() - begin
    if (passed > length_ms) return done()
    const deltaY = passed < length_ms / 2 ? -40 : 40
    canvas.dispatchEvent(new WheelEvent('wheel', {deltaY, clientX, clientY, bubbles: true, cancelable: true}))
    requestAnimationFrame(step)
  }
  step()
})"""


def points_stream(num_points: int) -> bytes:
    """An Arrow stream as `/v1/map` sends it."""
    random = np.random.default_rng(0)
    cluster = random.integers(0, 40, num_points)
    centers = random.normal(scale=10, size=(40, 2))
    xy = (centers[cluster] + random.normal(size=(num_points, 2))).astype(np.float32)
    kinds = pa.DictionaryArray.from_arrays(pa.array((cluster % 12).astype(np.int32)), [f"kind {i}" for i in range(12)])
    rows = np.arange(num_points, dtype=np.uint32)
    batch = pa.record_batch({"x": xy[:, 0], "y": xy[:, 1], "row": rows, "kind": kinds})
    out = io.BytesIO()
    with ipc.new_stream(out, batch.schema) as writer:
        writer.write_batch(batch)
    return out.getvalue()


def make_service(num_points: int) -> ThreadingHTTPServer:
    """The page, and as much of the service as the map asks."""
    stream = points_stream(num_points)
    kind = {"name": "thing", "entities": num_points, "columns": [{"name": "kind", "kind": "category"}]}
    info = {"name": "generated", "version": "", "embeddings": "", "dim": 2, "types": [kind], "sequences": []}
    info |= {"explains": False, "map": ["thing"]}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            row = parse_qs(url.query).get("row", ["0"])[0]
            if url.path == "/v1/map":
                return self.answer(stream, "application/vnd.apache.arrow.stream")
            if url.path == "/v1/info":
                return self.answer(json.dumps(info).encode(), "application/json")
            if url.path == "/v1/entity":
                entity = {"type": "thing", "id": row, "row": int(row), "name": f"thing {row}", "columns": {}}
                return self.answer(json.dumps(entity | {"image": None, "degree": {}}).encode(), "application/json")
            file = STATIC / (url.path.lstrip("/") or "index.html")
            return self.answer(file.read_bytes(), TYPES[file.suffix])

        def answer(self, body: bytes, content_type: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return ThreadingHTTPServer(("127.0.0.1", 0), Handler)


def measure(page: Page, address: str, *, all_points: bool) -> dict[str, Any]:
    """Open the map, zoom it for a while, look points up."""
    page.add_init_script(COUNT_DRAWS)
    page.goto(f"{address}/#/map?type=thing&color=kind{'&all=yes' if all_points else ''}")
    page.wait_for_function("window.draws.length > 0", timeout=120_000)
    first_s, num_first = page.evaluate("[window.draws[0].at / 1000, window.draws[0].points]")
    arrived_s = page.evaluate("performance.getEntriesByType('resource').find(e => /v1.map/.test(e.name)).responseEnd")
    box = page.locator(".surface").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    lookups = [_look_up(page, x + 7 * i, y + 3 * i) for i in range(NUM_LOOKUPS)]
    cpu_s, begin = browser_cpu_s(), time.perf_counter()
    page.evaluate(ZOOM, [x, y, 1000 * MOVE_S])
    draws = page.evaluate("window.draws.map(({points}) => points)")
    num_frames = len(draws)
    return {
        "points_at_rest": num_first,
        "first_drawing_s": round(first_s, 2),
        "of_that_after_the_points_arrived_s": round(first_s - arrived_s / 1000, 2),
        "frames_per_s_while_zooming": round(num_frames / (time.perf_counter() - begin), 2),
        "cpu_s_per_frame": round((browser_cpu_s() - cpu_s) / max(num_frames, 1), 3),
        "points_in_motion": round(statistics.median(draws)),
        "first_name_under_the_pointer_ms": round(lookups[0]),
        "later_names_ms": round(statistics.median(lookups[1:])),
    }


def _look_up(page: Page, x: float, y: float) -> float:
    """Milliseconds from a move of the pointer to the name beside it; the first builds the tree of points."""
    begin = time.perf_counter()
    page.mouse.move(x, y)
    page.locator(".hint").wait_for()
    passed_s = time.perf_counter() - begin
    page.mouse.move(5, 5)
    page.locator(".hint").wait_for(state="detached")
    return 1000 * passed_s


def browser_cpu_s() -> float:
    """CPU seconds of all processes under this one so far: on a busy machine they say more than the clock."""
    stats = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            stats[int(folder.name)] = (int(fields[1]), int(fields[11]) + int(fields[12]))
    under = {os.getpid()}
    while more := {pid for pid, (parent, _) in stats.items() if parent in under} - under:
        under |= more
    return sum(stats[pid][1] for pid in under - {os.getpid()}) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=1_000_000)
    parser.add_argument("--all", action="store_true", help="draw all points also without a graphics card")
    arguments = parser.parse_args()
    server = make_service(arguments.points)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    path = os.environ.get("CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 860})
        found = measure(page, f"http://127.0.0.1:{server.server_port}", all_points=arguments.all)
        renderer = page.evaluate(
            "(gl => gl.getParameter(gl.getExtension('WEBGL_debug_renderer_info').UNMASKED_RENDERER_WEBGL))"
            "(document.createElement('canvas').getContext('webgl2'))"
        )
        page.screenshot(path=Path(__file__).parents[2] / "build" / "explorer_map.png")
        found |= {"points": arguments.points, "renderer": renderer, "browser": browser.version}
        browser.close()
    server.shutdown()
    load = round(os.getloadavg()[0], 1)
    print(json.dumps(found | {"machine": platform.machine(), "cpus": os.cpu_count(), "load": load}))


if __name__ == "__main__":
    main()
