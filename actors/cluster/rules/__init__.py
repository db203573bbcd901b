"""The decisions of a cluster, as values and pure functions: no clocks, no stores, no tasks."""
