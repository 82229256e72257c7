"""Started as root, the worker becomes somebody else before it serves anyone.

uWSGI's master stays root, as nginx's does: it serves no clients, and starts the
next worker. The code may stand where that somebody can't read (below /root, say),
so what is needed later is imported before, and reached through the current folder.
"""

from __future__ import annotations

import importlib
import logging
import os
import pwd
from pathlib import Path

from gevent import get_hub

from ..config import ConfigError

log = logging.getLogger("tickstorm.privileges")

NOBODY = "nobody"

LATE = (
    "concurrent.futures.thread",
    "encodings.idna",
    "numpy.ma",
    "numpy.random",
    "pprint",
    "sqlite3",
    "traceback",
)
"""What libraries import only when they first need it."""


def drop(run_as: str, data_dir: str) -> None:
    """Become `run_as`, or by default the owner of the current folder, or nobody.

    `data_dir` is made, and given to that user if it was ours. Raises ConfigError if
    `run_as` is unknown or can't write there; without `run_as`, the worker stays root
    then, and says so.
    """
    if os.geteuid() != 0:
        return
    user = _user(run_as)
    if user.pw_uid == 0:
        log.warning("running as root, as RUN_AS says")
        return
    _give(Path(data_dir), user)
    if not _can_write(data_dir, user):
        problem = f"{user.pw_name} cannot write to DATA_DIR={data_dir}"
        if run_as:
            raise ConfigError(f"RUN_AS={run_as} is not allowed: {problem}")
        log.warning("running as root, because %s; give it the folder, or set RUN_AS", problem)
        return
    for module in LATE:
        importlib.import_module(module)
    get_hub()  # imports what its configuration names
    groups = os.getgrouplist(user.pw_name, user.pw_gid)
    os.setgroups(groups)
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)
    log.info("running as %s", user.pw_name)


def _user(run_as: str) -> pwd.struct_passwd:
    owner = os.stat(".").st_uid
    try:
        return pwd.getpwuid(owner) if owner and not run_as else pwd.getpwnam(run_as or NOBODY)
    except KeyError:
        name = run_as or (owner if owner else NOBODY)
        raise ConfigError(f"RUN_AS={name} is not allowed: a user of this system") from None


def _give(folder: Path, user: pwd.struct_passwd) -> None:
    """A data folder that is new, empty or of an earlier run as root becomes the user's."""
    folder.mkdir(parents=True, exist_ok=True)
    # The keeper's, which starts beside the worker, is no sign of an earlier run.
    names = [path.name for path in folder.iterdir() if path.suffix != ".pid"]
    if folder.stat().st_uid != 0 or (names and "secret" not in names):
        return
    for path in [folder, *folder.rglob("*")]:
        if path.lstat().st_uid == 0:
            os.chown(path, user.pw_uid, user.pw_gid, follow_symlinks=False)


def _can_write(folder: str, user: pwd.struct_passwd) -> bool:
    os.setegid(user.pw_gid)
    os.seteuid(user.pw_uid)
    try:
        return os.access(folder, os.R_OK | os.W_OK | os.X_OK, effective_ids=True)
    finally:
        os.seteuid(0)
        os.setegid(0)
