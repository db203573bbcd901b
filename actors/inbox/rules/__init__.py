"""The decisions of inboxes, as pure functions and values without actors, stores or waiting."""
