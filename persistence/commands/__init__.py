"""Commands change facts that several entities share, in PostgreSQL transactions.

A command is a frozen Struct and a function of (transaction, command) that returns an answer or
raises a refusal; a `CommandKind` joins the two. `CommandWorker`s are threads with a connection
each, which run many commands in one transaction. A worker is asked with an `Execute`.

The promises:

- An answer means that the command is committed and durable. A refusal means that nothing of it was
  written.
- A command with a `key` acts once for its (service, user, key), whatever the number of retries and
  restarts. A retry gets the first answer. The same key with another command raises `KeyReused`.
- Transient failures (a deadlock, a lost connection) are retried until the asker's deadline at most.
  If the answer to a commit is lost, PostgreSQL is asked whether the commit took place.
- A command whose deadline has passed does not begin.

How to write a command that is correct and fast (bench/wallets.py is an example):

- Name what it changes in `CommandKind.locks`. Lock rows in the same order in all commands. Insert a
  row that may be missing before you lock it.
- Refuse before the first write. A later refusal is safe as well, but then the whole batch is done
  again with a savepoint for each command.
- `Transaction.record` writes an entry of the audit log with what it tells of.
- Read the rows that `Transaction.write` returns only if you need them: other statements are not
  waited for.
- For thousands of commands a second, write a `run_all` that passes the whole batch as arrays
  (`TextArray`) to one statement.
"""

from persistence.commands.kinds import CommandKind, CommandTable
from persistence.commands.recording import RECORD, RecordEntries
from persistence.commands.requests import Done, Execute
from persistence.commands.transaction import Pushed, Rows, Transaction
from persistence.commands.worker import CommandWorker
from persistence.postgres.arrays import ByteaArray, Int8Array, TextArray

__all__ = [
    "RECORD",
    "ByteaArray",
    "CommandKind",
    "CommandTable",
    "CommandWorker",
    "Done",
    "Execute",
    "Int8Array",
    "Pushed",
    "RecordEntries",
    "Rows",
    "TextArray",
    "Transaction",
]
