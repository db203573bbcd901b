"""What one process runs: configuration, the stages of start and drain, logs, metrics, signals."""
