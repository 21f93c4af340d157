"""Small changes that make a model err, each bounded in image space; `auditor.attack` is `run.attack`."""
