"""Settings: read once, refused when wrong, by name and without their value."""

import json
from pathlib import Path

import pytest
from pyrage.x25519 import Identity

from backend import config
from backend.config import Settings, SettingsError, values


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
        *(("SMTP_URL", url) for url in ("secret", "http://u:secret@host", "smtp://u:secret@", "smtp://u:se/cret@host")),
        *(("SMTP_URL", url) for url in ("smtp://u:se#cret@host", "smtp://u:secret@host:999999", "smtp://secret@host")),
        *(
            ("SMTP_URL", url)
            for url in ("smtp://u:secret@host/path", "smtp://u:secret@host?x=1", "smtp://:secret@host")
        ),
        *(("MAIL_FROM", sender) for sender in ("secret", "Tend <secret", "a@b.co, secret@b.co", "A\nB <secret@b.co>")),
        *(("APP_URL", url) for url in ("secret", "ftp://secret", "https://u:secret@host", "https://host/?secret")),
        ("APP_URL", "https://host/#secret"),
        *(("BACKUP_RECIPIENTS", key) for key in ("secret", "age1secret")),
        pytest.param("BACKUP_RECIPIENTS", str(Identity.generate()), id="BACKUP_RECIPIENTS-a private key"),
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


GOOGLE = {"issuer": "https://accounts.google.com", "client_id": "x"}


@pytest.mark.parametrize(
    ("providers", "place"),
    [
        ("hunter2", "not JSON"),
        ('["hunter2"]', ""),
        ('{"google": "hunter2"}', 'google: expected {"issuer"'),
        (json.dumps({"Google": GOOGLE}), "Google: "),
        (json.dumps({"x" * 33: GOOGLE}), "x"),
        *(
            (json.dumps({"google": {**GOOGLE, name: value}}), f"google: {name}: ")
            for name, value in [
                *(("issuer", f"{start}hunter2.com{end}") for start in ("http://", "ftp://", "") for end in ("", "/")),
                *(
                    ("issuer", f"https://{rest}")
                    for rest in ("", "/hunter2", "a/?hunter2", "a/#hunter2", "u:hunter2@a")
                ),
                ("issuer", "http://localhost.hunter2.com"),
                ("client_id", ""),
                ("client_id", "hunter2 \n"),
                ("client_secret", ""),
                ("client_secret", "hünter2"),
                ("client_secret", ["hunter2"]),
                ("scope", "email hunter2openid"),
                ("secret", "hunter2"),
            ]
        ),
    ],
)
def test_a_wrong_provider_is_refused_and_its_secret_not_shown(
    monkeypatch: pytest.MonkeyPatch, providers: str, place: str
) -> None:
    monkeypatch.setenv("OIDC_PROVIDERS", providers)
    monkeypatch.setenv("OIDC_REDIRECT_URIS", '["https://example.com/"]')

    with pytest.raises(SettingsError) as refused:
        config.load()

    assert str(refused.value).startswith(f"OIDC_PROVIDERS: {place}")
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    "address",
    [
        *("", "/signed-in", "https://", "https:///x", "http://example.com/", "https://example.com/#x", "https://a b/"),
        *("https://u:p@example.com/", "javascript:alert(1)", "data:text/html,x", "app:/x", "com.example.app:", "*"),
    ],
)
def test_an_address_to_which_nobody_should_be_sent_back_is_refused(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("OIDC_REDIRECT_URIS", json.dumps(["https://example.com/", address]))

    with pytest.raises(SettingsError, match=r"^OIDC_REDIRECT_URIS: number 2: expected https://"):
        config.load()


def test_a_provider_needs_an_address_to_send_people_back_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OIDC_PROVIDERS", json.dumps({"google": GOOGLE}))

    with pytest.raises(SettingsError, match=r"^OIDC_REDIRECT_URIS: not set"):
        config.load()


def test_providers_are_read_and_their_secrets_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    addresses = ["https://example.com/in?x=1", "http://localhost:3000/", "http://127.0.0.1/", "com.example.app:/in"]
    own = {"issuer": "http://localhost:9400", "client_id": "y", "client_secret": "hunter2", "scope": "openid"}
    monkeypatch.setenv("OIDC_PROVIDERS", json.dumps({"google": GOOGLE, "my-own-1": own}))
    monkeypatch.setenv("OIDC_REDIRECT_URIS", json.dumps(addresses))

    settings = config.load()

    assert settings.oidc_redirect_uris == addresses
    assert list(settings.oidc_providers) == ["google", "my-own-1"]
    assert settings.oidc_providers["google"].scope == "openid email profile"
    assert settings.oidc_providers["google"].client_secret is None
    assert "hunter2" not in repr(settings)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("PREPARED_STATEMENTS", "maybe", "PREPARED_STATEMENTS: expected auto, true or false"),
        ("CORS_ORIGINS", "https://a.example,x", "CORS_ORIGINS: number 2: an origin without its scheme"),
    ],
)
def test_a_wrong_setting_is_told_in_plain_words(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as refused:
        config.load()
    assert str(refused.value).startswith(said)


@pytest.mark.parametrize(("value", "said"), [("auto", "auto"), ("true", True), ("0", False)])
def test_prepared_statements_are_decided_or_found_out(
    monkeypatch: pytest.MonkeyPatch, value: str, said: bool | str
) -> None:
    monkeypatch.setenv("PREPARED_STATEMENTS", value)
    assert config.load().prepared_statements == said


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


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("smtp://mail.example.com", ("mail.example.com", 587, "starttls", None, None)),
        ("smtp://ada%40b.co:p%40%2Fw%23@mail:2525", ("mail", 2525, "starttls", "ada@b.co", "p@/w#")),
        ("smtp://ada:pw@localhost:1025", ("localhost", 1025, "starttls", "ada", "pw")),
        ("smtp://localhost:1025", ("localhost", 1025, "plain", None, None)),
        ("smtp://127.0.0.1", ("127.0.0.1", 25, "plain", None, None)),
        ("smtp://[::1]:1025/", ("::1", 1025, "plain", None, None)),
        ("smtps://ada:pw@mail", ("mail", 465, "tls", "ada", "pw")),
        ("smtps://localhost:4650", ("localhost", 4650, "tls", None, None)),
    ],
)
def test_mail_goes_in_the_open_to_this_machine_only_and_never_with_a_password(
    url: str, said: tuple[str, int, str, str | None, str | None]
) -> None:
    server = values.smtp_server(url)

    assert (server.host, server.port, server.security, server.user, server.password) == said


