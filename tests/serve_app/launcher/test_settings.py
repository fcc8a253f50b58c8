from __future__ import annotations

from pathlib import Path

import pytest

from serve_app.errors import ConfigError
from serve_app.launcher.settings import read_settings

REPOSITORY = Path(__file__).parents[3]


def test_the_shipped_config_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    settings = read_settings(None, None, None, None, None)
    assert (settings.config.store, settings.config.model) == ("out/demo/store", "fraud")
    assert (settings.application, settings.port) == ("slimserve", 8000)


def test_the_command_line_wins() -> None:
    path = REPOSITORY / "deploy" / "serve.yaml"
    settings = read_settings(path, "s", "m", 1234, "state")
    config = settings.config
    assert (config.store, config.model, config.state_dir) == ("s", "m", "state")
    assert settings.port == 1234


def test_without_a_config_store_and_model_are_needed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert read_settings(None, "s", "m", None, None).port == 8000
    with pytest.raises(ConfigError, match="store: Field required"):
        read_settings(None, None, "m", None, None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("applications: [", "is not YAML"),
        ("[]", "is not a Serve config"),
        ("applications: []", "expected exactly one"),
        ("applications: [{args: {stoer: x}}]", "stoer: unknown key"),
    ],
)
def test_mistakes_name_the_file_or_key(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "serve.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_settings(path, None, None, None, None)


def test_a_missing_config_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        read_settings(tmp_path / "none.yaml", None, None, None, None)
