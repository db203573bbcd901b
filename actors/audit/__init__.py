"""The audit log: what is written into it without being asked, how long it is kept, who reads it."""
