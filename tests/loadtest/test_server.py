from pathlib import Path

import pytest

from loadtest.errors import StoreMismatchError, UnknownModelError, UnreachableError
from loadtest.server import Server
from loadtest.store import Store
from tests.loadtest.conftest import StubServer
from tests.loadtest.made_up_store import SCORES


def test_nothing_answers() -> None:
    with pytest.raises(UnreachableError, match="start the server"):
        Server("http://127.0.0.1:9").wait_ready()


def test_the_server_must_have_the_stores_model(stub_server: StubServer, store: Path) -> None:
    server = Server(stub_server(model="other"))
    server.wait_ready()
    with pytest.raises(UnknownModelError, match="--model"):
        server.check_model(Store(str(store), "fraud").model)


def test_a_variant_must_be_served_with_its_recorded_scores(
    stub_server: StubServer, store: Path
) -> None:
    opened = Store(str(store), "fraud")
    samples, manifests = opened.samples(), opened.manifests()
    server = Server(
        stub_server(
            service_seconds={"original": 0.0, "int8": 0.0},
            scores={"original": SCORES, "int8": [0.9] * 32},
        )
    )
    server.check_model(opened.model)
    server.check_variant(opened.model, manifests["original"], samples)
    with pytest.raises(StoreMismatchError, match="another version of the store"):
        server.check_variant(opened.model, manifests["int8"], samples)
    with pytest.raises(UnknownModelError, match="pruned"):
        server.check_variant(opened.model, manifests["pruned"], samples)


def test_an_identity_changes_with_a_restart(stub_server: StubServer) -> None:
    first, second = Server(stub_server()), Server(stub_server())
    assert first.identity() == first.identity()
    assert first.identity() != second.identity()
