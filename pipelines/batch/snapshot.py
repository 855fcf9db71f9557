"""SOURCE as a table: every row with its key, its inputs, its options, or the reason it was refused.

The identity rule of `transforms.identity` is written here once more, in SQL, because a million rows pass through it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import pyarrow as pa

from pipelines.spec import PipelineSpec
from sources.open import open_source
from transforms import identity, sql, steps, storage
from transforms.engine import Engine
from transforms.errors import WavemillError, near
from transforms.operations import AUDIO_ALIASES, Operation
from transforms.records import Item

SIZE_COLUMNS = ("duration_s", "etag", "sha256")
DEFAULT_AUDIO_S = 30.0
DEFAULT_CHARS = 100
NUL = r"(^|[^\\])(\\\\)*\\u0000"
"""A NUL as JSON spells it; what DuckDB makes of one is cut short."""
BYTES_A_SECOND = 16_000
"""What a second of audio is taken to weigh when only the size of a file is known (128 kbit/s)."""


@dataclass(slots=True)
class Snapshot:
    """The table `snapshot` of a connection, described."""

    rows: int
    refused: dict[str, int]
    source_version: str
    option_columns: list[str] = field(default_factory=list)
    carried_columns: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    models: set[str] = field(default_factory=set)


def connect(scratch: Path) -> duckdb.DuckDBPyConnection:
    """DuckDB within bounded memory, spilling to `scratch`."""
    config: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": "550MB",
        "temp_directory": str(scratch / "duckdb"),
        "threads": 2,
        "preserve_insertion_order": True,
    }
    con = duckdb.connect(config=config)
    con.execute("SET enable_progress_bar = false")
    con.create_function("text_digest", _text_digests, ["VARCHAR"], "VARCHAR", type="arrow")  # type: ignore[call-overload]
    return con


def _text_digests(texts: pa.ChunkedArray) -> pa.Array:
    return pa.array((identity.text_digest(text) for text in texts.to_pylist()), pa.string())


def _path(name: str) -> str:
    return "'$." + '"' + name.replace('"', '\\"').replace("'", "''") + '"' + "'"


def take(con: duckdb.DuckDBPyConnection, spec: PipelineSpec, engine: Engine, scratch: Path, probe: bool = False) -> Snapshot:
    """Read SOURCE into the table `snapshot`. Raises `bad_usage` for a SOURCE that is missing or empty.

    No input is opened, but with `probe` each whose row gives no `duration_s`, for its length.
    """
    source = open_source(spec.source, spec.row, spec.split, scratch, f"{storage.canonical(spec.out)}/")
    wrong: list[WavemillError] = []
    reader = pa.RecordBatchReader.from_batches(pa.schema([("row", pa.string()), ("problem", pa.string())]), _heard(source.rows, wrong))
    limit = f"LIMIT {spec.limit}" if spec.limit else ""
    con.register("incoming", reader)
    try:
        con.execute(f"""
            CREATE OR REPLACE TEMP TABLE source_rows AS
            SELECT row_number() OVER () - 1 AS index, row, CASE WHEN json_valid(row) AND json_type(row) = 'OBJECT' THEN row::JSON END AS j,
                   coalesce(problem, CASE WHEN regexp_matches(row, '{NUL}') THEN 'a text holds a NUL character' END) AS problem
            FROM incoming {limit}
        """)
    except duckdb.Error:
        if wrong:  # DuckDB tells in its own way what a source raised
            raise wrong[0] from None
        raise
    con.unregister("incoming")
    rows = _count(con, "source_rows")
    if not rows:
        raise WavemillError("bad_usage", f"{spec.source} holds no rows", "source")
    known = [name for (name,) in con.execute("SELECT DISTINCT unnest(json_keys(j)) FROM source_rows ORDER BY 1").fetchall()]
    named = [*engine.Options.model_fields, *filter(engine.Options.takes, (*known, *spec.columns))]
    option_names = [] if source.claims else list(dict.fromkeys(named))
    columns = {name: spec.columns.get(name, name) for name in option_names}
    options = [name for name in option_names if columns[name] in known and columns[name] not in spec.row.inputs]
    snapshot = Snapshot(rows, {}, source.version, [columns[name] for name in options])
    if not source.claims:
        _columns(snapshot, spec, known, option_names)
    for name, column in spec.columns.items():
        if column not in known:
            raise WavemillError(
                "bad_usage", f"--columns {name}={column}: the manifest has no column {column!r}{near(column, known)}", "columns"
            )
        if name not in (*option_names, *spec.row.inputs, "id"):
            raise WavemillError("bad_usage", f"--columns {name}={column}: {name!r} is no input or option of {spec.operation}", "columns")
    _stage(con, spec, [columns[name] for name in options], source.claims)
    _resolve_options(con, spec, engine, options, snapshot)
    for name, kind in spec.row.inputs.items():
        if kind == "audio":
            listing = source.listing if name == spec.row.main_input else []  # it tells of what SOURCE itself lists
            snapshot.warnings += _versions(con, name, source.base, listing, spec.check_inputs)
            if probe and name == spec.row.main_input:
                _probe(con, name)
    _finish(con, spec.row)
    snapshot.refused = dict(con.execute("SELECT code, count(*) FROM snapshot WHERE code IS NOT NULL GROUP BY 1 ORDER BY 1").fetchall())
    return snapshot


def _heard(rows: Iterator[pa.RecordBatch], wrong: list[WavemillError]) -> Iterator[pa.RecordBatch]:
    try:
        yield from rows
    except WavemillError as error:
        wrong.append(error)
        raise


def _count(con: duckdb.DuckDBPyConnection, table: str) -> int:
    found = con.execute(f"SELECT count(*) FROM {table}").fetchone()
    return int(found[0]) if found else 0


def _input_columns(spec: PipelineSpec, name: str) -> list[str]:
    if name in spec.columns:
        return [spec.columns[name]]
    return list(AUDIO_ALIASES) if name == "audio" else [name]


def _columns(snapshot: Snapshot, spec: PipelineSpec, known: Iterable[str], option_names: list[str]) -> None:
    used = {spec.columns.get("id", "id"), *SIZE_COLUMNS, *snapshot.option_columns}
    for name in spec.row.inputs:
        used.update(_input_columns(spec, name))
    for column in known:
        if column in used:
            continue
        snapshot.carried_columns.append(column)
        close = near(column, [*option_names, *spec.row.inputs]) if column != "engine" else "; all rows are worked by the run's own, -e"
        if close and column not in spec.columns:  # of one that --columns takes from elsewhere the user knows
            snapshot.warnings.append(f"column {column!r} is carried, not used{close}")


def _stage(con: duckdb.DuckDBPyConnection, spec: PipelineSpec, option_columns: list[str], claims: bool) -> None:
    """Pull id, inputs with their versions and the raw options out of each row, or the code and reason of its refusal."""
    parts = []
    for name, kind in spec.row.inputs.items():
        found = ", ".join(f"j->>{_path(column)}" for column in _input_columns(spec, name))
        parts.append(f"coalesce({found}) AS in_{name}")
        if kind == "audio":
            version = "NULL::VARCHAR"
            if claims:
                version = f"nullif(j->'$.versions'->>{_path(name)}, '')"
            elif name == spec.row.main_input:
                version = f"coalesce('{storage.SHA256}' || nullif(j->>'$.sha256', ''), nullif(trim(j->>'$.etag', '\"'), ''))"
            parts.append(f"{version} AS given_{name}")
    refused, fault = ("coalesce(j->>'$.refused', 'bad_message')", "j->>'$.refused_field'") if claims else ("'bad_row'", "NULL::VARCHAR")
    raw = f"to_json(json_extract(j, [{', '.join(_path(c) for c in option_columns)}]))::VARCHAR" if option_columns else "'[]'"
    if claims:
        raw = "(j->'$.options')::VARCHAR"
    ident = f"j->>{_path(spec.columns.get('id', 'id'))}"
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE staged AS
        SELECT index, coalesce(nullif({ident}, ''), 'r' || index) AS id, row AS input, {", ".join(parts)}, {raw} AS raw,
               CASE WHEN isfinite(TRY_CAST(j->>'$.duration_s' AS DOUBLE)) THEN greatest(0, TRY_CAST(j->>'$.duration_s' AS DOUBLE)) END AS duration_s,
               {refused} AS refused, {fault} AS refused_field,
               CASE WHEN problem IS NOT NULL THEN problem WHEN j IS NULL THEN 'the row is not a JSON object: ' || left(row, 80) END AS problem
        FROM source_rows
    """)
    con.execute("DROP TABLE source_rows")


