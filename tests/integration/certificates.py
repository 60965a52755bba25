"""Certificates that a test signs itself."""

from __future__ import annotations

import subprocess
from pathlib import Path


def self_signed(folder: Path) -> tuple[Path, Path]:
    """A certificate for localhost, and the same with its key in one file."""
    key, certificate, store = (folder / name for name in ("key.pem", "certificate.pem", "store.pem"))
    request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    subprocess.run(
        [
            *request,
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost",
            "-keyout",
            key,
            "-out",
            certificate,
        ],
        check=True,
        capture_output=True,
    )
    store.write_bytes(key.read_bytes() + certificate.read_bytes())
    return certificate, store
