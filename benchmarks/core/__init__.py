"""What the benchmarks share: the comparison, the application in a process of its own, the probes, the BM25 baseline."""
