"""A MariaDB server of the tests' own: on a Unix socket in a temporary folder, ended by its own process id.

Debian's package is installed if there is none.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import uuid
from pathlib import Path

from sqlalchemy import create_engine, text

from lab.asterisk import wait_until
from tests.stats.debian import install

PROGRAM = Path("/usr/sbin/mariadbd")
USER = "mysql"


class Server:
    """One server with its data."""

    def __init__(self) -> None:
        install("mariadb-server", PROGRAM.exists)
        self.folder = Path(tempfile.mkdtemp(prefix="pbxd-my-"))
        self.socket = self.folder / "socket"
        root = os.geteuid() == 0  # the server refuses root
        self.user = f"--user={USER}" if root else ""
        if root:
            shutil.chown(self.folder, USER, USER)
        make = ["mariadb-install-db", f"--datadir={self.folder}/data", "--auth-root-authentication-method=normal"]
        make += ["--skip-test-db", "--skip-name-resolve", *filter(None, [self.user])]
        subprocess.run(make, check=True, capture_output=True)
        small = ["--innodb-buffer-pool-size=16M", "--innodb-flush-log-at-trx-commit=0", "--skip-networking"]
        words = [str(PROGRAM), "--no-defaults", f"--datadir={self.folder}/data", f"--socket={self.socket}", *small]
        words += [f"--pid-file={self.folder}/pid", *filter(None, [self.user])]
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(words, stdout=log, stderr=log)
        wait_until(self.socket.exists, "MariaDB to answer")

    def stop(self) -> None:
        """Stop it and remove its data."""
        self.process.terminate()
        self.process.wait(60)
        shutil.rmtree(self.folder)

    def database(self) -> str:
        """The URL of a new, empty database."""
        name = f"t{uuid.uuid4().hex}"
        engine = create_engine(f"mysql+pymysql://root@localhost/?unix_socket={self.socket}")
        with engine.begin() as connection:
            connection.execute(text(f"CREATE DATABASE {name} CHARACTER SET utf8mb4"))
        engine.dispose()
        return f"mysql://root@localhost/{name}?unix_socket={self.socket}"
