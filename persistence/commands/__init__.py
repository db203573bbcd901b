"""Commands: facts that several entities share, changed in PostgreSQL transactions.

A command is a frozen Struct, and a function of (transaction, command) that returns an answer or
refuses. `CommandKind` says which belongs to which; `CommandWorker`s, threads with a connection
each, run many of them in one commit. A worker is asked with an `Execute`.

What the frame promises:

- An answer means committed and durable. A refusal means that nothing of the command was written.
- A command with a `key` acts once for its (service, user, key), over retries and restarts; a retry
  gets the first answer, and a key that comes with another command raises `KeyReused`.
- What failed in passing (a deadlock, a lost connection) is done again, at most until the deadline
  of its asker. Whether a commit whose answer was lost took place is asked of PostgreSQL.
- What nobody waits for any more does not begin.

How to write one that is right, and fast (bench/wallets.py is an example):

- Name in `CommandKind.locks` what it changes, lock rows in one order, insert a row that may be
  missing before it is locked.
- Refuse before the first write. A refusal after it is as safe, but the batch is done again, with a
  savepoint for each command.
- Look only at what is needed of what `Transaction.write` returns: the rest is not waited for.
- For thousands a second: `run_all`, with the whole batch as arrays (`TextArray`) in one statement.
"""

from persistence.commands.kinds import CommandKind, CommandTable
from persistence.commands.requests import Done, Execute
from persistence.commands.transaction import Pushed, Rows, Transaction
from persistence.commands.worker import CommandWorker
from persistence.postgres.arrays import ByteaArray, Int8Array, TextArray

__all__ = [
    "ByteaArray",
    "CommandKind",
    "CommandTable",
    "CommandWorker",
    "Done",
    "Execute",
    "Int8Array",
    "Pushed",
    "Rows",
    "TextArray",
    "Transaction",
]
