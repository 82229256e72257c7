"""nginx, started by a test on servers of its own, in a folder of its own."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

NGINX = shutil.which("nginx", path="/usr/local/bin:/usr/bin:/usr/sbin")


def start_nginx(folder: Path, servers: str) -> subprocess.Popen[bytes]:
    """The process; `servers` are the blocks of its configuration."""
    assert NGINX is not None, "whoever calls has looked"
    places = "".join(
        f"{name}_temp_path {folder}/{name};\n"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"daemon off;\npid {folder}/pid;\nerror_log {folder}/error.log;\n"
        f"worker_processes 1;\nevents {{}}\nhttp {{\naccess_log off;\n{places}{servers}\n}}\n"
    )
    return subprocess.Popen(
        [NGINX, "-p", str(folder), "-c", str(folder / "nginx.conf")],
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
