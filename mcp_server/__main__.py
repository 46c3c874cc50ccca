"""Serve an agent's memory to a tool that speaks MCP.

python -m mcp_server --agent ada                 by stdio, for a tool that starts its servers
python -m mcp_server --agent ada --http 8321     at http://127.0.0.1:8321/mcp, with the token that it prints
"""

import argparse
import secrets
from functools import partial

from mcp_server.http import http_server, listen
from mcp_server.memory_tools import MemoryTools, memory_server
from nodes.context import check_agent
from runtime import open_runtime
from settings import Settings


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="mcp_server", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--agent", default="palimpsest", help="whose memory")
    parser.add_argument("--http", type=int, metavar="PORT", help="serve over HTTP at this port of this machine")
    arguments = parser.parse_args()
    try:
        check_agent(arguments.agent)
    except ValueError as error:
        parser.error(str(error))
    settings = Settings()
    # Opened for each call and closed after it: what is open here all day would have to serve the page.
    server = memory_server(MemoryTools(partial(open_runtime, settings)), arguments.agent)
    if arguments.http is None:
        server.run("stdio")
        return
    token = secrets.token_urlsafe(32)
    try:
        listener, url = listen(arguments.http)
    except OSError as error:
        parser.error(f"The port {arguments.http} cannot be used ({error.strerror}): choose another.")
    print(f"{url}\nAuthorization: Bearer {token}", flush=True)
    http_server(server, token).run([listener])


if __name__ == "__main__":
    main()
