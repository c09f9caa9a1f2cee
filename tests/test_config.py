"""Settings: read once, refused when wrong, by name and without their value."""

from pathlib import Path

import pytest

from backend import config
from backend.config import Settings, SettingsError


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "80000"),
        ("PORT", "http"),
        ("DATABASE_URL", "mysql://secret@host/db"),
        ("DATABASE_URL", "secret"),
        ("JWT_SECRET", "secret"),
        ("POOL_SIZE", "999"),
        ("ENVIRONMENT", "secret"),
        ("SQL_ECHO", "secret"),
        ("WEB_CONCURRENCY", "-1"),
        ("DATABASE_TIMEOUT_SECONDS", "-5"),
        ("LOG_LEVEL", "secret"),
    ],
)
def test_a_wrong_setting_is_refused_by_its_name_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(SettingsError) as refused:
        config.load()

    assert str(refused.value).startswith(f"{name}: ")
    assert value not in str(refused.value)


def test_all_wrong_settings_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "x")
    monkeypatch.setenv("POOL_SIZE", "x")

    with pytest.raises(SettingsError) as refused:
        config.load()

    assert [line.split(":")[0] for line in str(refused.value).splitlines()] == ["PORT", "POOL_SIZE"]


def test_a_dotenv_file_is_read_and_the_environment_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("PORT=9001\nPOOL_SIZE=7\nOTHER_PROGRAM=x\nSQL_ECHO=\n")
    monkeypatch.setenv("PORT", "9002")

    settings = config.load()

    assert (settings.port, settings.pool_size, settings.sql_echo) == (9002, 7, False)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_an_address_is_taken_as_hosts_write_it(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    monkeypatch.setenv("DATABASE_URL", f"{scheme}://u:p@host/db?sslmode=require")

    assert config.load().database_url == "postgresql+psycopg://u:p@host/db?sslmode=require"


def test_production_brings_its_own_database_and_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENVIRONMENT", "production")
    with pytest.raises(SettingsError, match=r"DATABASE_URL: not set.*\n.*JWT_SECRET: not set"):
        config.load()
    for name, value in (("DATABASE_URL", "postgresql://host/db"), ("JWT_SECRET", "x" * 32)):
        with pytest.raises(SettingsError, match=f"{name}: not set"):
            config.load()
        monkeypatch.setenv(name, value)

    assert config.load().signing_secret == b"x" * 32


def test_secrets_do_not_show_in_what_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:hunter2@host/db")
    monkeypatch.setenv("JWT_SECRET", "hunter2" * 8)

    assert "hunter2" not in repr(config.load())


def test_the_development_secret_is_made_once_and_for_each_folder(tmp_path: Path) -> None:
    one, same, other = (Settings(data_dir=tmp_path / name).signing_secret for name in ("a", "a", "b"))

    assert one == same != other
    assert len(one) >= config.SECRET_BYTES


def test_every_setting_is_documented() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert f"# {name.upper()}=" in config.example()
