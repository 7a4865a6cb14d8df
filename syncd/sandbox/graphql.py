"""The GraphQL engine: the schema from its files, parsed requests kept, one transaction per mutation.

A request is parsed and validated once per query text; clients send the same few texts again and again. A query reads
one snapshot. A mutation holds the write lock, is committed before it is answered, and is undone as a whole if any
of it fails.
"""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeAlias

from ariadne import load_schema_from_path, make_executable_schema
from graphql import (
    DocumentNode,
    ExecutionResult,
    GraphQLError,
    GraphQLSchema,
    OperationType,
    execute_sync,
    get_operation_ast,
    parse,
    validate,
)

from syncd.sandbox.context import Context
from syncd.sandbox.errors import SandboxError
from syncd.sandbox.resolvers import BINDABLES

Answer: TypeAlias = tuple[int, dict[str, Any]]

_log = logging.getLogger(__name__)
# Arguments that would hide a builtin get another name in Python.
_ARGUMENTS = {"input": "asked", "id": "value"}
_ARGUMENT_DEPTH = 3  # type, field, argument
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class Request:
    """What a client posts."""

    query: str
    variables: Mapping[str, Any]
    operation_name: str | None

    @classmethod
    def from_json(cls, body: object) -> Request:
        """Read the posted document."""
        if not isinstance(body, dict) or not isinstance(body.get("query"), str):
            raise SandboxError("no GraphQL query", status=HTTPStatus.BAD_REQUEST)
        variables = body.get("variables") or {}
        if not isinstance(variables, dict):
            raise SandboxError("variables are not an object", status=HTTPStatus.BAD_REQUEST)
        return cls(body["query"], variables, body.get("operationName") or None)


def _python_name(name: str, _schema: GraphQLSchema, path: tuple[str, ...]) -> str:
    if len(path) == _ARGUMENT_DEPTH:
        name = _ARGUMENTS.get(name, name)
    # The library's own rule splits before digits as well: md_5.
    return _HUMP.sub("_", name).lower()


def _status(errors: list[GraphQLError], plain: int) -> int:
    statuses = [
        plain if error.original_error.status == HTTPStatus.OK else error.original_error.status
        for error in errors
        if isinstance(error.original_error, SandboxError)
    ]
    return max(statuses, default=int(HTTPStatus.OK))


def failure(message: str, status: int = HTTPStatus.OK) -> Answer:
    """An answer that is nothing but an error."""
    return int(status), {"errors": [{"message": message}], "data": None}


class Engine:
    """The executable schema."""

    def __init__(self) -> None:
        definitions = load_schema_from_path(str(Path(__file__).with_name("schema")))
        self._schema = make_executable_schema(
            definitions, *BINDABLES, convert_names_case=_python_name
        )
        self._prepare = functools.lru_cache(maxsize=512)(self._parse)

    def _parse(self, query: str) -> tuple[DocumentNode | None, tuple[GraphQLError, ...]]:
        try:
            document = parse(query)
        except GraphQLError as error:
            return None, (error,)
        return document, tuple(validate(self._schema, document))

    def _run(self, context: Context, request: Request, document: DocumentNode) -> ExecutionResult:
        result = execute_sync(
            self._schema,
            document,
            context_value=context,
            variable_values=dict(request.variables),
            operation_name=request.operation_name,
        )
        assert isinstance(result, ExecutionResult)
        return result

    def _mutate(
        self, context: Context, request: Request, document: DocumentNode
    ) -> ExecutionResult:
        context.backend.db.act_for(context.viewer.name if context.viewer else "")
        with context.backend.db.transaction() as transaction:
            result = self._run(context, request, document)
            if result.errors:
                transaction.undo()
                return ExecutionResult(data=None, errors=result.errors)
        return result

    def operation(self, request: Request) -> str:
        """The name of the operation a request asks for; clients do not always repeat it beside the text."""
        document, _ = self._prepare(request.query)
        if document is None:
            return request.operation_name or ""
        operation = get_operation_ast(document, request.operation_name)
        return operation.name.value if operation is not None and operation.name else ""

    def answer(self, context: Context, request: Request) -> Answer:
        """Execute a request: HTTP status and body."""
        document, problems = self._prepare(request.query)
        if problems or document is None:
            return 200, {"errors": [problem.formatted for problem in problems], "data": None}
        operation = get_operation_ast(document, request.operation_name)
        if operation is not None and operation.operation is OperationType.MUTATION:
            result = self._mutate(context, request, document)
        else:
            with context.backend.db.snapshot():
                result = self._run(context, request, document)
        if not result.errors:
            return 200, {"data": result.data}
        for error in result.errors:
            cause = error.original_error
            if cause is not None and not isinstance(cause, SandboxError | GraphQLError):
                _log.error("in %s", request.operation_name, exc_info=cause)
        body = {"errors": [error.formatted for error in result.errors], "data": result.data}
        return _status(result.errors, context.backend.settings.error_status), body
