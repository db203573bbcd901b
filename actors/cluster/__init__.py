"""Many nodes, one server: who is a member, and which node holds what.

A node is one process with one `ActorSystem`. Each actor that the cluster places has a slot, and is
on the node that holds the slot. The rest of a node asks `place.py`; `rules/` decides, without
stores, clocks or tasks.
"""