def _resolve_options(con: duckdb.DuckDBPyConnection, spec: PipelineSpec, engine: Engine, names: list[str], snapshot: Snapshot) -> None:
    """Judge each distinct set of row options once: its canonical JSON and key prefix, or the failure of its rows."""
    resolved: dict[str, list[str | None]] = {name: [] for name in ("raw", "prefix", "options", "code", "detail", "field")}
    for (raw,) in con.execute("SELECT DISTINCT raw FROM staged WHERE problem IS NULL").fetchall():
        found = json.loads(raw)
        given = found if isinstance(found, dict) else {name: value for name, value in zip(names, found, strict=True) if value is not None}
        entry: dict[str, str | None] = {"raw": raw}
        try:
            options = engine.Options.parse(spec.options, given)
            steps.check_item(engine, Item("", "", spec.row.name, engine.name, options, {}))
            entry |= {"prefix": identity.prefix(engine, options), "options": options.canonical()}
            snapshot.models.update(engine.models(options))
        except WavemillError as error:
            wrong_row = error.kind == "usage" and given  # the options of the spec alone were checked before
            if error.kind != "item" and not wrong_row:
                raise
            entry |= {"code": "bad_option" if wrong_row else error.code, "detail": error.detail, "field": error.field}
        for name in resolved:
            resolved[name].append(entry.get(name))
    con.register("resolved_rows", pa.table({name: pa.array(values, pa.string()) for name, values in resolved.items()}))
    con.execute("CREATE OR REPLACE TEMP TABLE resolved AS SELECT * FROM resolved_rows")
    con.unregister("resolved_rows")


