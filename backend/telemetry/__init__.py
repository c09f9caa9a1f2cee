"""What a worker tells of itself: logs, metrics, traces, slow statements. Nothing of it holds what people wrote."""
