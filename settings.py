"""One typed Settings object, read from the environment and `.env`: model endpoint, embedder, Qdrant, checkpoint database."""

from pathlib import Path
from typing import Literal

from pydantic import AliasChoices, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Where things are. Every field is an environment variable; `open_runtime(Settings(home=..., model=...))` sets them in code.

    Below the runtime they are passed on and never read anew, so that two runtimes in one process share nothing.
    """

    model_config = SettingsConfigDict(
        env_prefix="PALIMPSEST_", env_file=".env", extra="ignore", populate_by_name=True, frozen=True
    )

    home: Path = Path("~/.palimpsest")
    """Folder of the embedded memory and the checkpoint database (PALIMPSEST_HOME)."""

    base_url: str = Field(default="", validation_alias=AliasChoices("OPENAI_BASE_URL", "OPENAI_API_BASE"))
    """OpenAI-compatible endpoint, such as http://localhost:11434/v1. Empty with a key: OpenAI itself."""

    api_key: SecretStr = Field(default=SecretStr(""), validation_alias="OPENAI_API_KEY")
    """Key of the endpoint; local servers ignore it. Never in state, checkpoints or logs."""

    model: str = Field(default="", validation_alias=AliasChoices("PALIMPSEST_MODEL", "OPENAI_MODEL"))
    """Model name; empty: the first that the endpoint lists. `offline` is the built-in model."""

    person_url: str = ""
    """OpenAI-compatible endpoint of a simulated person's model (PALIMPSEST_PERSON_URL); empty: the agent's."""

    person_key: SecretStr = SecretStr("")
    """Key of `person_url` (PALIMPSEST_PERSON_KEY). The agent's key is never sent there."""

    reply_tokens: int = Field(default=4_096, ge=64)
    """Most tokens of one reply. At most 1,024 are asked for; a reply that needs more is asked for again with all of these, or with
    what the model's context leaves beside the prompt, whose bound is `Context.window`."""

    reply_seconds: float = Field(default=180.0, gt=0)
    """Total deadline of one reply, its retries included."""

    temperature: float | None = Field(default=None, ge=0)
    """Of replies that have none of their own (PALIMPSEST_TEMPERATURE); None: the server's."""

    calls: Literal["auto", "native", "schema", "text"] = "auto"
    """How models call tools (PALIMPSEST_CALLS): the server's own way, JSON by a schema, or text; `auto`: as each was found to."""

    embeddings_url: str = ""
    """OpenAI-compatible endpoint with `/embeddings` (PALIMPSEST_EMBEDDINGS_URL); empty: MiniLM, on this machine."""

    embeddings_key: SecretStr = SecretStr("")
    """Key of `embeddings_url` (PALIMPSEST_EMBEDDINGS_KEY). The model's key is never sent there."""

    embeddings_model: str = "text-embedding-3-small"
    """Model name at `embeddings_url`. Changing it re-embeds what is searched; vectors of two models never mix."""

    private_hosts: str = ""
    """Hosts that private conversations may reach beside this machine (PALIMPSEST_PRIVATE_HOSTS), with spaces between them."""

    qdrant_url: str = Field(default="", validation_alias="QDRANT_URL")
    """Qdrant server; empty: Qdrant Edge inside this process, in `home`."""

    qdrant_api_key: SecretStr = Field(default=SecretStr(""), validation_alias="QDRANT_API_KEY")

    database_url: SecretStr = SecretStr("")
    """PostgreSQL URL of the checkpoints (PALIMPSEST_DATABASE_URL); empty: SQLite in `home`."""

    sandbox: str = "auto"
    """What runs untrusted programs (PALIMPSEST_SANDBOX): auto, bubblewrap, landlock or wasm."""

    clip: Path | None = None
    """ONNX file of CLIP ViT-B/32's vision model (PALIMPSEST_CLIP): pages then get the paper's score too."""

    mcp_servers: str = ""
    """MCP servers that are started by a command (PALIMPSEST_MCP_SERVERS): a line `name = command` for each."""

    @property
    def mcp_commands(self) -> dict[str, str]:
        """`mcp_servers` as commands by name. Raises ValueError for a line that is not `name = command`."""
        commands = {}
        for line in filter(str.strip, self.mcp_servers.splitlines()):
            name, equals, command = (part.strip() for part in line.partition("="))
            if not (name and equals and command):
                raise ValueError(f"PALIMPSEST_MCP_SERVERS has the line {line!r}: write `name = command`.")
            commands[name] = command
        return commands

    @property
    def folder(self) -> Path:
        """`home` with `~` resolved, created for its owner alone (mode 0700)."""
        folder = self.home.expanduser().resolve()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder
