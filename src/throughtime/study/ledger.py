"""The ledger: every run once, by the hash of its specification, in a database that outlives us."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import time
from collections.abc import Iterable
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import IntegrityError, ProgrammingError, SQLAlchemyError

from throughtime.errors import LedgerError
from throughtime.study.records import Record

_tables = sa.MetaData()
_runs = sa.Table(
    "runs",
    _tables,
    sa.Column("key", sa.String(64), primary_key=True),
    sa.Column("plan", sa.String(64), nullable=False, index=True),
    sa.Column("record", sa.Text, nullable=False),
    sa.Column("finished", sa.Float, nullable=False),
)
_claims = sa.Table(
    "claims",
    _tables,
    sa.Column("key", sa.String(64), primary_key=True),
    sa.Column("owner", sa.String(200), nullable=False),
    sa.Column("expires", sa.Float, nullable=False),
)
_events = sa.Table(
    "events",
    _tables,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("plan", sa.String(64), nullable=False, index=True),
    sa.Column("event", sa.String(100), nullable=False),
    sa.Column("fields", sa.Text, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
)


class Ledger:
    """Records of finished runs, claims on runs in flight, and what else happened to a study.

    A run is claimed before it starts, so that two processes never do the same one; the claim of a
    process that died is free again at once on the same machine, elsewhere when its lease ends.

    Args:
        address: a path (SQLite, write-ahead log) or a database URL of SQLAlchemy.

    Raises:
        LedgerError: the file is there but is no ledger, or the database cannot be reached.

    Example:
        >>> ledger = Ledger(":memory:")
        >>> ledger.claim("abc", lease=60), ledger.claim("abc", lease=60)
        (True, False)
    """

    def __init__(self, address: str | Path):
        self.address = str(address)
        url = self.address if "://" in self.address else f"sqlite:///{self.address}"
        if url.startswith("sqlite") and url.endswith(":memory:"):
            self._engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
        else:
            self._engine = sa.create_engine(url)
        if self._engine.dialect.name == "sqlite":
            event.listen(self._engine, "connect", _write_ahead)
        self._owner = f"{socket.gethostname()}:{os.getpid()}:{_started(os.getpid())}"
        try:
            self._make_tables()
        except SQLAlchemyError as failure:
            shown = self.address
            if "://" in shown:
                shown = sa.make_url(shown).render_as_string(hide_password=True)
            reason = str(getattr(failure, "orig", failure))
            raise LedgerError("ledger.unreadable", address=shown, reason=reason) from failure

    def claim(self, key: str, *, lease: float) -> bool:
        """Take a run for ``lease`` seconds; False where another process has it or it is done."""
        now = time.time()
        mine = sa.insert(_claims).values(key=key, owner=self._owner, expires=now + lease)
        with self._writing() as db:
            held = db.execute(sa.select(_claims).where(_claims.c.key == key)).first()
            if held:
                if held.expires > now and _alive(held.owner):
                    return False
                # this claim alone: another process may have put its own there since
                seen = _claims.c.owner == held.owner, _claims.c.expires == held.expires
                db.execute(sa.delete(_claims).where(_claims.c.key == key, *seen))
            try:
                db.execute(mine)
                # asked last: who finishes a run gives its claim back in the same act
                taken = not _there(db, key)
            except IntegrityError:  # another process was quicker by a moment
                taken = False
            if not taken:
                db.rollback()
        return taken

    def release(self, key: str) -> None:
        """Give a claimed run back unfinished."""
        with self._writing() as db:
            db.execute(
                sa.delete(_claims).where(_claims.c.key == key, _claims.c.owner == self._owner)
            )

    def enter(self, plan: str, record: Record) -> bool:
        """Write a finished run if its key is absent; False where it was there already."""
        text = json.dumps(_finite(asdict(record)), sort_keys=True, allow_nan=False)
        run = {"key": record.key, "plan": plan, "record": text, "finished": time.time()}
        with self._writing() as db:
            there = _there(db, record.key)
            if not there:
                try:
                    with db.begin_nested():
                        db.execute(sa.insert(_runs).values(run))
                except IntegrityError:
                    there = True
            db.execute(sa.delete(_claims).where(_claims.c.key == record.key))
        return not there

    def records(self, plan: str) -> list[Record]:
        """All finished runs of a plan, by key."""
        with self._engine.connect() as db:
            query = sa.select(_runs.c.record).where(_runs.c.plan == plan).order_by(_runs.c.key)
            return [_record(row.record) for row in db.execute(query)]

    def missing(self, keys: Iterable[str]) -> list[str]:
        """Those of ``keys`` that no record stands for yet, in the order given."""
        keys = list(keys)
        with self._engine.connect() as db:
            done = set()
            for start in range(0, len(keys), 500):
                some = keys[start : start + 500]
                done |= set(
                    db.execute(sa.select(_runs.c.key).where(_runs.c.key.in_(some))).scalars()
                )
        return [key for key in keys if key not in done]

    def note(self, plan: str, happened: str, **fields: object) -> None:
        """Write down that something happened, such as the opening of the test block."""
        with self._writing() as db:
            db.execute(
                sa.insert(_events).values(
                    plan=plan, event=happened, fields=json.dumps(fields), at=time.time()
                )
            )

    def events(self, plan: str) -> list[tuple[str, dict]]:
        """What was noted of a plan, oldest first."""
        with self._engine.connect() as db:
            rows = db.execute(
                sa.select(_events.c.event, _events.c.fields)
                .where(_events.c.plan == plan)
                .order_by(_events.c.number)
            )
            return [(row.event, json.loads(row.fields)) for row in rows]

    def close(self) -> None:
        """Let go of the database; nothing is lost."""
        self._engine.dispose()

    def _make_tables(self) -> None:
        """Make the tables that are missing; another process may be making them at this moment."""
        try:
            with self._writing() as db:
                _tables.create_all(db)
        except (IntegrityError, ProgrammingError):
            with self._writing() as db:
                _tables.create_all(db)

    @contextmanager
    def _writing(self):
        with self._engine.connect() as db:
            if self._engine.dialect.name == "sqlite":
                # the lock is taken before the first read, so that look-then-write is one act
                db.exec_driver_sql("BEGIN IMMEDIATE")
            yield db
            db.commit()


def _write_ahead(connection, _record) -> None:
    connection.isolation_level = None
    connection.execute("PRAGMA busy_timeout=30000")
    deadline = time.monotonic() + 30
    while True:  # SQLite does not wait for this lock by itself
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as failure:
            if failure.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _there(db: sa.Connection, key: str) -> bool:
    return db.execute(sa.select(_runs.c.key).where(_runs.c.key == key)).first() is not None


def _record(text: str) -> Record:
    fields = json.loads(text)
    for curve in ("validation_curve", "train_curve"):
        fields[curve] = tuple(float("nan") if v is None else v for v in fields[curve])
    return Record(**fields)


def _finite(value):
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else None
    if isinstance(value, dict):
        return {key: _finite(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    return value


def _alive(owner: str) -> bool:
    host, pid, started = owner.split(":")
    return host != socket.gethostname() or _started(int(pid)) == started


def _started(pid: int) -> str:
    """When a process of this machine started, in clock ticks; empty where it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        pass
    try:
        os.kill(pid, 0)
    except OSError:
        return ""
    return "0"
