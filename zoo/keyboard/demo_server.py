"""A small server of static files, for a page that loads modules, wasm and models."""

from __future__ import annotations

import functools
import http.server
from pathlib import Path
from typing import Any

from ..errors import ZooError

# What a browser must be told; the tables of operating systems lack some and have others wrong.
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".wasm": "application/wasm",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".gz": "application/gzip",  # the page unpacks it; as an encoding of the transfer it would arrive unpacked
    ".md": "text/markdown; charset=utf-8",
}
HEADERS = {"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}


class Handler(http.server.SimpleHTTPRequestHandler):
    """Files of one folder with their types; no listings, no log of requests."""

    protocol_version = "HTTP/1.1"
    extensions_map = TYPES

    def end_headers(self) -> None:
        """The headers of every answer."""
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def list_directory(self, path: Any) -> None:
        """Nobody needs one."""
        self.send_error(404)

    def log_message(self, format: str, *arguments: Any) -> None:
        """What a person reads is no business of a log."""


def server_of(folder: Path, host: str, port: int) -> http.server.ThreadingHTTPServer:
    """A server of a folder that listens already; `serve_forever` runs it.

    Args:
        port: 0: any that is free.

    Raises:
        ZooError: the address cannot be had.
    """
    handler = functools.partial(Handler, directory=str(folder))
    try:
        return http.server.ThreadingHTTPServer((host, port), handler)
    except OSError as error:
        raise ZooError(f"cannot listen on {host}:{port} ({error.strerror}); give another --port, 0 for any") from error
