"""Many nodes, one server: who is a member, and which node holds what.

A node is one process with one `ActorSystem`. What is placed by the cluster is placed by its slot.
`place.py` is what the rest of a node asks; `rules/` decides, without stores, clocks or tasks.
"""
