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
    ".mjs": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".gz": "application/gzip",  # the page unpacks it; as an encoding of the transfer it would arrive unpacked
    ".md": "text/markdown; charset=utf-8",
}
HEADERS = {"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
ISOLATION = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}


class Handler(http.server.SimpleHTTPRequestHandler):
    """Files of one folder with their types; no listings, no log of requests."""

    protocol_version = "HTTP/1.1"
    extensions_map = TYPES

    def __init__(self, *arguments: Any, isolated: bool, **options: Any):
        self._isolated = isolated
        super().__init__(*arguments, **options)

    def end_headers(self) -> None:
        """The headers of every answer."""
        for name, value in {**HEADERS, **(ISOLATION if self._isolated else {})}.items():
            self.send_header(name, value)
        super().end_headers()

    def list_directory(self, path: Any) -> None:
        """Nobody needs one."""
        self.send_error(404)

    def log_message(self, format: str, *arguments: Any) -> None:
        """What a person reads is no business of a log."""


def server_of(folder: Path, host: str, port: int, isolated: bool = False) -> http.server.ThreadingHTTPServer:
    """A server of a folder that listens already; `serve_forever` runs it.

    Args:
        port: 0: any that is free.
        isolated: whether to send the headers with which wasm may use threads.

    Raises:
        ZooError: the address cannot be had.
    """
    handler = functools.partial(Handler, directory=str(folder), isolated=isolated)
    try:
        return http.server.ThreadingHTTPServer((host, port), handler)
    except OSError as error:
        raise ZooError(f"cannot listen on {host}:{port} ({error.strerror}); give another --port, 0 for any") from error
