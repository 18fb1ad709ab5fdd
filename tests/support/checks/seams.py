"""What the package uses of its libraries beyond their documentation.

docs/architecture.md shows this list (tests/support/docs/reference.py writes it there), and
tests/test_seams.py compares it with the installed libraries and with the package's own source.
"""

from __future__ import annotations

import attrs


@attrs.frozen
class Seam:
    """Names of one object of a library."""

    library: str
    """The distribution."""
    owner: str
    """The object that has the names: ``module`` or ``module:Class``."""
    names: tuple[str, ...]
    """The names; functions with their parameters as they are called or overridden."""
    users: tuple[str, ...]
    """The modules of the package that use them, as paths in it."""
    why: str
    """What for."""


SOCKET_SERVER = "core/clients/socket_server.py"
ROOMS = "core/hub/rooms.py"
PACKETS = "core/hub/packets.py"
ADMIN_UI = "defaults/admin_ui/ui.py"
UVICORN_SERVER = "cli/serving/uvicorn_server.py"
HTTP_CONNECTION = "http/connection.py"
HTTP_SHARED = "http/shared.py"
HTTP_PROTOCOL = "http/protocol.py"
HTTP_FALLBACK = "http/fallback.py"
HANDOVER = "cli/serving/handover.py"
WEBSOCKET = "engine/transports/uvicorn.py"
CLUSTER = "redis_link/cluster.py"

SEAMS = (
    # -- python-socketio -------------------------------------------------------------------
    Seam(
        "python-socketio",
        "socketio.async_server:AsyncServer",
        (
            "_engineio_server_class()",
            "_handle_eio_connect(eio_sid, environ)",
            "_handle_eio_disconnect(eio_sid, reason)",
            "eio",
        ),
        (SOCKET_SERVER,),
        "puts the package's engine in place of python-engineio's",
    ),
    Seam(
        "python-socketio",
        "socketio.async_server:AsyncServer",
        (
            "_handle_event(eio_sid, namespace, id, data)",
            "_handle_ack(eio_sid, namespace, id, data)",
            "_handle_disconnect(eio_sid, namespace, reason)",
            "_trigger_event(event, namespace, *args)",
            "_binary_packet",
            "packet_class",
            "reason",
        ),
        (SOCKET_SERVER,),
        "checks and orders what clients send before python-socketio handles it",
    ),
    Seam(
        "python-socketio",
        "socketio.async_server:AsyncServer",
        (
            "_get_event_handler(event, namespace, args)",
            "_get_namespace_handler(namespace, args)",
            "handlers",
            "namespace_handlers",
            "namespaces",
        ),
        (SOCKET_SERVER,),
        "finds out whether the host handles a namespace and its connections",
    ),
    Seam(
        "python-socketio",
        "socketio.async_server:AsyncServer",
        ("environ", "manager", "manager_initialized"),
        (SOCKET_SERVER,),
        "makes a session's `environ` only when a handler asks for it",
    ),
    Seam(
        "python-socketio",
        "socketio.async_manager:AsyncManager",
        (
            "_generate_ack_id(sid, callback)",
            "basic_disconnect(sid, namespace, **kwargs)",
            "basic_enter_room(sid, namespace, room, eio_sid)",
            "basic_leave_room(sid, namespace, room)",
            "callbacks",
            "eio_sid_from_sid(sid, namespace)",
            "get_participants(namespace, room)",
            "get_rooms(sid, namespace)",
            "is_connected(sid, namespace)",
            "is_sid_room(namespace, room)",
            "pre_disconnect(sid, namespace)",
            "rooms",
            "server",
            "sid_from_eio_sid(eio_sid, namespace)",
        ),
        (ROOMS,),
        "keeps memberships in dictionaries from which locations are broadcast",
    ),
    Seam(
        "python-socketio",
        "socketio.packet:Packet",
        (
            "_reconstruct_binary_internal(data, attachments)",
            "add_attachment(attachment)",
            "data",
            "id",
            "json",
            "namespace",
            "packet_type",
        ),
        (PACKETS,),
        "reads packets strictly, with orjson",
    ),
    Seam(
        "python-socketio",
        "socketio.async_admin:InstrumentedAsyncServer",
        (
            "_check_for_upgrade(eio_sid, sid, namespace)",
            "_emit_server_stats()",
            "_timestamps",
            "_trigger_event(event, namespace, *args)",
            "admin_connect(sid, environ, client_auth)",
            "admin_namespace",
            "auth",
            "instrument()",
            "mode",
            "read_only",
            "serialize_socket(sid, namespace, eio_sid)",
            "shutdown()",
            "sio",
            "stats_task",
            "stop_stats_event",
        ),
        (ADMIN_UI,),
        "shows sockets without secrets, and stops with the server",
    ),
    # -- python-engineio -------------------------------------------------------------------
    Seam(
        "python-engineio",
        "engineio.async_socket:AsyncSocket",
        ("_send_ping()", "_websocket_handler(ws)", "handle_post_request(environ)"),
        (ADMIN_UI,),
        "undoes what python-socketio's instrumentation replaces process-wide",
    ),
    Seam(
        "python-engineio",
        "engineio.async_server:AsyncServer",
        ("_get_socket(sid)", "_ok(packets, headers, jsonp_index)"),
        ("core/clients/socket_engine.py",),
        "provides what python-socketio's instrumentation calls on the engine",
    ),
    # -- uvicorn ---------------------------------------------------------------------------
    Seam(
        "uvicorn",
        "uvicorn.protocols.http.httptools_impl:HttpToolsProtocol",
        ("_unset_keepalive_if_required()", "cycle", "shutdown()"),
        (HTTP_PROTOCOL,),
        "serves what the fast HTTP path does not, on the same connection",
    ),
    Seam(
        "uvicorn",
        "uvicorn.protocols.http.httptools_impl:HttpToolsProtocol",
        (
            "_should_upgrade()",
            "_unset_keepalive_if_required()",
            "cycle",
            "flow",
            "handle_websocket_upgrade()",
            "on_body(body)",
            "on_headers_complete()",
            "on_message_begin()",
            "on_message_complete()",
            "on_response_complete()",
            "parser",
            "pause_writing()",
            "pipeline",
            "server_state",
            "shutdown()",
            "transport",
        ),
        (HTTP_FALLBACK,),
        "bounds the time in which a client sends a request, its head, how many wait, and how long "
        "an answer waits to be read",
    ),
    Seam(
        "uvicorn",
        "uvicorn.protocols.http.httptools_impl:RequestResponseCycle",
        ("response_complete", "response_started", "waiting_for_100_continue"),
        (HTTP_FALLBACK,),
        "tells whether a slow request can still be answered",
    ),
    Seam(
        "uvicorn",
        "uvicorn.protocols.http.flow_control:FlowControl",
        ("read_paused",),
        (HTTP_FALLBACK,),
        "tells whether the application holds a body up",
    ),
    Seam(
        "uvicorn",
        "uvicorn.protocols.http.httptools_impl:HttpToolsProtocol",
        (
            "_unset_keepalive_if_required()",
            "cycle",
            "on_message_begin()",
            "on_message_complete()",
            "transport",
        ),
        (HANDOVER,),
        "hands connections over between workers",
    ),
    Seam(
        "uvicorn",
        "uvicorn.protocols.http.httptools_impl:RequestResponseCycle",
        ("response_complete",),
        (HTTP_PROTOCOL, HANDOVER),
        "tells whether a connection is between two requests",
    ),
    Seam(
        "uvicorn",
        "uvicorn.protocols.http.httptools_impl",
        ("STATUS_LINE",),
        (HTTP_SHARED, HTTP_PROTOCOL),
        "writes the first line of responses",
    ),
    Seam(
        "uvicorn",
        "uvicorn.server:ServerState",
        ("connections", "default_headers", "tasks", "total_requests"),
        (HTTP_CONNECTION, HTTP_FALLBACK, HTTP_PROTOCOL, WEBSOCKET),
        "counts connections and requests as uvicorn does, and sends its headers",
    ),
    Seam(
        "uvicorn",
        "uvicorn.config:Config",
        ("load()", "ws_protocol_class"),
        (WEBSOCKET,),
        "finds uvicorn's own protocol for websockets of other paths",
    ),
    Seam(
        "uvicorn",
        "uvicorn.config:Config",
        ("get_loop_factory()", "http_protocol_class"),
        (UVICORN_SERVER,),
        "runs the server, and makes protocols for connections that are handed over",
    ),
    Seam(
        "uvicorn",
        "uvicorn.server:Server",
        (
            "capture_signals()",
            "force_exit",
            "handle_exit(sig, frame)",
            "lifespan",
            "server_state",
            "servers",
            "should_exit",
            "shutdown(sockets)",
            "started",
            "startup(sockets)",
        ),
        (UVICORN_SERVER,),
        "closes in order at a signal, within a time limit",
    ),
    Seam(
        "uvicorn",
        "uvicorn.server:Server",
        ("lifespan", "main_loop()", "server_state", "servers", "shutdown(sockets)"),
        ("testing/web.py",),
        "starts and stops at once in tests",
    ),
    Seam(
        "uvicorn",
        "uvicorn.middleware.proxy_headers:ProxyHeadersMiddleware",
        ("__call__(scope, receive, send)", "__init__(app, trusted_hosts)"),
        ("engine/transports/connections.py",),
        "runs the middleware in one step, without a task: it awaits nothing but the application",
    ),
    # -- redis-py --------------------------------------------------------------------------
    Seam(
        "redis",
        "redis.asyncio.connection:AbstractConnection",
        ("_writer",),
        ("redis_link/stream.py",),
        "takes over the transport of an open connection",
    ),
    Seam(
        "redis",
        "redis.asyncio.connection:DefaultParser",
        ("parse_error(response)",),
        ("redis_link/stream.py",),
        "makes redis-py's exceptions of errors that hiredis reads",
    ),
    Seam(
        "redis",
        "redis.asyncio.connection:AbstractConnection",
        (
            "disconnect(nowait)",
            "pack_commands(commands)",
            "read_response()",
            "send_packed_command(command)",
        ),
        ("redis_link/pipe.py",),
        "sends the first commands of a connection",
    ),
    Seam(
        "redis",
        "redis.asyncio.connection:ConnectionPool",
        ("make_connection()",),
        ("redis_link/single.py",),
        "makes a connection with all options of the URL",
    ),
    Seam(
        "redis",
        "redis.asyncio.sentinel:Sentinel",
        ("sentinels",),
        ("redis_link/single.py",),
        "closes the connections to Sentinels",
    ),
    Seam(
        "redis",
        "redis.asyncio.connection",
        ("parse_url(url)", "to_bool(value)"),
        ("redis_link/url.py",),
        "reads options in a URL as redis-py does",
    ),
    Seam(
        "redis",
        "redis.asyncio.cluster:RedisCluster",
        ("nodes_manager",),
        (CLUSTER,),
        "reaches the topology",
    ),
    Seam(
        "redis",
        "redis.asyncio.cluster:NodesManager",
        (
            "_background_tasks",
            "aclose(attr)",
            "get_node_from_slot(slot)",
            "initialize()",
            "nodes_cache",
            "startup_nodes",
        ),
        (CLUSTER,),
        "reads the topology again, and closes the connections that did",
    ),
    Seam(
        "redis",
        "redis.asyncio.cluster:ClusterNode",
        ("connection_class", "connection_kwargs"),
        (CLUSTER,),
        "makes a connection to one node",
    ),
    # -- PyJWT -----------------------------------------------------------------------------
    Seam(
        "pyjwt",
        "jwt.api_jwt:PyJWT",
        ("_decode_payload(decoded)", "_jws"),
        ("defaults/jwt_auth/__init__.py",),
        "reads claims as strictly as all other JSON, and parses the header of an issuer once",
    ),
    Seam(
        "pyjwt",
        "jwt:PyJWS",
        ("_load(jwt)", "decode_complete(jwt)"),
        ("defaults/jwt_auth/headers.py",),
        "parses the header of an issuer once",
    ),
    Seam(
        "pyjwt",
        "jwt:PyJWK",
        ("Algorithm", "algorithm_name"),
        ("defaults/jwt_auth/__init__.py", "defaults/jwt_auth/keys.py"),
        "checks a secret once instead of for every token",
    ),
    Seam(
        "pyjwt",
        "jwt.algorithms:HMACAlgorithm",
        ("hash_alg", "prepare_key(key)"),
        ("defaults/jwt_auth/keys.py",),
        "checks a secret once instead of for every token",
    ),
    # -- others ----------------------------------------------------------------------------
    Seam(
        "starlette",
        "starlette.routing:BaseRoute",
        ("handle(scope, receive, send)", "matches(scope)"),
        ("http/routes.py", "http/endpoints.py"),
        "adds routes of the server's own kinds",
    ),
    Seam(
        "starlette",
        "starlette.routing:Router",
        ("lifespan_context", "routes"),
        ("http/application.py",),
        "adds the routes, and the start and stop, to the host's application",
    ),
    Seam(
        "websockets",
        "websockets.utils",
        ("apply_mask(data, mask)",),
        ("engine/protocol/frames.py",),
        "unmasks frames, with `websockets.speedups` where that is built",
    ),
)