def _versions(con: duckdb.DuckDBPyConnection, name: str, base: str, listing: list[storage.Entry], check: bool) -> list[str]:
    """Make URIs canonical, and find the version and size of those that a listing of their folder shows; what to warn of.

    `check` asks for each of the others by itself, which no listing tells of: an address of the web.
    """
    plain = r"^(/|[a-z][a-z0-9+]*://)([^/]|/[^/.]|/\.[^/.])*$"
    odd = con.execute(f"""
        SELECT DISTINCT in_{name} FROM staged
        WHERE in_{name} IS NOT NULL AND NOT (regexp_matches(in_{name}, '{plain}') AND NOT starts_with(in_{name}, 'file:'))
    """).fetchall()
    if odd:
        given = [uri for (uri,) in odd]
        con.register("canonical", pa.table({"given": given, "uri": [storage.canonical(uri, base) for uri in given]}))
        con.execute(f"UPDATE staged SET in_{name} = c.uri FROM canonical c WHERE c.given = in_{name}")
        con.unregister("canonical")
    warnings: list[str] = []
    if not listing:
        folders = con.execute(f"""
            SELECT DISTINCT regexp_replace(in_{name}, '/[^/]*$', '') FROM staged
            WHERE in_{name} IS NOT NULL AND given_{name} IS NULL AND NOT starts_with(in_{name}, 'http')
        """).fetchall()
        for (url,) in folders:
            try:
                listing += storage.list_folder(url)
            except WavemillError as error:  # its inputs have no version; fetching them will say why
                warnings.append(f"a change of inputs in {url} would not be noticed: {error.detail}")
    if check:
        listing += _look(con, name, {entry.url for entry in listing})
    table = pa.table(
        {
            "uri": pa.array([entry.url for entry in listing], pa.string()),
            "version": pa.array([entry.version for entry in listing], pa.string()),
            "bytes": pa.array([entry.bytes for entry in listing], pa.int64()),
        }
    )
    con.register("listed", table)
    con.execute(f"CREATE OR REPLACE TEMP TABLE listing_{name} AS SELECT * FROM listed")
    con.unregister("listed")
    return warnings


def _look(con: duckdb.DuckDBPyConnection, name: str, listed: set[str]) -> list[storage.Entry]:
    """The entries of URIs that have no version yet, many asked at once; those that do not answer are left out."""

    def ask(url: str) -> storage.Entry | None:
        try:
            return storage.look(url)
        except WavemillError:
            return None

    asked = con.execute(f"SELECT DISTINCT in_{name} FROM staged WHERE in_{name} IS NOT NULL AND given_{name} IS NULL").fetchall()
    with ThreadPoolExecutor(storage.BATCH) as pool:
        return [found for found in pool.map(ask, [url for (url,) in asked if url not in listed]) if found]


