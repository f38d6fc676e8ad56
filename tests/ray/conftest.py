"""A real cluster of two nodes with one CPU each, and a runner on it; started once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks.core.cluster import Cluster, ray_cluster
from tests.ray import fakes
from tutor.runners.ray_cluster import RayRunner


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The cluster."""
    with ray_cluster(nodes=2) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def runner(cluster: Cluster) -> Iterator[RayRunner]:
    """A runner of experiments and fakes: the one connection of this process."""
    runner = RayRunner(cluster.address, fakes.frames)
    yield runner
    runner.close()
