"""Errors as clients see them: a code for programs, a message and a remedy for people, never a stack trace."""

import logging

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from omnisage.errors import OmnisageError

TOO_LARGE = 413
"""HTTP's status for a body beyond the limit."""

_log = logging.getLogger("omnisage.serve")


class ErrorInfo(BaseModel):
    """What went wrong."""

    code: str = Field(description="for programs", examples=["unknown_entity"])
    message: str
    remedy: str | None = Field(description="what to do")


class ErrorBody(BaseModel):
    """The body of every answer that is no success."""

    error: ErrorInfo


class ApiError(Exception):
    """What a request is refused with."""

    def __init__(
        self, status: int, code: str, message: str, remedy: str | None = None, *, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.headers = status, headers
        self.body = ErrorBody(error=ErrorInfo(code=code, message=message, remedy=remedy))


def error_response(status: int, code: str, message: str, remedy: str | None = None) -> JSONResponse:
    """The answer for an error."""
    body = ErrorBody(error=ErrorInfo(code=code, message=message, remedy=remedy))
    return JSONResponse(body.model_dump(), status_code=status)


def too_large() -> JSONResponse:
    """The answer for a body beyond the limit."""
    remedy = "send less at a time, or raise serve.limits.body_bytes in the service's config"
    return error_response(TOO_LARGE, "body_too_large", "the body is larger than this service allows", remedy)


def add_error_handlers(app: FastAPI) -> None:
    """Turn whatever is raised in a request into an `ErrorBody`."""
    app.add_exception_handler(ApiError, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(OmnisageError, _unusable)
    app.add_exception_handler(Exception, _failed)


def _refused(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ApiError)
    return JSONResponse(error.body.model_dump(), status_code=error.status, headers=error.headers)


def _invalid(_: Request, error: Exception) -> JSONResponse:
    """Every field that is wrong, with its path; what was sent is not repeated, it may be long or secret."""
    assert isinstance(error, RequestValidationError)
    found = [f"{'.'.join(map(str, wrong['loc'])) or 'body'}: {wrong['msg']}" for wrong in error.errors()]
    return error_response(422, "invalid_request", "; ".join(found), "see /openapi.json for what is allowed")


def _http(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    if error.status_code == TOO_LARGE:
        return too_large()
    codes = {404: "not_found", 405: "method_not_allowed", 400: "invalid_request"}
    response = error_response(error.status_code, codes.get(error.status_code, "refused"), str(error.detail))
    response.headers.update(error.headers or {})
    return response


def _unusable(_: Request, error: Exception) -> JSONResponse:
    return error_response(422, "unusable", str(error))


def _failed(request: Request, error: Exception) -> JSONResponse:
    _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return error_response(500, "internal", "the service failed on this request", "see the service's log")
