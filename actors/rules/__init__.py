"""Pure rules: values and objects without event loop, clock, socket or store."""
