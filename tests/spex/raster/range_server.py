"""Serves a folder with byte ranges, as object stores do.

It is a process of its own, because GDAL holds the GIL while it waits.

``python range_server.py FOLDER`` prints its port.
"""

from __future__ import annotations

import http.server
import sys
from functools import partial
from pathlib import Path


class _Ranges(http.server.SimpleHTTPRequestHandler):
    def do_GET(self) -> None:
        file = Path(self.translate_path(self.path))
        if not file.is_file():
            self.send_error(404)
            return
        data = file.read_bytes()
        asked = self.headers.get("Range", "bytes=0-")
        start, _, end = asked.removeprefix("bytes=").partition("-")
        first, last = int(start), min(int(end or len(data)), len(data) - 1)
        self.send_response(206 if "Range" in self.headers else 200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
        self.send_header("Content-Length", str(last - first + 1))
        self.end_headers()
        self.wfile.write(data[first : last + 1])

    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(_Ranges, directory=sys.argv[1])
    ) as server:
        print(server.server_port, flush=True)
        server.serve_forever()