@pytest.mark.parametrize(
    ("sender", "said"),
    [
        ("tend@example.com", ("", "tend@example.com")),
        ("Tänd, the tasks <tend@münchen.de>", ("Tänd, the tasks", "tend@xn--mnchen-3ya.de")),
        ('"Tend" <tend@mail.test>', ("Tend", "tend@mail.test")),
    ],
)
def test_a_sender_has_an_address_and_perhaps_a_name(sender: str, said: tuple[str, str]) -> None:
    assert values.mailbox(sender) == said


def test_a_mail_server_and_a_sender_go_together(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"SMTP_URL": "smtp://u:hunter2@host", "MAIL_FROM": "tend@example.com"}
    for name, value in settings.items():
        (other,) = settings.keys() - {name}
        monkeypatch.setenv(name, value)
        with pytest.raises(SettingsError, match=f"^{other}: not set"):
            config.load()
        monkeypatch.delenv(name)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)

    assert "hunter2" not in repr(config.load())


def test_links_are_built_on_an_address_without_a_slash_at_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    for url in ("https://app.example.com", "https://app.example.com/"):
        monkeypatch.setenv("APP_URL", url)
        assert config.load().app_url == "https://app.example.com"
    monkeypatch.setenv("APP_URL", "http://localhost:3000/tend/")
    assert config.load().app_url == "http://localhost:3000/tend"


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