def _probe(con: duckdb.DuckDBPyConnection, name: str) -> None:
    """Fill in `duration_s` from the files' own headers; what cannot be read keeps its estimate."""
    from transforms import codec

    def ask(url: str) -> float | None:
        try:
            with storage.open_input(url) as opened:
                return codec.probe(opened.file)[0]
        except WavemillError:
            return None

    asked = [
        url
        for (url,) in con.execute(f"SELECT DISTINCT in_{name} FROM staged WHERE duration_s IS NULL AND in_{name} IS NOT NULL").fetchall()
    ]
    with ThreadPoolExecutor(8) as pool:
        seconds = pa.array(pool.map(ask, asked), pa.float64())
    con.register("probed", pa.table({"uri": pa.array(asked, pa.string()), "seconds": seconds}))
    con.execute(f"UPDATE staged SET duration_s = p.seconds FROM probed p WHERE p.uri = in_{name} AND duration_s IS NULL")
    con.unregister("probed")


def _finish(con: duckdb.DuckDBPyConnection, row: Operation) -> None:
    """Keys, weights and refusals: the table `snapshot`."""
    fields, inputs, joins, weight = ["prefix"], [], [], "0.0"
    missing: dict[str, tuple[str, str]] = {}
    for name in sorted(row.inputs):
        kind = row.inputs[name]
        if kind == "text":
            # of plain ASCII the normal form is itself; of the rest the one rule is Python's, whose Unicode may be another's
            value, kind_name = (
                f"CASE WHEN strlen(in_{name}) = length(in_{name}) THEN sha256(in_{name}) ELSE text_digest(in_{name}) END",
                "text",
            )
            inputs.append(f"in_{name}")
        else:
            version = f"coalesce(given_{name}, l_{name}.version, '')"
            value, kind_name = f"in_{name} || chr(31) || {version}", "uri"
            inputs.append(f"in_{name}, {version} AS in_{name}_version")
            joins.append(f"LEFT JOIN listing_{name} l_{name} ON l_{name}.uri = in_{name}")
        given = [sql.literal(name), sql.literal(kind_name), value]
        fields += [f"CASE WHEN in_{name} IS NOT NULL THEN {field} END" for field in given] if name in row.optional else given
    for names in [[name] for name in row.inputs if name not in row.optional] or [list(row.inputs)]:
        missing[" AND ".join(f"in_{name} IS NULL" for name in names)] = (names[0], f"the row has no {' and no '.join(names)}")
    main = row.main_input
    if row.inputs[main] == "text":
        weight = f"coalesce(length(in_{main}), {DEFAULT_CHARS})::DOUBLE"
    else:
        weight = f"coalesce(duration_s, l_{main}.bytes / {BYTES_A_SECOND}.0, {DEFAULT_AUDIO_S})"
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE keyed AS
        SELECT index, id, input, {", ".join(inputs)}, options, {weight} AS weight,
               CASE WHEN problem IS NOT NULL THEN refused WHEN ({") OR (".join(missing)}) THEN 'bad_row' ELSE r.code END AS code,
               CASE WHEN problem IS NOT NULL THEN problem {" ".join(f"WHEN {lacks} THEN {sql.literal(why)}" for lacks, (_, why) in missing.items())} ELSE r.detail END AS detail,
               CASE WHEN problem IS NOT NULL THEN refused_field {" ".join(f"WHEN {lacks} THEN {sql.literal(name)}" for lacks, (name, _) in missing.items())} ELSE r.field END AS field,
               sha256(concat_ws(chr(31), {", ".join(fields)})) AS key
        FROM staged LEFT JOIN resolved r USING (raw) {" ".join(joins)}
    """)
    con.execute("DROP TABLE staged")
    con.execute("""
        CREATE OR REPLACE TEMP TABLE doubled AS
        SELECT id FROM keyed WHERE code IS NULL GROUP BY id HAVING min(key) <> max(key)
    """)
    con.execute("""
        CREATE OR REPLACE TEMP TABLE snapshot AS
        SELECT * REPLACE (
            CASE WHEN code IS NULL AND d.id IS NOT NULL THEN 'duplicate_id' ELSE code END AS code,
            CASE WHEN code IS NULL AND d.id IS NOT NULL THEN 'another row has the id ' || keyed.id || ' and different content' ELSE detail END AS detail,
            CASE WHEN code IS NULL AND d.id IS NOT NULL THEN 'id' ELSE field END AS field,
            CASE WHEN code IS NULL AND d.id IS NULL THEN key END AS key)
        FROM (SELECT keyed.* FROM keyed) keyed LEFT JOIN (SELECT id FROM doubled) d ON d.id = keyed.id
    """)
    con.execute("DROP TABLE keyed")
