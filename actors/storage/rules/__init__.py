"""The decisions of storage, as pure functions and values without actors, stores or clocks."""
