"""Where shards run. An engine is a function map(tasks, work) -> iterator of (index, result), in the order of the tasks."""
