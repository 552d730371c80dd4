"""All settings: lastbeat.toml, overridden by LASTBEAT_* (`LASTBEAT_GATEWAY__PORT=7500`). The only reader of both.

Each section is the model of the package that it configures; unknown names are errors that say where they stand.
"""

from __future__ import annotations

import os
import tempfile
import tomllib
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from alerts.audit.settings import AuditSettings
from alerts.settings import AlertSettings
from collector.settings import (
    ElasticSettings,
    GatewaySettings,
    JournalSettings,
    KafkaSettings,
    LakeSettings,
    Section,
)
from dashboards.settings import BoardSettings
from shippers.errors import Misconfigured

DEFAULT_FILE = Path("lastbeat.toml")
_TOLD = ("int_", "float_", "bool_", "greater_than", "less_than", "literal_error", "enum", "string_pattern_mismatch")


class HealthSettings(Section):
    """[health]: where each role but the gateway answers /health, /ready and /metrics."""

    host: str = "127.0.0.1"
    indexer: int = Field(7413, ge=0, le=65535)
    watch: int = Field(7414, ge=0, le=65535)
    archiver: int = Field(7415, ge=0, le=65535)
    boards: int = Field(7416, ge=0, le=65535)
    auditor: int = Field(7417, ge=0, le=65535)


class Settings(BaseSettings):
    """The whole of lastbeat.toml. `data` is the folder that holds everything that is kept."""

    model_config = SettingsConfigDict(
        env_prefix="LASTBEAT_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        nested_model_default_partial_update=True,
    )
    toml: ClassVar[Path | None] = None

    data: Path = Path("lastbeat-data")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """The least that roles say in their own logs."""
    journal: JournalSettings = JournalSettings()
    gateway: GatewaySettings = GatewaySettings()
    lake: LakeSettings = LakeSettings()
    alerts: AlertSettings = AlertSettings()
    audit: AuditSettings = AuditSettings()
    boards: BoardSettings = BoardSettings()
    health: HealthSettings = HealthSettings()
    kafka: KafkaSettings | None = None
    """Given: the journal is Kafka. Else it is local, in `data`."""
    elastic: ElasticSettings | None = None
    """Given: events and state are kept in Elasticsearch, and the lake is its archive. Else the lake keeps them."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over the file, as it is the nearer to the running process."""
        del dotenv_settings, file_secret_settings
        return (init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml_file=cls.toml))

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles of this form of the platform, in the order of the data's way."""
        archiver = ("archiver",) if self.elastic and self.elastic.archive else ()
        return ("gateway", "indexer", *archiver, "watch", "auditor", "boards")

    @property
    def journal_path(self) -> Path:
        """Where the local journal lives."""
        return self.data / "journal"

    @property
    def lake_path(self) -> Path:
        """Where the lake's tables live."""
        return self.data / "lake"

    @property
    def state_path(self) -> Path:
        """The state's database file."""
        return self.data / "state.db"

    @property
    def ledger_path(self) -> Path:
        """The ledger's database file: its many small writes are not to hold up the watch's."""
        return self.data / "ledger.db"

    @property
    def run_path(self) -> Path:
        """Where the running platform says its addresses and keeps its roles' logs."""
        return self.data / "run"

    @property
    def gateway_url(self) -> str:
        """Where shippers reach the gateway."""
        return self.gateway.public_url or f"http://{self.gateway.host}:{self.gateway.port}"

    @property
    def boards_url(self) -> str:
        """Where people reach the boards."""
        return f"http://{self.boards.host}:{self.boards.port}"


def writable(folder: Path) -> Path:
    """`folder`, made if it isn't there. Raises Misconfigured if nothing can be written in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        raise Misconfigured(
            f"{folder.absolute()} can't be written: {error.strerror}: make it writable for uid {os.getuid()}, or use "
            "another folder (`data`, LASTBEAT_DATA)"
        ) from None


def load(file: Path | None = None) -> Settings:
    """Read the settings. Without `file`, ./lastbeat.toml if it is there.

    Raises Misconfigured, naming the file or variable, the setting and the rule that it breaks.
    """
    if file is not None and not file.is_file():
        raise Misconfigured(f"{file}: there is no such file")
    chosen = file or (DEFAULT_FILE if DEFAULT_FILE.is_file() else None)
    loader = type("Settings", (Settings,), {"toml": chosen, "__annotations__": {"toml": ClassVar[Path | None]}})
    source = f"{chosen} or LASTBEAT_*" if chosen else "LASTBEAT_*"
    try:
        return loader()  # type: ignore[no-any-return]
    except tomllib.TOMLDecodeError as error:
        raise Misconfigured(f"{chosen}: not TOML: {error}") from None
    except UnicodeDecodeError as error:
        raise Misconfigured(f"{chosen}: not UTF-8 from byte {error.start} on: save it as UTF-8") from None
    except OSError as error:
        raise Misconfigured(f"{chosen}: can't be read: {error.strerror}") from None
    except SettingsError as error:
        raise Misconfigured(
            f"{_variable(error)}: a list or a table is given as JSON, such as "
            """LASTBEAT_ELASTIC__URLS='["http://es:9200"]'"""
        ) from None
    except ValidationError as error:
        lines = (f"  {'.'.join(map(str, one['loc']))}: {one['msg']}{_given(one)}" for one in error.errors())
        raise Misconfigured(f"settings that can't be used, in {source}:\n" + "\n".join(lines)) from None


def _variable(error: SettingsError) -> str:
    """The variable that can't be read: the error names its section only, but its cause holds the value."""
    value = getattr(error.__cause__, "doc", None)
    names = [name for name in os.environ if name.upper().startswith("LASTBEAT_") and os.environ[name] == value]
    return " or ".join(names) or f"LASTBEAT_* ({error})"


def _given(error: ErrorDetails) -> str:
    """What was given, only where a number, a choice or a name was asked for: anything else may hold a secret."""
    told = error["type"].startswith(_TOLD) and isinstance(error["input"], str | int | float)
    return f" (got {error['input']!r})" if told else ""
