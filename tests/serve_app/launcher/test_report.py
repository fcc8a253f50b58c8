from __future__ import annotations

import json
import os
from pathlib import Path

from compression.store import ModelStore
from serve_app.config import AppConfig
from serve_app.launcher.report import write_ready_file, write_request
from serve_app.protocol.codec import Codec
from tests.support.store import MODEL, build_store, make_document


def test_the_request_that_is_written_is_one_the_gateway_reads(tmp_path: Path) -> None:
    store = build_store(tmp_path / "store")
    config = AppConfig(store=store, model=MODEL)
    path = write_request(config, ModelStore(store).model(MODEL))
    assert path.resolve() == tmp_path / "request.json"
    decoded = Codec(make_document(), max_rows=1).decode(path.read_bytes())
    assert (decoded.rows, decoded.key) == (1, "customer-0")


def test_the_ready_file_is_for_this_user_only(tmp_path: Path) -> None:
    path = tmp_path / "new" / "ready.json"
    write_ready_file(path, {"url": "u"})
    assert json.loads(path.read_text()) == {"url": "u"}
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert list(path.parent.iterdir()) == [path]
