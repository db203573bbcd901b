"""The actor runtime. Its public names are those of `import actors`."""
