"""The actor runtime; `import actors` has its public names."""
